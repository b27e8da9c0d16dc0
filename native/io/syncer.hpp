// Puts what was written onto the disk: a thread of its own, so that a slow disk does not hold up sealing.
#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "io/spool_file.hpp"
#include "io/sync_queue.hpp"

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
    struct Finish {
        std::shared_ptr<SyncedFd> file;
        std::function<void(bool)> done;
    };

    void run();
    std::int64_t next_us() const;
    void sync_due();
    bool sync_folder();

    Fd folder_;
    std::mutex mutex_;
    std::condition_variable wake_;
    SyncQueue<SyncedFd> watched_;
    std::vector<Finish> finishing_;
    std::int64_t folder_due_us_ = 0;
    bool is_folder_dirty_ = false, is_stopping_ = false;
    std::thread thread_;
};

}  // namespace hushwire::io
