// A sound that is ready to be sent: the encoded packets of one codec, one after the other. Made once and
// never changed, so that thousands of players, in whatever threads, share it. Pure.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/bytes.hpp"

namespace hushwire {

/// What makes frames a sound: how long each is on the RTP clock of its codec.
struct SoundClock {
    std::uint32_t rate = 8000;          ///< RTP clock, Hz (8,000 for G.722 too: RFC 3551 section 4.5.2)
    std::uint32_t frame_samples = 160;  ///< steps of that clock from one frame to the next
    bool operator==(const SoundClock&) const = default;
};

class Sound {
  public:
    static constexpr std::size_t kMaxFrame = 1200;
    static constexpr std::size_t kMaxBytes = 16 << 20;

    /// From packed frames: u16 length and payload, one after the other. Nothing where a frame is empty, torn
    /// or too long, where there is none, or where the clock makes frames of less than 2 or more than 120 ms.
    static std::shared_ptr<const Sound> read(const SoundClock& clock, std::vector<std::byte> packed);

    const SoundClock& clock() const { return clock_; }
    std::size_t frames() const { return offsets_.size(); }
    /// The payload of one frame.
    ConstBytes frame(std::size_t n) const {
        auto at = offsets_[n];
        return ConstBytes(packed_).subspan(at + 2, load_be16(packed_.data() + at));
    }
    std::int64_t frame_us() const { return std::int64_t{clock_.frame_samples} * 1'000'000 / clock_.rate; }
    std::int64_t duration_us() const { return frame_us() * static_cast<std::int64_t>(frames()); }
    /// Memory that it takes, in bytes.
    std::size_t size() const { return packed_.size() + offsets_.size() * sizeof(std::uint32_t); }

  private:
    Sound(const SoundClock& clock, std::vector<std::byte> packed, std::vector<std::uint32_t> offsets);

    SoundClock clock_;
    std::vector<std::byte> packed_;
    std::vector<std::uint32_t> offsets_;  // of each frame's length field
};

}  // namespace hushwire
