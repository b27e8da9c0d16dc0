#include "io/syncer.hpp"

#include <fcntl.h>

namespace hushwire::io {

Syncer::Syncer(Fd folder) : folder_(std::move(folder)), thread_([this] { run(); }) {}

Syncer::~Syncer() {
    {
        std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Syncer::watch(const std::shared_ptr<SyncedFd>& file) {
    std::lock_guard lock(mutex_);
    watched_.push_back(file);
    is_folder_dirty_ = true;
}

void Syncer::finish(std::shared_ptr<SyncedFd> file, std::function<void(bool)> done) {
    {
        std::lock_guard lock(mutex_);
        finishing_.push_back({std::move(file), std::move(done)});
    }
    wake_.notify_all();
}

void Syncer::sync_dirty() {
    std::vector<std::shared_ptr<SyncedFd>> files;
    {
        std::lock_guard lock(mutex_);
        std::erase_if(watched_, [](const auto& w) { return w.expired(); });
        for (const auto& w : watched_)
            if (auto file = w.lock()) files.push_back(std::move(file));
    }
    std::erase_if(files,
                  [](const auto& f) { return !f->is_dirty.exchange(false, std::memory_order_acquire); });
    // All are on their way before the first is waited for: the disk then takes them together, which costs
    // hundreds of files little more than half. What this does or fails to do changes nothing else.
    for (const auto& file : files) ::sync_file_range(file->fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    // The kernel tells of lost pages once only: a later sync that succeeds proves nothing.
    for (const auto& file : files)
        if (::fdatasync(file->fd.get()) != 0) file->is_lost.store(true, std::memory_order_release);
    sync_folder();
}

/// False where files made lately may have no name on disk; tried again with the next.
bool Syncer::sync_folder() {
    {
        std::lock_guard lock(mutex_);
        if (!std::exchange(is_folder_dirty_, false)) return true;
    }
    if (::fsync(folder_.get()) == 0) return true;
    std::lock_guard lock(mutex_);
    is_folder_dirty_ = true;
    return false;
}

void Syncer::run() {
    using Clock = std::chrono::steady_clock;
    auto interval = interval_after({});
    auto next = Clock::now() + interval;
    for (;;) {
        std::vector<Finish> batch;
        {
            std::unique_lock lock(mutex_);
            auto has_work = [this] { return is_stopping_ || !finishing_.empty(); };
            if (watched_.empty() && !is_folder_dirty_) {
                wake_.wait_for(lock, interval, has_work);
            } else {
                wake_.wait_until(lock, next, has_work);
            }
            batch.swap(finishing_);
            if (batch.empty() && is_stopping_) return;
        }
        bool has_names = batch.empty() || sync_folder();
        for (auto& job : batch) {
            bool is_on_disk = ::fsync(job.file->fd.get()) == 0 && !job.file->is_lost.load() && has_names;
            job.file.reset();
            job.done(is_on_disk);
        }
        if (auto began = Clock::now(); began >= next) {
            sync_dirty();
            interval =
                interval_after(std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - began));
            next = began + interval;
        }
    }
}

}  // namespace hushwire::io
