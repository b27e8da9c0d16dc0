// The keys of one leg, both ways: heard as telephone-events or as tones, and pressed towards it as it takes
// them. Whether somebody speaks there is heard here too, since it takes the same decoder.
#pragma once
#include <array>
#include <memory>
#include <optional>

#include "core/dtmf.hpp"
#include "core/formats.hpp"
#include "core/goertzel.hpp"
#include "core/speech.hpp"

namespace hushwire {

/// A key that a leg pressed.
struct KeyHeard {
    dtmf::Digit key;
    bool was_tones = false;
};

class Keypad {
  public:
    /// What was agreed for the leg from now on; looking for tones ends where that is another.
    void agree(const Formats& formats);

    /// A packet of telephone-event.
    void event(const rtp::Header& header, ConstBytes payload, std::uint32_t clock_rate, std::int64_t now_us);
    /// Looks for tones from now on, or no more; false where no codec of the leg can be read.
    bool listen_for_tones(bool is_on);
    /// Heeds speech from now on, from nothing, or no more; false where no codec of the leg can be read.
    bool listen_for_speech(bool is_on, std::int64_t now_us);
    /// What was heard of it; nothing where nobody listens.
    std::optional<SpeechReport> speech(std::int64_t now_us) const {
        return speech_ ? std::optional(speech_->report(now_us)) : std::nullopt;
    }
    bool is_listening() const { return tones_ || speech_; }
    /// A packet of anything else.
    void sound(const rtp::Header& header, ConstBytes payload, std::int64_t now_us);
    void tick(std::int64_t now_us) { reader_.tick(now_us); }
    /// Keys that were heard, oldest first.
    std::optional<KeyHeard> take();

    /// Something that presses keys towards the leg; null where it takes neither events nor tones.
    std::unique_ptr<dtmf::Keying> keying(std::int64_t now_us) const;

  private:
    struct Tones {
        codec::Format format;
        std::unique_ptr<codec::Decoder> decoder;
        dtmf::ToneDetector detector;
        std::array<std::int16_t, codec::kMaxPacketSamples> pcm;
    };

    Formats formats_;
    dtmf::Reader reader_;
    std::unique_ptr<Tones> tones_;
    std::unique_ptr<SpeechMeter> speech_;
};

}  // namespace hushwire
