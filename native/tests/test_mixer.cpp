// The mixer under what parties and controllers may do to it.
#include "core/bridge.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

LegSettings any_codecs(unsigned leg) {
    constexpr std::array<std::uint8_t, 5> types{0, 0, 8, 9, 111};
    LegSettings settings;
    settings.remote_rtp = address(static_cast<std::uint8_t>(leg), 4000);
    settings.allowance = {100'000, 100'000};
    auto add = [&](const codec::Format& format) { settings.formats.list[settings.formats.count++] = format; };
    unsigned first = chance() % 4, count = 1 + chance() % 3;
    for (unsigned k = 0; k < count; k++) {
        auto name = 1 + (first + k) % 4;
        add({.name = static_cast<codec::Name>(name),
             .payload_type = types[name],
             .ptime_ms = static_cast<std::uint8_t>(10 + chance() % 111),
             .wants_fec = chance() % 2 == 0,
             .may_pause = chance() % 2 == 0,
             .clock_rate = name == 4 ? 48'000U : 8000U});
    }
    add({.name = codec::Name::comfort_noise, .payload_type = 13});
    add({.name = codec::Name::telephone_event,
         .payload_type = 101,
         .clock_rate = chance() % 2 ? 48'000U : 8000U});
    return settings;
}

}  // namespace

TEST(
    "whatever five legs send while codecs, hearers and legs change, nothing is read outside and every packet "
    "made fits") {
    constexpr std::array<std::uint8_t, 6> types{0, 8, 9, 111, 13, 101};
    std::size_t made_count = 0;
    for (int round = 0; round < 10; round++) {
        Bridge bridge(Mode::relay, chance);
        std::array<std::byte, Bridge::kBuffer> buffer;
        std::int64_t now = 1'000'000;
        for (unsigned step = 0; step < 4000; step++) {
            unsigned leg = chance() % 5;
            if (!bridge.has_leg(leg)) bridge.open_leg(leg);
            if (step < 5 || chance() % 400 == 0) {
                bridge.set_leg(leg, any_codecs(leg), now);
                bridge.set_hears(leg, static_cast<std::uint16_t>(chance() & 31 & ~(1U << leg)), now);
            }
            if (chance() % 500 == 0) {
                bridge.close_leg(leg, now);
                continue;
            }
            std::size_t length = 12 + (chance() % 10 ? chance() % 330 : chance() % 1480);
            for (std::size_t i = 0; i < length; i++) buffer[i] = static_cast<std::byte>(chance());
            buffer[0] = std::byte{0x80};
            buffer[1] = static_cast<std::byte>(types[chance() % types.size()]);
            store_be(buffer.data() + 2, static_cast<std::uint16_t>(chance() % 20 ? step : chance()));
            store_be(buffer.data() + 4, chance() % 10 ? step * 160 : chance());
            store_be(buffer.data() + 8, chance() % 100 ? leg : chance());
            bridge.receive(leg, Channel::rtp, address(static_cast<std::uint8_t>(leg), 4000), buffer, length,
                           now);
            while (auto made = bridge.produce(now, buffer)) {
                CHECK(made->data.size() <= rtp::kMaxPacket);
                made_count++;
            }
            now += chance() % (chance() % 200 ? 8000 : 900'000);
        }
    }
    CHECK(made_count > 1000);
}

TEST("only legs 0 and 1 are recorded: a reader refuses a file that names another") {
    struct Legs final : Tap {
        std::uint16_t seen = 0;
        void packet(unsigned leg, ConstBytes, std::int64_t) override {
            seen = static_cast<std::uint16_t>(seen | 1U << leg);
        }
    } tap;
    Bridge bridge(Mode::relay, chance);
    bridge.set_tap(&tap);
    std::array<std::byte, Bridge::kBuffer> buffer;
    for (unsigned leg = 0; leg < 4; leg++) {
        bridge.open_leg(leg);
        bridge.set_leg(leg, any_codecs(leg), 0);
        auto packet = rtp_packet(1, 160, leg);
        std::copy(packet.begin(), packet.end(), buffer.begin());
        bridge.receive(leg, Channel::rtp, address(static_cast<std::uint8_t>(leg), 4000), buffer,
                       packet.size(), 1000);
        CHECK(bridge.report(leg, 1000).counters.packets_received == 1);
    }
    CHECK(tap.seen == 0b11);
}
