// Whether somebody speaks on a leg, and since when nobody does: by the power of what it sends. Pure;
// allocates when made, never after.
#pragma once
#include <array>
#include <memory>

#include "core/codec.hpp"
#include "core/formats.hpp"
#include "core/rtp.hpp"
#include "core/statistics.hpp"

namespace hushwire {

/// Fed with packets as they come: order and loss change little, and what comes late still was said.
class SpeechMeter {
  public:
    explicit SpeechMeter(std::int64_t now_us) : last_us_(now_us) {}

    /// What the leg may send from now on; what was counted stays. False where none of it can be read.
    bool agree(const Formats& formats);
    void sound(const rtp::Header& header, ConstBytes payload, std::int64_t now_us);
    SpeechReport report(std::int64_t now_us) const;

  private:
    struct Source {
        std::uint8_t payload_type = 0;
        std::unique_ptr<codec::Decoder> decoder;
    };

    std::array<Source, 4> sources_;  // a party may send any codec that it agreed on, and change
    std::array<std::int16_t, codec::kMaxPacketSamples> pcm_;
    std::uint64_t speech_us_ = 0, pending_us_ = 0;  // pending: of the sound that goes on
    std::int64_t last_us_;
};

}  // namespace hushwire
