// Puts what was written onto the disk: a thread of its own, so that a slow disk does not hold up sealing.
#pragma once
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
    /// Synced once more, closed, then `done` is called (in this thread) with whether all of it is on disk.
    void finish(std::shared_ptr<SyncedFd> file, std::function<void(bool)> done);

  private:
    static constexpr std::chrono::milliseconds kInterval{3500};
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
