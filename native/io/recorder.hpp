// The packet thread's half of a recording: entries gather in a chunk of memory; full or 370 ms old, it goes
// to the writer thread. No lock, no allocation, no system call here.
#pragma once
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/bridge.hpp"
#include "core/prefetch.hpp"
#include "core/seal.hpp"
#include "io/ring.hpp"

namespace hushwire::io {

using RecordingId = std::uint64_t;

/// Entries of one recording: one frame of its file, which is sealed in place.
struct Chunk {
    RecordingId recording = 0;
    std::size_t used = 0;                    ///< so many bytes of `data` are plain
    std::int64_t since_us = 0;               ///< when its oldest packet came
    std::array<std::byte, 7680 - 24> frame;  // 0.4 s of both directions of G.711

    Bytes data() { return std::span(frame).subspan(hwr::kFrameText, frame.size() - hwr::kFrameOverhead); }
};

/// The chunks between one worker (fills) and the writer (seals, wipes, gives back).
class ChunkExchange {
  public:
    static constexpr std::size_t kMaxChunks = 32'768;

    ChunkExchange() : free_(kMaxChunks), full_(kMaxChunks) {}
    ~ChunkExchange();
    ChunkExchange(const ChunkExchange&) = delete;
    ChunkExchange& operator=(const ChunkExchange&) = delete;

    // Worker thread
    Chunk* take_free() { return free_.pop().value_or(nullptr); }
    void hand_over(Chunk* chunk) { full_.push(chunk); }  // never full: there are not more chunks than places
    // Writer thread
    Chunk* take_full() { return full_.pop().value_or(nullptr); }
    void give_back(Chunk* chunk);
    /// Makes sure that so many recordings have chunks enough, with a reserve for a slow disk.
    void provide_for(std::size_t recordings);

  private:
    static constexpr std::size_t kPerRecording = 2, kReserve = 256, kSlab = 64;

    std::vector<std::unique_ptr<std::array<Chunk, kSlab>>> slabs_;
    Ring<Chunk*> free_, full_;
};

/// One cache line, which is fetched ahead of each packet.
class alignas(kLine) Recorder final : public Tap {
  public:
    static constexpr std::int64_t kTurnUs = 90'000;
    static constexpr std::int64_t kMaxAgeUs = 370'000;  ///< of a packet: four turns and a moment

    /// Why nothing is recorded for a while; it goes on when no reason is left.
    enum class Pause : std::uint8_t { asked = 1, sensitive = 2 };

    Recorder(RecordingId id, ChunkExchange& exchange, std::int64_t start_us)
        : id_(id), exchange_(exchange), start_us_(start_us) {}
    ~Recorder() override = default;

    void packet(unsigned leg, ConstBytes plain, std::int64_t now_us) override {
        if (!pauses_) add(hwr::Kind::packet, static_cast<std::uint8_t>(leg), plain, now_us);
    }
    void pause(Pause why, std::int64_t now_us) {
        if (!pauses_) add(hwr::Kind::pause, hwr::kNoLeg, {}, now_us);
        pauses_ |= static_cast<std::uint8_t>(why);
    }
    void resume(Pause why, std::int64_t now_us) {
        auto left = static_cast<std::uint8_t>(pauses_ & ~static_cast<unsigned>(why));
        if (pauses_ && !left) add(hwr::Kind::resume, hwr::kNoLeg, {}, now_us);
        pauses_ = left;
    }
    bool is_paused(Pause why) const { return pauses_ & static_cast<std::uint8_t>(why); }
    void format(ConstBytes json, std::int64_t now_us) { add(hwr::Kind::format, hwr::kNoLeg, json, now_us); }
    /// To be called each kTurnUs: hands over what would be too old by the next time. So nearly all is handed
    /// over here, a few recordings after the other, however many began at once, and whether or not packets go
    /// on.
    void take_turn(std::int64_t now_us) {
        if (chunk_ && now_us + kTurnUs > due_us_) flush();
    }
    /// Hands over all.
    void flush() {
        if (!chunk_) return;
        chunk_->used = used_;
        exchange_.hand_over(std::exchange(chunk_, nullptr));
    }
    /// Asks for the memory that the next packet takes (core/prefetch.hpp).
    void fetch() const {
        constexpr std::size_t kVoice = 192;
        if (chunk_) prefetch(chunk_->data().data() + used_, kVoice);
    }
    RecordingId id() const { return id_; }
    std::uint64_t gaps() const { return gaps_; }

  private:
    void add(hwr::Kind kind, std::uint8_t leg, ConstBytes data, std::int64_t now_us) {
        auto time = static_cast<std::uint32_t>((now_us - start_us_) / 100);
        if (chunk_ && append(kind, leg, time, data)) {
            if (now_us >= due_us_) flush();
            return;
        }
        flush();
        chunk_ = exchange_.take_free();
        if (chunk_) {
            chunk_->recording = id_;
            chunk_->since_us = now_us;
            due_us_ = now_us + kMaxAgeUs;
            used_ = 0;
        }
        if (!chunk_ || !append(kind, leg, time, data)) gaps_++;
    }
    bool append(hwr::Kind kind, std::uint8_t leg, std::uint32_t time, ConstBytes data) {
        auto size = hwr::write_entry(chunk_->data().subspan(used_), kind, leg, time, data);
        used_ += static_cast<std::uint32_t>(size);
        return size != 0;
    }

    RecordingId id_;
    ChunkExchange& exchange_;
    std::int64_t start_us_;
    Chunk* chunk_ = nullptr;
    std::int64_t due_us_ = 0;  // of the chunk, at the writer
    std::uint64_t gaps_ = 0;
    std::uint32_t used_ = 0;  // of the chunk
    std::uint8_t pauses_ = 0;
};
static_assert(sizeof(Recorder) == kLine);

}  // namespace hushwire::io
