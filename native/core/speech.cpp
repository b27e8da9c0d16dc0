#include "core/speech.hpp"

#include <algorithm>

#include "core/conceal.hpp"

namespace hushwire {
namespace {

/// Mean square, -45 dBov: speech on a telephone is near -26 dBov (ITU-T P.56), a quiet room below -50.
constexpr double kSpeech = 184.0 * 184.0;
/// Shorter sounds are clicks.
constexpr std::uint64_t kClickUs = 30'000;

}  // namespace

SpeechMeter::SpeechMeter(const codec::Format& format, std::unique_ptr<codec::Decoder> decoder,
                         std::int64_t now_us)
    : format_(format), decoder_(std::move(decoder)), last_us_(now_us) {}

void SpeechMeter::sound(const rtp::Header& header, ConstBytes payload, std::int64_t now_us) {
    if (header.payload_type != format_.payload_type) return;
    auto count = decoder_->decode(payload, pcm_);
    if (!count) return;
    if (power(codec::ConstSamples(pcm_).first(count)) < kSpeech) {
        pending_us_ = 0;
        return;
    }
    auto length_us = std::uint64_t{count} * 1'000'000 / decoder_->rate();
    pending_us_ += length_us;
    if (pending_us_ <= kClickUs) return;
    speech_us_ += pending_us_ - length_us <= kClickUs ? pending_us_ : length_us;
    last_us_ = now_us;
}

SpeechReport SpeechMeter::report(std::int64_t now_us) const {
    return {.speech_ms = speech_us_ / 1000,
            .quiet_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, now_us - last_us_)) / 1000};
}

}  // namespace hushwire
