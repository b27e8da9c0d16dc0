// Closures handed to another thread, with a descriptor that becomes readable. For control traffic; packets
// never pass here.
#pragma once
#include <sys/eventfd.h>

#include <functional>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "io/fd.hpp"

namespace hushwire::io {

class Mailbox {
  public:
    using Task = std::function<void()>;

    Mailbox() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (!wake_) throw std::runtime_error("eventfd failed");
    }
    int fd() const { return wake_.get(); }
    /// Any thread.
    void post(Task task) {
        {
            std::lock_guard lock(mutex_);
            tasks_.push_back(std::move(task));
        }
        eventfd_write(wake_.get(), 1);
    }
    /// The owning thread: runs all that was posted, in order. True where there was something.
    bool run_all() {
        eventfd_t ignored;
        eventfd_read(wake_.get(), &ignored);
        std::vector<Task> batch;
        {
            std::lock_guard lock(mutex_);
            batch.swap(tasks_);
        }
        for (auto& task : batch) task();
        return !batch.empty();
    }

  private:
    Fd wake_;
    std::mutex mutex_;
    std::vector<Task> tasks_;
};

}  // namespace hushwire::io
