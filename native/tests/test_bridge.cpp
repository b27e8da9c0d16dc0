#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "core/bridge.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kSecond = 1'000'000;

LegSettings plain_leg(const Address& remote) {
    LegSettings s;
    s.remote_rtp = remote;
    s.remote_rtcp = {remote.ip, static_cast<std::uint16_t>(remote.port + 1)};
    s.allowance = {1'000'000, 1'000'000};
    return s;
}

LegSettings secure_leg(const Address& remote, srtp::Suite suite, unsigned seed) {
    auto s = plain_leg(remote);
    s.send_key = master(suite, seed);
    s.recv_key = master(suite, seed + 100);
    return s;
}

struct Fixture {
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = 0;
    Address a = address(1, 4000), b = address(2, 5000);

    Fixture(const LegSettings& first, const LegSettings& second) {
        bridge.open_leg(0);
        bridge.open_leg(1);
        bridge.set_leg(0, first, now);
        bridge.set_leg(1, second, now);
    }
    std::optional<Forward> put(unsigned leg, const std::vector<std::byte>& packet, const Address& from,
                               Channel channel = Channel::rtp) {
        std::ranges::copy(packet, buffer.begin());
        return bridge.receive(leg, channel, from, buffer, packet.size(), now);
    }
};

}  // namespace

TEST("plain RTP learns a source within three seconds and not after") {
    for (auto [after, is_taken] : {std::pair{3 * kSecond, true}, std::pair{3 * kSecond + 1, false}}) {
        Fixture f(plain_leg(address(1, 4000)), plain_leg(address(2, 5000)));
        f.now = after;
        CHECK(f.put(0, rtp_packet(1, 0, 1), address(1, 4444)).has_value() == is_taken);
        CHECK(f.put(0, rtp_packet(2, 0, 1), f.a).has_value());
        CHECK(!f.put(0, rtp_packet(3, 0, 1), address(1, 4444)).has_value());
        CHECK(!f.put(0, rtp_packet(3, 0, 1), address(3, 4000)).has_value());
    }
}

TEST("an old receive key is good for two seconds after the new one, and no longer") {
    for (auto [after, is_taken] : {std::pair{2 * kSecond, true}, std::pair{2 * kSecond + 1, false}}) {
        auto old = secure_leg(address(1, 4000), srtp::Suite::aes_128_sha1_80, 1);
        Fixture f(old, plain_leg(address(2, 5000)));
        srtp::Sender phone(*old.recv_key);
        auto packet = rtp_packet(9, 0, 1);
        packet.resize(packet.size() + srtp::kMaxTag);
        packet.resize(phone.protect_rtp(packet, 172, 12, 9));
        f.bridge.set_leg(0, secure_leg(f.a, srtp::Suite::aes_256_sha1_80, 2), f.now);
        f.now = after;
        f.bridge.tick(f.now);
        CHECK(f.put(0, packet, f.a).has_value() == is_taken);
    }
}

TEST("whatever comes in, no (key, SSRC, index) goes out twice, and nothing is touched outside the buffer") {
    auto first = secure_leg(address(1, 4000), srtp::Suite::aes_128_sha1_80, 1);
    auto second = secure_leg(address(1, 4000), srtp::Suite::aes_256_sha1_80, 2);
    Fixture f(first, plain_leg(address(2, 5000)));
    std::set<std::tuple<unsigned, std::uint32_t, std::uint32_t>>
        seen;  // key, SSRC, packet's place after unwrapping
    std::map<std::pair<unsigned, std::uint32_t>, SequenceTracker> unwrap;
    unsigned key = 1;
    std::uint16_t sequence = 0;
    for (int n = 0; n < 300'000; n++) {
        f.now += 1000;
        auto dice = chance() % 1000;
        if (dice == 0) {
            key = chance() % 2 ? 1 : 2;
            f.bridge.set_leg(0, key == 1 ? first : second, f.now);
        }
        if (dice == 1) sequence = static_cast<std::uint16_t>(chance());
        auto packet = rtp_packet(static_cast<std::uint16_t>(sequence + chance() % 8), chance(),
                                 1 + (dice < 20 ? chance() % 3 : 0), chance() % 200);
        if (dice % 50 == 2) packet[chance() % packet.size()] = static_cast<std::byte>(chance());
        sequence++;
        auto out = f.put(1, packet, f.b);
        if (!out) continue;
        CHECK(out->data.data() >= f.buffer.data()
              && out->data.data() + out->data.size() <= f.buffer.data() + f.buffer.size());
        auto ssrc = load_be32(out->data.data() + 8);
        auto place = unwrap[{key, ssrc}].place(ssrc, load_be16(out->data.data() + 2));
        // Every output follows the one before it within the gap that is kept, so unwrapping it never restarts
        // or repeats.
        CHECK(place && place->run == 1);
        if (!place) return;
        CHECK(seen.insert({key, ssrc, static_cast<std::uint32_t>(place->index)}).second);
    }
    CHECK(seen.size() > 100'000);
}

TEST("random datagrams at every port neither crash nor pass an SRTP leg") {
    Fixture f(secure_leg(address(1, 4000), srtp::Suite::aes_128_sha1_32, 1),
              secure_leg(address(2, 5000), srtp::Suite::aes_256_sha1_80, 2));
    for (int n = 0; n < 200'000; n++) {
        std::vector<std::byte> packet(chance() % 4 ? chance() % 64 : chance() % 1501);
        for (auto& byte : packet) byte = static_cast<std::byte>(chance());
        if (packet.size() > 1 && n % 2) {
            packet[0] = static_cast<std::byte>(0x80 | chance() % 64);
            packet[1] = static_cast<std::byte>(n % 4 == 1 ? 200 + chance() % 5 : chance() % 128);
        }
        CHECK(!f.put(n % 3 == 0, packet, f.a, n % 5 == 0 ? Channel::rtcp : Channel::rtp).has_value());
    }
    auto dropped = f.bridge.report(0, f.now).counters;
    CHECK(dropped.dropped_malformed > 0 && dropped.dropped_tag > 0 && dropped.packets_received == 0);
}

TEST("jitter follows RFC 3550 A.8: a steady stream has none, a swinging one converges to its swing") {
    for (auto [swing_us, low, high] : {std::tuple{0, 0U, 0U}, std::tuple{5000, 9000U, 10'100U}}) {
        Fixture f(plain_leg(address(1, 4000)), plain_leg(address(2, 5000)));
        for (int n = 0; n < 400; n++) {
            f.now = 1'000'000 + n * 20'000 + (n % 2 ? swing_us : -swing_us);
            CHECK(f.put(0, rtp_packet(static_cast<std::uint16_t>(n), static_cast<std::uint32_t>(n) * 160, 1),
                        f.a)
                      .has_value());
        }
        auto report = f.bridge.report(0, f.now);
        CHECK(report.jitter_us >= low && report.jitter_us <= high);
        CHECK(report.lost == 0 && report.counters.packets_received == 400);
    }
}

TEST("silence is told once, and again after media came back") {
    auto leg = plain_leg(address(1, 4000));
    leg.media_timeout_ms = 1000;
    auto other = plain_leg(address(2, 5000));
    other.media_timeout_ms = 0;
    Fixture f(leg, other);
    auto timeouts = [&] {
        int count = 0;
        while (auto event = f.bridge.take_event()) count += event->kind == LegEvent::Kind::media_timeout;
        return count;
    };
    f.now = kSecond;
    f.bridge.tick(f.now);
    CHECK(timeouts() == 0);
    f.now += 1;
    f.bridge.tick(f.now);
    f.bridge.tick(f.now + 5 * kSecond);
    CHECK(timeouts() == 1);
    f.put(0, rtp_packet(1, 0, 1), f.a);
    f.bridge.tick(f.now + 2 * kSecond);
    CHECK(timeouts() == 1);
}

TEST(
    "a party that sends each packet from another port is told of at most four times a second, the last place "
    "included") {
    auto leg = secure_leg(address(1, 4000), srtp::Suite::aes_128_sha1_80, 1);
    Fixture f(leg, plain_leg(address(2, 5000)));
    srtp::Sender phone(*leg.recv_key);
    std::vector<std::uint16_t> told;
    auto collect = [&] {
        while (auto event = f.bridge.take_event()) told.push_back(event->source.port);
    };
    for (std::uint16_t n = 1; n <= 1000; n++) {
        f.now += 1000;
        auto packet = rtp_packet(n, n * 160U, 1);
        packet.resize(packet.size() + srtp::kMaxTag);
        packet.resize(phone.protect_rtp(packet, 172, 12, n));
        CHECK(f.put(0, packet, address(1, static_cast<std::uint16_t>(10'000 + n))).has_value());
        collect();
    }
    f.bridge.tick(f.now += kSecond);
    collect();
    CHECK(told.size() >= 4 && told.size() <= 6);
    CHECK(told.front() == 10'001 && told.back() == 11'000);
}

TEST("contributing sources and header extensions of one party never reach the other, and the payload does") {
    for (bool is_secure : {false, true}) {
        auto second = is_secure ? secure_leg(address(2, 5000), srtp::Suite::aes_128_sha1_80, 5)
                                : plain_leg(address(2, 5000));
        Fixture f(plain_leg(address(1, 4000)), second);
        auto packet = rtp_packet(7, 160, 9);
        std::vector<std::byte> extra(2 * 4 + 8, std::byte{0xee});  // two sources; an extension of one word
        extra[10] = std::byte{0};
        extra[11] = std::byte{1};
        packet.insert(packet.begin() + 12, extra.begin(), extra.end());
        packet[0] = std::byte{0x92};
        auto sent = f.put(0, packet, f.a);
        CHECK(sent.has_value());
        std::vector<std::byte> data(sent->data.begin(), sent->data.end());
        CHECK(data.size() == 172U + (is_secure ? 10 : 0));
        CHECK(data[0] == std::byte{0x80});
        if (is_secure) {
            srtp::Receiver receiver(*second.send_key, nullptr);
            auto opened = receiver.open_rtp(data, 12);
            CHECK(opened.outcome == srtp::Outcome::ok);
            data.resize(opened.length);
        }
        CHECK(std::equal(data.begin() + 12, data.end(), packet.begin() + 28, packet.end()));
    }
}

TEST(
    "a leg that sends ten times what voice does is held to its allowance, and gets its whole due again "
    "afterwards") {
    auto leg = plain_leg(address(1, 4000));
    leg.allowance = {400, 200};
    Fixture f(leg, plain_leg(address(2, 5000)));
    std::uint16_t sequence = 0;
    auto second = [&](unsigned packets) {
        unsigned taken = 0;
        for (unsigned n = 0; n < packets; n++) {
            f.now += kSecond / packets;
            taken += f.put(0, rtp_packet(sequence++, 0, 1), f.a).has_value();
        }
        return taken;
    };
    CHECK(second(500) == 500);  // the burst is meant for what a network held back
    unsigned taken = 0;
    for (int n = 0; n < 10; n++) taken += second(500);
    CHECK(taken >= 4'000 && taken <= 4'110);
    CHECK(f.bridge.report(0, f.now).counters.dropped_budget == 5'000 - taken);
    f.now += 10 * kSecond;
    CHECK(second(50) == 50);
}

TEST(
    "a flood of RTCP from the party's own address is cut to a few a second, and not a packet of speech is "
    "lost by it") {
    auto leg = plain_leg(address(1, 4000));
    leg.is_muxed = true;
    Fixture f(leg, plain_leg(address(2, 5000)));
    std::vector<std::byte> report(8);
    report[0] = std::byte{0x80};
    report[1] = std::byte{201};
    report[3] = std::byte{1};
    for (std::uint16_t n = 0; n < 500; n++) {  // ten seconds of speech
        for (int i = 0; i < 200; i++) CHECK(!f.put(0, report, f.a));
        CHECK(f.put(0, rtp_packet(n, n * 160U, 1), f.a).has_value());
        f.now += kSecond / 50;
    }
    auto counters = f.bridge.report(0, f.now).counters;
    CHECK(counters.packets_received == 500 && counters.dropped_budget == 0);
    CHECK(counters.rtcp_received >= 100 && counters.rtcp_received <= 125);
    CHECK(counters.dropped_rtcp_budget == 100'000 - counters.rtcp_received);
}

TEST("two echoes that hear each other die out at their allowance instead of filling the machine") {
    auto a = plain_leg(address(1, 4000));
    a.allowance = {400, 200};
    Bridge one(Mode::echo, chance), two(Mode::echo, chance);
    for (auto* echo : {&one, &two}) {
        echo->open_leg(0);
        echo->set_leg(0, a, 0);
    }
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::ranges::copy(rtp_packet(1, 0, 1), buffer.begin());
    std::size_t length = 172;
    unsigned rounds = 0;
    for (auto* echo = &one;; echo = echo == &one ? &two : &one, rounds++) {
        auto out = echo->receive(0, Channel::rtp, address(1, 4000), buffer, length, 1000);
        if (!out) break;
        length = out->data.size();
    }
    CHECK(rounds == 400);  // two bursts, in no time at all
}

TEST("no packet of RTP leaves looking like RTCP, though its stream begins anew") {
    Fixture f(plain_leg(address(1, 4000)), plain_leg(address(2, 5000)));
    for (unsigned type = 0; type < 128; type++) {
        // Another SSRC each time: the output marks where a stream begins.
        auto packet = rtp_packet(static_cast<std::uint16_t>(type), 160, 100 + type);
        packet[1] = static_cast<std::byte>(type);
        auto sent = f.put(0, packet, f.a);
        CHECK(sent.has_value());
        CHECK(!rtp::looks_like_rtcp(sent->data));
        bool is_marked = (std::to_integer<unsigned>(sent->data[1]) & 0x80) != 0;
        CHECK(is_marked == (type > 0 && (type < 64 || type > 95)));
    }
}

TEST("a leg that moves between bridges goes on with its stream, though both know sources by the same names") {
    for (auto suite : kSuites) {
        auto keyed = secure_leg(address(1, 4000), suite, 1);
        Fixture from(keyed, plain_leg(address(2, 5000))), to(plain_leg(address(3, 6000)), keyed);
        to.bridge.close_leg(1, 0);
        std::map<std::uint32_t, SequenceTracker> streams;
        std::set<std::pair<std::uint32_t, std::uint64_t>> seen;
        auto heard = [&](std::optional<Forward> out, unsigned leg) {
            CHECK(out && out->leg == leg && out->to == address(1, 4000));
            if (!out) return;
            auto ssrc = load_be32(out->data.data() + 8);
            auto place = streams[ssrc].place(ssrc, load_be16(out->data.data() + 2));
            CHECK(place && place->run == 1 && seen.emplace(ssrc, place->index).second);
        };
        // The same SSRC and sequence numbers, from the leg of the same number, in either bridge.
        for (std::uint16_t n = 100; n < 150; n++, from.now += 20'000)
            heard(from.put(1, rtp_packet(n, n * 160U, 7), from.b), 0);
        srtp::Sender phone(*keyed.recv_key);
        auto spoken = [&](std::uint16_t n) {
            auto packet = rtp_packet(n, n * 160U, 9);
            packet.resize(packet.size() + srtp::kMaxTag);
            packet.resize(phone.protect_rtp(packet, 172, 12, n));
            return packet;
        };
        auto first = spoken(1);
        CHECK(from.put(0, first, from.a).has_value());
        to.now = from.now;
        to.bridge.put_leg(1, from.bridge.take_leg(0, from.now), to.now);
        CHECK(!from.bridge.has_leg(0) && to.bridge.has_leg(1));
        for (std::uint16_t n = 100; n < 150; n++, to.now += 20'000)
            heard(to.put(0, rtp_packet(n, n * 160U, 7), address(3, 6000)), 1);
        CHECK(streams.size() == 1 && seen.size() == 100);
        CHECK(!to.put(1, first, address(1, 4000)).has_value());  // what it took before, it takes no more
        auto out = to.put(1, spoken(2), address(1, 4000));
        CHECK(out && out->leg == 0 && out->to == address(3, 6000));
    }
}

TEST("whoever has a closed leg's number next hears whom that number hears at first") {
    Fixture f(plain_leg(address(1, 4000)), plain_leg(address(2, 5000)));
    f.bridge.open_leg(2);
    f.bridge.set_hears(2, 0b011, f.now);
    f.bridge.set_hears(0, 0b110, f.now);
    for (unsigned leg : {0U, 2U}) {
        f.bridge.close_leg(leg, f.now);
        f.bridge.open_leg(leg);
    }
    CHECK(f.bridge.hears(0) == 0b010 && f.bridge.hears(1) == 0b001 && f.bridge.hears(2) == 0);
}

TEST("the tap sees the legs that are recorded and no others") {
    struct Seen final : Tap {
        std::uint16_t legs = 0;
        void packet(unsigned leg, ConstBytes, std::int64_t) override {
            legs = static_cast<std::uint16_t>(legs | 1U << leg);
        }
    } seen;
    Fixture f(plain_leg(address(1, 4000)), plain_leg(address(2, 5000)));
    f.bridge.open_leg(2);
    f.bridge.set_leg(2, plain_leg(address(3, 6000)), f.now);
    f.bridge.set_tap(&seen);
    auto speak = [&](std::uint16_t n) {
        f.put(0, rtp_packet(n, 0, 1), f.a);
        f.put(1, rtp_packet(n, 0, 2), f.b);
        f.put(2, rtp_packet(n, 0, 3), address(3, 6000));
        return std::exchange(seen.legs, std::uint16_t{0});
    };
    CHECK(speak(1) == 0b011);
    f.bridge.set_recorded(0b111);
    CHECK(speak(2) == 0b111);
    f.bridge.set_recorded(0b010);
    CHECK(speak(3) == 0b010);
}
