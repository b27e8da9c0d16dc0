// Whether somebody speaks on a leg, and since when nobody does: by the power of what it sends. Pure;
// allocates when made, never after.
#pragma once
#include <array>
#include <memory>

#include "core/codec.hpp"
#include "core/rtp.hpp"
#include "core/statistics.hpp"

namespace hushwire {

/// Fed with packets as they come: order and loss change little, and what comes late still was said.
class SpeechMeter {
  public:
    /// `decoder` reads `format`.
    SpeechMeter(const codec::Format& format, std::unique_ptr<codec::Decoder> decoder, std::int64_t now_us);

    void sound(const rtp::Header& header, ConstBytes payload, std::int64_t now_us);
    SpeechReport report(std::int64_t now_us) const;

  private:
    codec::Format format_;
    std::unique_ptr<codec::Decoder> decoder_;
    std::array<std::int16_t, codec::kMaxPacketSamples> pcm_;
    std::uint64_t speech_us_ = 0, pending_us_ = 0;  // pending: of the sound that goes on
    std::int64_t last_us_;
};

}  // namespace hushwire
