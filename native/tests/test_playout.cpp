// What bridges make by the clock, and how a leg goes from relay to playout and back.
#include <algorithm>

#include "core/bridge.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

/// Packets of 160 bytes, 20 ms apart; it ends where it is told to.
class Tone final : public Playout {
  public:
    Tone(std::int64_t begin_us, unsigned count) : due_us_(begin_us), left_(count) {}
    std::int64_t due_us() const override { return left_ ? due_us_ : kNever; }
    Made make(std::int64_t, Bytes payload) override {
        std::fill_n(payload.begin(), 160, std::byte{0x77});
        Made made{{.index = index_++, .timestamp = timestamp_, .payload_type = 0}, 160};
        timestamp_ += 160;
        due_us_ += 20'000;
        left_--;
        return made;
    }

  private:
    std::int64_t due_us_;
    unsigned left_;
    std::uint64_t index_ = 0;
    std::uint32_t timestamp_ = 7;
};

struct Call {
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = 1'000'000;
    std::vector<rtp::Header> heard;  // by leg 0

    Call() {
        for (unsigned leg : {0U, 1U}) {
            LegSettings settings;
            settings.remote_rtp = address(static_cast<std::uint8_t>(leg), 4000);
            bridge.open_leg(leg);
            bridge.set_leg(leg, settings, now);
        }
    }
    void step(std::uint16_t sequence) {
        auto packet = rtp_packet(sequence, sequence * 160U, 99);
        std::ranges::copy(packet, buffer.begin());
        take(bridge.receive(1, Channel::rtp, address(1, 4000), buffer, packet.size(), now));
        while (auto made = bridge.produce(now, buffer)) take(made);
        now += 20'000;
    }
    void take(const std::optional<Forward>& forward) {
        if (forward && forward->leg == 0) heard.push_back(*rtp::parse(forward->data));
    }
};

}  // namespace

TEST("a leg goes from relay to a player and back in one stream without a break in sequence or clock") {
    Call call;
    std::uint16_t sequence = 0;
    for (int i = 0; i < 5; i++) call.step(sequence++);
    call.bridge.play(0, std::make_unique<Tone>(call.now, 5));
    for (int i = 0; i < 5; i++) call.step(sequence++);
    CHECK(!call.bridge.is_playing(0));
    for (int i = 0; i < 5; i++) call.step(sequence++);
    CHECK(call.heard.size() == 15);
    for (std::size_t i = 1; i < call.heard.size(); i++) {
        CHECK(call.heard[i].sequence == static_cast<std::uint16_t>(call.heard[i - 1].sequence + 1));
        CHECK(call.heard[i].timestamp == call.heard[i - 1].timestamp + 160);
        CHECK(call.heard[i].ssrc == call.heard[0].ssrc);
        CHECK(call.heard[i].has_marker == (i == 5 || i == 10));
    }
}

TEST("a player that is stopped ends at once, and one that follows another is one stream with it") {
    Call call;
    call.bridge.play(0, std::make_unique<Tone>(call.now, 100));
    for (int i = 0; i < 3; i++) call.step(static_cast<std::uint16_t>(i));
    call.bridge.play(0, std::make_unique<Tone>(call.now, 2));
    for (int i = 0; i < 2; i++) call.step(static_cast<std::uint16_t>(3 + i));
    call.bridge.play(0, std::make_unique<Tone>(call.now, 100));
    call.bridge.stop_playing(0);
    CHECK(call.bridge.due_us() == kNever);
    call.step(5);
    CHECK(call.heard.size() == 6);
    for (std::size_t i = 1; i < call.heard.size(); i++)
        CHECK(call.heard[i].sequence == static_cast<std::uint16_t>(call.heard[i - 1].sequence + 1));
}

TEST("a leg that hears none, or two whose codecs are not known, is not relayed to") {
    Call call;
    call.bridge.open_leg(2);
    call.bridge.set_leg(2, {}, call.now);
    call.bridge.set_hears(0, 0, call.now);
    call.step(0);
    call.bridge.set_hears(0, 0b110, call.now);
    call.step(1);
    CHECK(call.heard.empty());
    call.bridge.set_hears(0, 0b010, call.now);
    call.step(2);
    CHECK(call.heard.size() == 1);
}

TEST("packets of two legs with one SSRC, heard one after the other, never share an index") {
    Call call;
    call.bridge.open_leg(2);
    LegSettings settings;
    settings.remote_rtp = address(2, 4000);
    call.bridge.set_leg(2, settings, call.now);
    call.step(10);
    call.bridge.set_hears(0, 0b100, call.now);
    auto packet = rtp_packet(10, 1600, 99);
    std::ranges::copy(packet, call.buffer.begin());
    call.take(call.bridge.receive(2, Channel::rtp, address(2, 4000), call.buffer, packet.size(), call.now));
    call.bridge.set_hears(0, 0b010, call.now);
    call.step(11);
    CHECK(call.heard.size() == 3);
    CHECK(call.heard[1].sequence == static_cast<std::uint16_t>(call.heard[0].sequence + 1));
    CHECK(call.heard[2].sequence == static_cast<std::uint16_t>(call.heard[1].sequence + 1));
}
