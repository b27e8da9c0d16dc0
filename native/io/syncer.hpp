// Puts what was written onto the disk: a thread of its own, so that a slow disk does not hold up sealing.
#pragma once
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "io/spool_file.hpp"

namespace hushwire::io {

class Syncer {
  public:
    explicit Syncer(Fd folder);
    ~Syncer();

    /// From now on synced at least every 5 s, until finished.
    void watch(const std::shared_ptr<SyncedFd>& file);
    /// From the beginning of one sync of all files to that of the next, where the last took so long: the
    /// longer they are apart the less they cost, but what was written a moment after one began is on the disk
    /// within 5 s.
    static constexpr std::chrono::milliseconds interval_after(std::chrono::milliseconds took) {
        constexpr std::chrono::milliseconds kPromise{5000}, kLongest{4500}, kShortest{2000};
        return std::clamp(kPromise - 3 * took, kShortest, kLongest);  // the next may take three times as long
    }
    /// Synced once more, closed, then `done` is called (in this thread) with whether all of it is on disk.
    void finish(std::shared_ptr<SyncedFd> file, std::function<void(bool)> done);

  private:
    struct Finish {
        std::shared_ptr<SyncedFd> file;
        std::function<void(bool)> done;
    };

    void run();
    void sync_dirty();
    bool sync_folder();

    Fd folder_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::vector<std::weak_ptr<SyncedFd>> watched_;
    std::vector<Finish> finishing_;
    bool is_folder_dirty_ = false, is_stopping_ = false;
    std::thread thread_;
};

}  // namespace hushwire::io
