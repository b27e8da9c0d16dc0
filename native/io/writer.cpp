#include "io/writer.hpp"

#include <fcntl.h>

#include <cerrno>
#include <chrono>

#include "io/clock.hpp"

namespace hushwire::io {
namespace {

constexpr std::chrono::milliseconds kPoll{20};

}  // namespace

Writer::Writer(Fd spool, std::vector<ChunkExchange*> exchanges, Failed failed)
    : folder_(std::move(spool)),
      exchanges_(std::move(exchanges)),
      failed_(std::move(failed)),
      syncer_(Fd(::fcntl(folder_.get(), F_DUPFD_CLOEXEC, 0))),
      thread_([this] { run(); }) {}

Writer::~Writer() {
    {
        std::lock_guard lock(mutex_);
        is_stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

void Writer::post(Command command) {
    {
        std::lock_guard lock(mutex_);
        commands_.push_back(std::move(command));
    }
    wake_.notify_all();
}

void Writer::open(std::shared_ptr<RecordingOrder> order, Opened opened) {
    post([this, order = std::move(order), opened = std::move(opened)] { do_open(*order, opened); });
}

void Writer::end(RecordingId id, std::uint32_t end_100us, std::uint64_t gaps, Ended ended) {
    post([this, id, end_100us, gaps, ended = std::move(ended)] { do_end(id, end_100us, gaps, ended); });
}

void Writer::run() {
    for (;;) {
        std::vector<Command> batch;
        {
            std::unique_lock lock(mutex_);
            auto has_work = [this] { return is_stopping_ || !commands_.empty(); };
            if (files_.empty()) {
                wake_.wait(lock, has_work);
            } else {
                // Workers do not signal: a look each 20 ms costs less than a system call per chunk.
                wake_.wait_for(lock, kPoll, has_work);
            }
            batch.swap(commands_);
            if (batch.empty() && is_stopping_) return;
        }
        drain();  // before the commands: the chunks of a recording that ends were handed over before its end
                  // was asked for
        for (auto& command : batch) command();
    }
}

void Writer::drain() {
    for (auto* exchange : exchanges_) {
        while (auto* chunk = exchange->take_full()) {
            auto found = files_.find(chunk->recording);
            if (found != files_.end() && !found->second->is_failed()) {
                auto& file = *found->second;
                if (!file.append(chunk->frame, chunk->used, false)) {
                    file.end();
                    failed_(chunk->recording, file.result());
                }
                file.note_lag(monotonic_us() - chunk->since_us);
            }
            exchange->give_back(chunk);
        }
    }
}

void Writer::do_open(const RecordingOrder& order, const Opened& opened) {
    int error = 0;
    auto file = SpoolFile::create(folder_.get(), order.file, order.key, order.identity, error);
    if (!file) return opened(error ? error : EIO);
    std::vector<std::byte> first(2 * hwr::kEntryHeader + 8 + order.format.size());
    std::array<std::byte, 8> anchor;
    store_be(anchor.data(), order.anchor_us);
    auto size = hwr::write_entry(first, hwr::Kind::anchor, hwr::kNoLeg, 0, anchor);
    size += hwr::write_entry(std::span(first).subspan(size), hwr::Kind::format, hwr::kNoLeg, 0, order.format);
    if (!file->append(std::span(first).first(size), false)) {
        ::unlinkat(folder_.get(), order.file.c_str(), 0);
        return opened(ENOSPC);
    }
    syncer_.watch(file->synced());
    files_[order.id] = std::move(file);
    for (auto* exchange : exchanges_) exchange->provide_for(files_.size());
    opened(0);
}

void Writer::do_end(RecordingId id, std::uint32_t end_100us, std::uint64_t gaps, const Ended& ended) {
    auto found = files_.find(id);
    if (found == files_.end()) return;
    auto file = std::move(found->second);
    files_.erase(found);
    bool is_told = file->is_failed();
    if (!is_told) {
        std::array<std::byte, hwr::kEntryHeader> end;
        auto size = hwr::write_entry(end, hwr::Kind::end, hwr::kNoLeg, end_100us, {});
        file->append(std::span(end).first(size), true);
    }
    file->end();
    auto result = file->result();
    result.duration_ms = end_100us / 10;
    result.gaps = gaps;
    auto synced = file->synced();
    file.reset();
    syncer_.finish(std::move(synced), [this, id, is_told, ended, result](bool is_on_disk) mutable {
        if (!is_on_disk && !result.is_failed) {
            result.is_failed = true;
            result.failure = Failure::write_error;
        }
        if (result.is_failed && !is_told) failed_(id, result);
        ended(result);
    });
}

}  // namespace hushwire::io
