#include <algorithm>

#include "core/bridge.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kMs = 1000;

/// One leg that is open and not yet stated.
struct Fixture {
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = 1000 * kMs;
    Address party = address(1, 4000), stranger = address(9, 9000);

    Fixture() { bridge.open_leg(0); }
    bool put(const std::vector<std::byte>& packet, const Address& from, Channel channel = Channel::rtp) {
        std::ranges::copy(packet, buffer.begin());
        return bridge.receive(0, channel, from, buffer, packet.size(), now).has_value();
    }
    std::optional<Forward> state(bool is_dtls = true) {
        LegSettings settings;
        settings.remote_rtp = party;
        settings.is_dtls = is_dtls;
        bridge.set_leg(0, settings, now);
        return bridge.receive_early(0, buffer, now);
    }
    Counters counters() { return bridge.report(0, now).counters; }
};

}  // namespace

TEST("a hello that came before its leg was stated is answered once it is, by the leg's own rules") {
    Fixture f;
    CHECK(!f.put(client_hello(), f.party) && f.counters().dropped_disabled == 0);
    f.now += 2 * kMs;
    auto asked = f.state();
    CHECK(asked && asked->to == f.party && asked->data.size() == dtls::Cookies::kRequest);
    CHECK(!f.bridge.receive_early(0, f.buffer, f.now));  // once

    Fixture g;
    g.put(client_hello(), g.stranger);
    CHECK(!g.state() && g.counters().dtls_refused == 1);
    Fixture h;
    h.put(client_hello(), h.party);
    CHECK(!h.state(false) && h.counters().dropped_malformed == 1);
}

TEST("of early hellos the newest is kept for half a second, and nothing else is") {
    Fixture f;
    for (unsigned n = 0; n < 1000; n++)
        f.put(client_hello(), address(9, static_cast<std::uint16_t>(9000 + n)));
    f.put(client_hello(), f.party);
    CHECK(f.counters().dropped_disabled == 1000);
    f.put(rtp_packet(1, 0, 1), f.stranger);
    f.put(client_hello(), f.stranger, Channel::rtcp);
    auto too_long = client_hello();
    too_long.resize(EarlyHello::kMaxHello + 1);
    f.put(too_long, f.stranger);
    auto finished = client_hello();
    finished[13] = std::byte{20};
    f.put(finished, f.stranger);
    CHECK(f.counters().dropped_disabled == 1004);
    f.now += EarlyHello::kLifeUs;
    auto asked = f.state();
    CHECK(asked && asked->to == f.party);

    Fixture g;
    g.put(client_hello(), g.party);
    g.now += EarlyHello::kLifeUs + 1;
    CHECK(!g.state() && g.counters().dropped_disabled == 1 && g.counters().dtls_refused == 0);
}
