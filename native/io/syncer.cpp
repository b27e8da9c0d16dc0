#include "io/syncer.hpp"

#include <fcntl.h>

#include <algorithm>
#include <chrono>

#include "io/clock.hpp"

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
    auto now_us = monotonic_us();
    watched_.add(file, now_us);
    if (!std::exchange(is_folder_dirty_, true)) folder_due_us_ = now_us + SyncQueue<SyncedFd>::kPeriodUs;
}

void Syncer::finish(std::shared_ptr<SyncedFd> file, std::function<void(bool)> done) {
    {
        std::lock_guard lock(mutex_);
        finishing_.push_back({std::move(file), std::move(done)});
    }
    wake_.notify_all();
}

void Syncer::sync_due() {
    std::vector<std::shared_ptr<SyncedFd>> files;
    bool is_folder_due = false;
    {
        std::lock_guard lock(mutex_);
        auto now_us = monotonic_us();
        files = watched_.take(now_us);
        is_folder_due = is_folder_dirty_ && folder_due_us_ <= now_us;
    }
    std::erase_if(files,
                  [](const auto& f) { return !f->is_dirty.exchange(false, std::memory_order_acquire); });
    // All are on their way before the first is waited for: the disk then takes them together. What this does
    // or fails to do changes nothing else.
    for (const auto& file : files) ::sync_file_range(file->fd.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
    // The kernel tells of lost pages once only: a later sync that succeeds proves nothing.
    for (const auto& file : files)
        if (::fdatasync(file->fd.get()) != 0) file->is_lost.store(true, std::memory_order_release);
    if (is_folder_due) sync_folder();
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
    folder_due_us_ = monotonic_us() + SyncQueue<SyncedFd>::kPeriodUs;
    return false;
}

/// When something is due, under the lock.
std::int64_t Syncer::next_us() const {
    auto files_us = watched_.due_us().value_or(INT64_MAX);
    return is_folder_dirty_ ? std::min(files_us, folder_due_us_) : files_us;
}

void Syncer::run() {
    for (;;) {
        std::vector<Finish> batch;
        bool is_due = false;
        {
            std::unique_lock lock(mutex_);
            auto has_work = [this] { return is_stopping_ || !finishing_.empty(); };
            // What is watched from now on is due later than this.
            auto wait_us = std::min(next_us() - monotonic_us(), SyncQueue<SyncedFd>::kPeriodUs);
            wake_.wait_for(lock, std::chrono::microseconds(wait_us), has_work);
            batch.swap(finishing_);
            if (batch.empty() && is_stopping_) return;
            is_due = next_us() <= monotonic_us();
        }
        bool has_names = batch.empty() || sync_folder();
        for (auto& job : batch) {
            bool is_on_disk = ::fsync(job.file->fd.get()) == 0 && !job.file->is_lost.load() && has_names;
            job.file.reset();
            job.done(is_on_disk);
        }
        if (is_due) sync_due();
    }
}

}  // namespace hushwire::io
