#include <algorithm>

#include "core/bridge.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kSecond = 1'000'000;
constexpr std::string_view kPassword = "0123456789abcdefghijkl";

LegSettings plain_leg(const Address& remote) {
    LegSettings s;
    s.remote_rtp = remote;
    s.remote_rtcp = {remote.ip, static_cast<std::uint16_t>(remote.port + 1)};
    return s;
}

LegSettings ice_leg(bool is_dtls) {
    LegSettings s;
    s.is_muxed = true;
    s.is_dtls = is_dtls;
    s.ice = ice::Settings{"locl", "rmte", Secret<ice::kMaxPassword>(as_bytes(kPassword))};
    return s;
}

LegSettings keyed(LegSettings s) {
    s.send_key = master(srtp::Suite::aes_128_sha1_80, 1);
    s.recv_key = master(srtp::Suite::aes_128_sha1_80, 2);
    return s;
}

std::vector<std::byte> check(bool is_nominating) {
    stun::TransactionId id;
    for (auto& b : id) b = static_cast<std::byte>(chance());
    std::vector<std::byte> out(200);
    stun::Writer w(out, stun::Class::request, stun::kBinding, id);
    w.username("locl:rmte").attribute(stun::kIceControlling, hex("0123456789abcdef"));
    if (is_nominating) w.attribute(stun::kUseCandidate, {});
    out.resize(w.integrity(stun::integrity_key(as_bytes(kPassword))).fingerprint());
    return out;
}

std::vector<std::byte> handshake() {
    std::vector<std::byte> out(100, std::byte{1});
    out[0] = std::byte{22};
    return out;
}

/// Leg 0 is the one with ICE or DTLS, leg 1 a plain phone.
struct Fixture : DtlsSink {
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = kSecond;
    Address a = address(1, 4000), b = address(2, 5000), stranger = address(9, 9000);
    std::vector<std::vector<std::byte>> up;

    explicit Fixture(const LegSettings& first) {
        bridge.set_dtls_sink(this);
        bridge.open_leg(0);
        bridge.open_leg(1);
        bridge.set_leg(0, first, now);
        bridge.set_leg(1, plain_leg(b), now);
    }
    void dtls(unsigned leg, ConstBytes datagram) override {
        CHECK(leg == 0);
        up.emplace_back(datagram.begin(), datagram.end());
    }
    std::optional<Forward> put(unsigned leg, const std::vector<std::byte>& packet, const Address& from,
                               Channel channel = Channel::rtp) {
        std::ranges::copy(packet, buffer.begin());
        return bridge.receive(leg, channel, from, buffer, packet.size(), now);
    }
    std::optional<Forward> down() {
        auto datagram = handshake();
        std::ranges::copy(datagram, buffer.begin());
        return bridge.send_dtls(0, std::span(buffer).first(datagram.size()));
    }
    Counters counters(unsigned leg = 0) { return bridge.report(leg, now).counters; }
    std::vector<LegEvent::Kind> events() {
        std::vector<LegEvent::Kind> kinds;
        while (auto event = bridge.take_event()) kinds.push_back(event->kind);
        return kinds;
    }
};

}  // namespace

TEST("an answer goes back to where the check came from, by the same port, and media follows the nomination") {
    Fixture f(ice_leg(false));
    CHECK(!f.put(0, rtp_packet(1, 0, 1), f.a) && f.counters().dropped_unchecked == 1);
    auto answer = f.put(0, check(false), f.a);
    CHECK(answer && answer->leg == 0 && answer->channel == Channel::rtp && answer->to == f.a);
    CHECK(f.put(0, rtp_packet(2, 160, 1), f.a));               // proven, so it is heard
    CHECK(!f.put(1, rtp_packet(1, 0, 2), f.b));                // and not sent to: nobody nominated
    CHECK(f.events() == std::vector{LegEvent::Kind::source});  // of leg 1
    f.put(0, check(true), f.a);
    auto sent = f.put(1, rtp_packet(2, 160, 2), f.b);
    CHECK(sent && sent->leg == 0 && sent->to == f.a);
    CHECK(!f.put(0, rtp_packet(3, 320, 1), f.stranger) && f.counters().dropped_unchecked == 2);
    CHECK(!f.put(0, check(true), f.stranger, Channel::rtcp));  // RTCP has no port of its own here
    CHECK(!f.put(0, rtp_packet(3, 320, 1), f.stranger));
}

TEST("neither a tag nor an announced address moves a leg with ICE") {
    auto settings = keyed(ice_leg(false));
    settings.remote_rtp = address(9, 9000);
    Fixture f(keyed(plain_leg(address(9, 9000))));  // a leg that was known by its address, and might learn
    f.bridge.set_leg(0, settings, f.now);
    f.put(0, check(true), f.a);
    f.put(0, check(false), address(3, 3000));
    srtp::Sender browser(*settings.recv_key);
    auto packet = rtp_packet(1, 0, 1);
    packet.resize(packet.size() + srtp::kMaxTag);
    packet.resize(browser.protect_rtp(packet, 172, 12, 1));
    CHECK(!f.put(0, packet, f.stranger) && f.put(0, packet, address(3, 3000)));
    auto sent = f.put(1, rtp_packet(1, 0, 2), f.b);
    CHECK(sent && sent->to == f.a);
}

TEST("when consent is lost nothing is sent, it is told once, and a nomination brings the leg back") {
    Fixture f(ice_leg(false));
    f.put(0, check(true), f.a);
    f.put(1, rtp_packet(1, 0, 2), f.b);
    f.events();
    f.now += 30 * kSecond;
    f.bridge.tick(f.now);
    CHECK(f.put(1, rtp_packet(2, 160, 2), f.b).has_value());
    f.now += 1;
    f.bridge.tick(f.now);
    CHECK(!f.put(1, rtp_packet(3, 320, 2), f.b));
    CHECK(std::ranges::count(f.events(), LegEvent::Kind::consent_lost) == 1);
    f.now += kSecond;
    f.bridge.tick(f.now);
    CHECK(std::ranges::count(f.events(), LegEvent::Kind::consent_lost) == 0);
    f.put(0, check(true), f.a);
    CHECK(f.put(1, rtp_packet(4, 480, 2), f.b).has_value());
    CHECK(std::ranges::count(f.events(), LegEvent::Kind::ice_selected) == 1);
}

TEST("a leg that goes from ICE to an announced address, and back, keeps nothing of the one for the other") {
    Fixture f(ice_leg(false));
    f.put(0, check(true), f.a);
    f.bridge.set_leg(0, plain_leg(address(7, 7000)), f.now);
    auto sent = f.put(1, rtp_packet(1, 0, 2), f.b);
    CHECK(sent && sent->to == address(7, 7000));
    CHECK(!f.put(0, rtp_packet(1, 0, 1), f.a) && f.counters().dropped_source == 1);
    f.bridge.set_leg(0, ice_leg(false), f.now);
    CHECK(!f.put(1, rtp_packet(2, 160, 2), f.b) && !f.put(0, rtp_packet(2, 160, 1), address(7, 7000)));
    f.bridge.set_leg(0, plain_leg(address(7, 7000)), f.now);
    CHECK(f.put(1, rtp_packet(3, 320, 2), f.b).has_value());
}

TEST("a ClientHello is passed up only from an address with a valid check, and with a bound") {
    Fixture f(ice_leg(true));
    CHECK(!f.put(0, handshake(), f.a) && f.up.empty() && f.counters().dtls_refused == 1);
    f.put(0, check(false), f.a);
    f.put(0, handshake(), f.stranger);
    CHECK(f.up.empty());
    f.put(0, handshake(), f.a);
    CHECK(f.up.size() == 1 && f.up[0] == handshake());
    for (int n = 0; n < 10'000; n++, f.now += 1000) f.put(0, handshake(), f.a);
    CHECK(f.up.size() >= 470 && f.up.size() <= 481);  // 80 at once, then 40 a second for ten seconds
    CHECK(f.counters().dtls_received == f.up.size() && f.counters().dtls_limited == 10'001 - f.up.size());
}

TEST("before the first nomination a handshake is answered where it came from; after it never again") {
    Fixture f(keyed(ice_leg(true)));
    auto other = address(3, 3000);
    f.put(0, check(false), f.a);
    f.put(0, check(false), other);
    f.put(0, handshake(), other);
    CHECK(f.down()->to == other && f.put(1, rtp_packet(1, 0, 2), f.b)->to == other);
    f.put(0, check(true), f.a);
    f.put(0, handshake(), other);
    CHECK(f.down()->to == f.a && f.put(1, rtp_packet(2, 160, 2), f.b)->to == f.a);
    f.now += 20 * kSecond;
    f.put(0, check(false), other);
    f.put(0, handshake(), other);
    f.now += 11 * kSecond;  // consent for the nominated pair is lost, the other is still checked
    f.bridge.tick(f.now);
    CHECK(!f.down() && !f.put(1, rtp_packet(3, 320, 2), f.b));
    f.put(0, handshake(), other);
    CHECK(!f.down());
}

TEST("a handshake goes down to the nominated address, or to the announced one without ICE, else nowhere") {
    Fixture f(ice_leg(true));
    CHECK(!f.down());
    f.put(0, check(false), f.a);
    CHECK(!f.down());
    f.put(0, check(true), f.a);
    auto sent = f.down();
    CHECK(sent && sent->to == f.a && sent->data.size() == handshake().size());
    auto sip = plain_leg(address(1, 4000));
    sip.is_dtls = true;
    Fixture g(sip);
    sent = g.down();
    CHECK(sent && sent->to == g.a);
    // Learnt as media would be, once and early, but only by a hello that bears the cookie that was sent
    // there.
    auto hello = client_hello();
    auto asked = g.put(0, hello, address(1, 4444));
    CHECK(asked && asked->to == address(1, 4444) && asked->data.size() == dtls::Cookies::kRequest);
    auto proven = client_hello(asked->data.subspan(28));
    CHECK(g.up.empty() && g.down()->to == g.a);
    g.put(0, proven, address(1, 5555));  // another address: not its cookie
    CHECK(g.up.empty());
    g.put(0, proven, address(1, 4444));
    CHECK(g.up.size() == 1 && g.down()->to == address(1, 4444));
    g.put(0, handshake(), address(1, 4444));
    CHECK(g.up.size() == 2);
    CHECK(!g.put(0, hello, address(1, 5555)) && !g.put(0, handshake(), address(1, 5555))
          && !g.put(0, hello, g.stranger));
    CHECK(g.up.size() == 2 && g.counters().dtls_refused == 5);
    CHECK(!g.bridge.send_dtls(1, std::span(g.buffer).first(20)));  // that leg is plain
    CHECK(!g.bridge.send_dtls(5, std::span(g.buffer).first(20)));  // and that one is not there
}

TEST("a DTLS leg without keys gives and takes nothing: relayed, made by the clock, or RTCP") {
    auto sip = plain_leg(address(1, 4000));
    sip.is_dtls = true;
    for (const auto& settings : {ice_leg(true), sip}) {
        Fixture f(settings);
        f.put(0, check(true), f.a);
        const auto report = hex("80c900010000000181cb000100000001");
        CHECK(!f.put(0, rtp_packet(1, 0, 1), f.a) && !f.put(0, report, f.a, Channel::rtp));
        CHECK(!f.put(1, rtp_packet(1, 0, 2), f.b) && !f.put(1, report, address(2, 5001), Channel::rtcp));
        for (int n = 0; n < 200; n++) {  // twenty seconds, so that reports would be due
            f.now += kSecond / 10;
            f.bridge.tick(f.now);
            while (auto made = f.bridge.report_due(f.now, f.buffer)) CHECK(made->leg != 0);
        }
        CHECK(f.counters().packets_sent == 0 && f.counters().rtcp_sent == 0);
        CHECK(f.counters().packets_received == 0 && f.counters().dropped_unkeyed >= 1);
        f.bridge.set_leg(0, keyed(settings), f.now);
        CHECK(f.put(1, rtp_packet(2, 160, 2), f.b).has_value());
        f.bridge.set_leg(0, settings, f.now);  // the keys are taken back
        CHECK(!f.put(1, rtp_packet(3, 320, 2), f.b) && !f.put(0, rtp_packet(2, 160, 1), f.a));
    }
}
