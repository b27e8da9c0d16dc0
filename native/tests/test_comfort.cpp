// Comfort noise (RFC 3389) towards parties that agreed on it, and what an Opus listener's reports change.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/bridge.hpp"
#include "core/codec_opus.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;
using codec::Name;

namespace {

constexpr codec::Format kPcmu{.name = Name::pcmu, .payload_type = 0},
    kPcma{.name = Name::pcma, .payload_type = 8}, kNoise{.name = Name::comfort_noise, .payload_type = 13},
    kOpus{.name = Name::opus, .payload_type = 111, .wants_fec = true, .clock_rate = 48'000};

struct Sent {
    rtp::Header header;
    std::vector<std::byte> payload;
    std::int64_t at = 0;
};

/// Leg 0 speaks PCMU; what leg 1 is sent is kept.
struct Pair {
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = 1'000'000;
    std::uint16_t sequence = 0;
    std::vector<Sent> sent;

    Pair(std::initializer_list<codec::Format> mine, std::initializer_list<codec::Format> theirs) {
        set(0, mine);
        set(1, theirs);
    }
    void set(unsigned leg, std::initializer_list<codec::Format> formats) {
        LegSettings settings;
        settings.remote_rtp = address(static_cast<std::uint8_t>(leg), 4000);
        settings.is_muxed = true;
        settings.clock_rate = formats.begin()->clock_rate;
        for (const auto& format : formats) settings.formats.list[settings.formats.count++] = format;
        if (!bridge.has_leg(leg)) bridge.open_leg(leg);
        bridge.set_leg(leg, settings, now);
    }
    void keep(const std::optional<Forward>& forward) {
        if (!forward || forward->leg != 1 || forward->channel != Channel::rtp) return;
        auto header = *rtp::parse(forward->data);
        auto payload = forward->data.subspan(header.length);
        sent.push_back({header, {payload.begin(), payload.end()}, now});
    }
    void put(std::uint8_t type, std::span<const std::byte> payload) {
        auto packet = rtp_packet(sequence, sequence * 160U, 7);
        packet.resize(12);
        packet[1] = static_cast<std::byte>(type);
        packet.insert(packet.end(), payload.begin(), payload.end());
        std::ranges::copy(packet, buffer.begin());
        keep(bridge.receive(0, Channel::rtp, address(0, 4000), buffer, packet.size(), now));
    }
    /// 20 ms of leg 0, and of the clock.
    void step(std::uint8_t type, std::span<const std::byte> payload) {
        put(type, payload);
        pass();
    }
    void pass() {
        sequence++;
        for (auto until = now + 20'000; now < until; now += 1000)
            while (auto made = bridge.produce(now, buffer)) keep(made);
    }
    void report(std::uint8_t fraction_lost) {
        auto report =
            hex("81c90007"
                "00000001"
                "00000000"
                "00000000"
                "00000000"
                "00000000"
                "00000000"
                "00000000");
        store_be(report.data() + 8, bridge.ssrc(1));
        report[12] = static_cast<std::byte>(fraction_lost);
        std::ranges::copy(report, buffer.begin());
        bridge.receive(1, Channel::rtp, address(1, 4000), buffer, report.size(), now);
    }
};

/// Mu-law of a voice that says a syllable every 200 ms, each at another pitch.
std::vector<std::byte> speech(unsigned n) {
    constexpr std::array<unsigned, 10> kLoudness{0x68, 0x40, 0x28, 0x18, 0x10, 0x10, 0x20, 0x38, 0x50, 0x70};
    std::vector<std::byte> out(160);
    auto period = 40 + 7 * (n / 10 % 5);
    for (std::size_t i = 0; i < out.size(); i++) {
        bool is_up = (n * 160 + i) % period < period / 3;
        out[i] = static_cast<std::byte>(kLoudness[n % 10] | (is_up ? 0x80U : 0U));
    }
    return out;
}
const std::vector<std::byte> kSilence(160, std::byte{0xff});

}  // namespace

TEST(
    "who agreed on comfort noise gets one packet of it as speech ends and one a second, and nothing "
    "between") {
    Pair pair({kPcmu}, {kPcma, kNoise});
    for (unsigned n = 0; n < 50; n++) pair.step(0, speech(n));
    auto spoken = pair.sent.size();
    CHECK(spoken >= 40);
    CHECK(std::ranges::count_if(pair.sent, [](const auto& s) { return s.header.payload_type == 13; })
          <= 1);  // before it
    for (unsigned n = 0; n < 250; n++) pair.step(0, kSilence);
    std::vector<Sent> noise;
    for (const auto& s : std::span(pair.sent).subspan(spoken))
        if (s.header.payload_type == 13) noise.push_back(s);
    CHECK(noise.size() >= 4 && noise.size() <= 6);
    for (std::size_t i = 0; i < noise.size(); i++) {
        CHECK(noise[i].payload.size() == 1 && noise[i].payload[0] >= std::byte{50}
              && noise[i].payload[0] <= std::byte{127});
        CHECK(!noise[i].header.has_marker);
        if (i) CHECK(std::abs(noise[i].at - noise[i - 1].at - 1'000'000) <= 1000);
        if (i) CHECK(noise[i].header.timestamp - noise[i - 1].header.timestamp == 8000);
    }
    CHECK(pair.sent.size() < spoken + 40);  // the rest of 5 s was left out
    auto before = pair.sent.size();
    for (unsigned n = 0; n < 20; n++) pair.step(0, speech(n));
    CHECK(pair.sent.size() > before + 10);
    CHECK(pair.sent[before].header.payload_type == 8 && pair.sent[before].header.has_marker);
    for (std::size_t i = 1; i < pair.sent.size(); i++)
        CHECK(static_cast<std::uint16_t>(pair.sent[i].header.sequence - pair.sent[i - 1].header.sequence)
              == 1);
}

TEST("who did not agree on comfort noise gets a whole stream, silence too") {
    Pair pair({kPcmu, kNoise}, {kPcma});
    for (unsigned n = 0; n < 20; n++) pair.step(0, speech(n));
    auto level = std::array{std::byte{60}};
    pair.step(13, level);
    for (unsigned n = 0; n < 200; n++) pair.pass();
    CHECK(pair.sent.size() > 210);
    CHECK(std::ranges::all_of(pair.sent, [](const auto& s) { return s.header.payload_type == 8; }));
}

TEST("comfort noise is relayed to who agreed on it, under its payload type, and to nobody else") {
    auto level = std::array{std::byte{60}};
    Pair agreed({kPcmu, kNoise}, {kPcmu, kNoise});
    agreed.step(0, speech(0));
    agreed.step(13, level);
    CHECK(agreed.sent.size() == 2 && agreed.sent[1].header.payload_type == 13);
    Pair not_agreed({kPcmu, kNoise}, {kPcmu});
    not_agreed.step(0, speech(0));
    not_agreed.step(13, level);
    not_agreed.step(0, speech(1));
    CHECK(not_agreed.sent.size() == 2 && not_agreed.sent[1].header.payload_type == 0);
    CHECK(not_agreed.bridge.report(0, not_agreed.now).counters.dropped_unsent == 1);
    CHECK(not_agreed.sent[1].header.timestamp - not_agreed.sent[0].header.timestamp == 320);
}

TEST(
    "what an Opus listener reports as lost decides how much is said twice: at once more, little by little "
    "less") {
    Pair pair({kPcmu}, {kOpus});
    codec::opus::Decoder decoder(48'000);
    std::vector<std::int16_t> out(960);
    auto copies = [&](unsigned packets) {
        pair.sent.clear();
        for (unsigned n = 0; n < packets; n++) pair.step(0, speech(n));
        return std::ranges::count_if(pair.sent,
                                     [&](const auto& s) { return decoder.recover(s.payload, out); });
    };
    copies(20);
    for (int i = 0; i < 4; i++) pair.report(0);
    copies(10);
    CHECK(copies(50) == 0);
    pair.report(64);  // a quarter
    copies(5);
    CHECK(copies(50) >= 15);
    pair.report(0);
    copies(5);
    CHECK(copies(50) >= 10);  // not forgotten by the first report without a loss
    for (int i = 0; i < 5; i++) pair.report(0);
    copies(10);
    CHECK(copies(50) == 0);
}
