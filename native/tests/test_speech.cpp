// Speech told from silence.
#include <cmath>
#include <numbers>
#include <vector>

#include "core/speech.hpp"
#include "tests/check.hpp"

using namespace hushwire;

namespace {

constexpr codec::Format kPcmu{.name = codec::Name::pcmu, .payload_type = 0};

/// A leg that sends 20 ms of a tone at a time.
struct Speaker {
    std::int64_t now = 1'000'000;
    SpeechMeter meter{now};
    std::unique_ptr<codec::Encoder> encoder = codec::make_encoder(kPcmu, 8000);

    Speaker() { agree({kPcmu}); }
    void agree(std::initializer_list<codec::Format> all) {
        Formats formats;
        for (const auto& format : all) formats.list[formats.count++] = format;
        CHECK(meter.agree(formats));
    }
    void say(double dbov, int packets, std::uint8_t type = 0) {
        for (int packet = 0; packet < packets; packet++) {
            std::array<std::int16_t, 160> pcm;
            for (std::size_t i = 0; i < pcm.size(); i++)
                pcm[i] = static_cast<std::int16_t>(
                    32767 * std::numbers::sqrt2 * std::pow(10, dbov / 20)
                    * std::sin(2 * std::numbers::pi * 400 * static_cast<double>(i) / 8000));
            std::array<std::byte, 400> payload;
            auto length = encoder->encode(pcm, payload);
            rtp::Header header{};
            header.payload_type = type;
            meter.sound(header, ConstBytes(payload).first(length), now);
            now += 20'000;
        }
    }
};

}  // namespace

TEST("speech is counted while it lasts, and silence from its end on") {
    Speaker s;
    s.say(-60, 50);
    CHECK(s.meter.report(s.now).speech_ms == 0 && s.meter.report(s.now).quiet_ms == 1000);
    s.say(-26, 50);
    CHECK(s.meter.report(s.now).speech_ms == 1000 && s.meter.report(s.now).quiet_ms == 20);
    s.say(-50, 100);
    CHECK(s.meter.report(s.now).speech_ms == 1000 && s.meter.report(s.now).quiet_ms == 2020);
    // No packets at all are silence too.
    CHECK(s.meter.report(s.now + 3'000'000).quiet_ms == 5020);
}

TEST(
    "a party may send any codec that it agreed on, change it, and agree on others: all that it says counts") {
    constexpr codec::Format kPcma{.name = codec::Name::pcma, .payload_type = 8};
    Speaker s;
    s.agree({kPcmu, kPcma});
    s.say(-26, 50);
    s.encoder = codec::make_encoder(kPcma, 8000);
    s.say(-26, 50, 8);
    CHECK(s.meter.report(s.now).speech_ms == 2000);
    s.agree({codec::Format{.name = codec::Name::pcma, .payload_type = 97}});
    s.say(-26, 50, 97);
    CHECK(s.meter.report(s.now).speech_ms == 3000 && s.meter.report(s.now).quiet_ms == 20);
    Formats none;
    CHECK(!s.meter.agree(none));
}

TEST("a click is no speech, nor is what comes in another payload type") {
    Speaker s;
    for (int click = 0; click < 20; click++) {
        s.say(-10, 1);
        s.say(-70, 4);
    }
    s.say(-10, 20, 101);
    CHECK(s.meter.report(s.now).speech_ms == 0);
    s.say(-40, 2);
    CHECK(s.meter.report(s.now).speech_ms == 40);
}
