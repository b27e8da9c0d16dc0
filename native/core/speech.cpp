#include "core/speech.hpp"

#include <algorithm>

#include "core/conceal.hpp"

namespace hushwire {
namespace {

/// Mean square, -45 dBov: speech on a telephone is near -26 dBov (ITU-T P.56), a quiet room below -50.
constexpr double kSpeech = 184.0 * 184.0;
constexpr unsigned kRate = 8000;
/// Shorter sounds are clicks.
constexpr std::uint64_t kClickUs = 30'000;

}  // namespace

bool SpeechMeter::agree(const Formats& formats) {
    sources_ = {};
    std::size_t count = 0;
    for (const auto& format : formats.all()) {
        if (!format.is_audio() || count == sources_.size()) continue;
        if (auto decoder = codec::make_decoder(format, kRate))
            sources_[count++] = {format.payload_type, std::move(decoder)};
    }
    return count > 0;
}

void SpeechMeter::sound(const rtp::Header& header, ConstBytes payload, std::int64_t now_us) {
    auto source = std::ranges::find_if(
        sources_, [&](const Source& s) { return s.decoder && s.payload_type == header.payload_type; });
    if (source == sources_.end()) return;
    auto count = source->decoder->decode(payload, pcm_);
    if (!count) return;
    if (power(codec::ConstSamples(pcm_).first(count)) < kSpeech) {
        pending_us_ = 0;
        return;
    }
    auto length_us = std::uint64_t{count} * 1'000'000 / source->decoder->rate();
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
