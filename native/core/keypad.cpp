#include "core/keypad.hpp"

#include <algorithm>

namespace hushwire {
namespace {

constexpr unsigned kToneRate = 8000;
constexpr std::int64_t kFrameUs = 20'000;
constexpr std::size_t kMaxFrame = 48'000 / 50;

/// Keys as tones in the leg's own codec, silence between them, 20 ms a packet.
class ToneKeying final : public dtmf::Keying {
  public:
    ToneKeying(const codec::Format& format, std::unique_ptr<codec::Encoder> encoder, std::int64_t now_us)
        : format_(format), encoder_(std::move(encoder)), due_us_(now_us) {}

    std::int64_t due_us() const override { return is_done() && silent_frames_ == 0 ? kNever : due_us_; }
    Made make(std::int64_t, Bytes payload) override {
        std::array<std::int16_t, kMaxFrame> room{};
        auto pcm = std::span(room).first(encoder_->rate() / 50);
        bool is_first = index_ == 0;
        if (silent_frames_) {
            silent_frames_--;
        } else {
            if (!tones_) tones_.emplace(key().digit, key().duration_ms, encoder_->rate());
            tones_->samples(pcm);
            if (tones_->is_over()) {
                silent_frames_ = static_cast<unsigned>((key().gap_ms + 19) / 20);
                tones_.reset();
                next();
            }
        }
        auto length = encoder_->encode(pcm, payload);
        Made made{{.index = index_++,
                   .timestamp = timestamp_,
                   .clock_rate = format_.clock_rate,
                   .payload_type = format_.payload_type,
                   .has_marker = is_first},
                  length};
        timestamp_ += format_.clock_rate / 50;
        due_us_ += kFrameUs;
        return made;
    }

  private:
    codec::Format format_;
    std::unique_ptr<codec::Encoder> encoder_;
    std::optional<dtmf::ToneGenerator> tones_;
    unsigned silent_frames_ = 0;
    std::int64_t due_us_;
    std::uint64_t index_ = 0;
    std::uint32_t timestamp_ = 0;
};

}  // namespace

void Keypad::agree(const Formats& formats) {
    if (!(formats == formats_)) {
        tones_.reset();
        if (speech_ && !speech_->agree(formats)) speech_.reset();
    }
    formats_ = formats;
}

void Keypad::event(const rtp::Header& header, ConstBytes payload, std::uint32_t clock_rate,
                   std::int64_t now_us) {
    if (auto event = dtmf::parse(payload))
        reader_.packet(*event, header.ssrc, header.timestamp, clock_rate, now_us);
}

bool Keypad::listen_for_tones(bool is_on) {
    if (!is_on) {
        tones_.reset();
        return true;
    }
    const auto* format = formats_.audio();
    auto decoder = format ? codec::make_decoder(*format, kToneRate) : nullptr;
    if (!decoder || decoder->rate() % kToneRate) return false;
    tones_ = std::make_unique<Tones>();
    tones_->format = *format;
    tones_->decoder = std::move(decoder);
    return true;
}

bool Keypad::listen_for_speech(bool is_on, std::int64_t now_us) {
    if (!is_on) {
        speech_.reset();
        return true;
    }
    auto speech = std::make_unique<SpeechMeter>(now_us);
    if (!speech->agree(formats_)) return false;
    speech_ = std::move(speech);
    return true;
}

void Keypad::sound(const rtp::Header& header, ConstBytes payload, std::int64_t now_us) {
    if (speech_) speech_->sound(header, payload, now_us);
    if (!tones_ || header.payload_type != tones_->format.payload_type) return;
    auto count = tones_->decoder->decode(payload, tones_->pcm);
    // Every second sample of 16 kHz: nothing between 4 and 8 kHz is loud enough in speech to be taken for a
    // key.
    auto step = tones_->decoder->rate() / kToneRate;
    for (std::size_t i = 0; i < count / step; i++) tones_->pcm[i] = tones_->pcm[i * step];
    tones_->detector.samples(std::span(tones_->pcm).first(count / step));
}

std::optional<KeyHeard> Keypad::take() {
    if (auto key = reader_.take()) return KeyHeard{*key, false};
    if (!tones_) return std::nullopt;
    if (auto key = tones_->detector.take()) return KeyHeard{*key, true};
    return std::nullopt;
}

std::unique_ptr<dtmf::Keying> Keypad::keying(std::int64_t now_us) const {
    const auto* format = formats_.audio();
    if (const auto* event = formats_.event(format ? format->clock_rate : 8000))
        return std::make_unique<dtmf::Writer>(event->payload_type, event->clock_rate, now_us);
    auto encoder = format ? codec::make_encoder(*format, kToneRate) : nullptr;
    if (!encoder) return nullptr;
    return std::make_unique<ToneKeying>(*format, std::move(encoder), now_us);
}

}  // namespace hushwire
