// RTCP as it stands on the wire, and a leg's conversation with a party of known clock and network.
#include <algorithm>
#include <cmath>
#include <map>

#include "core/bridge.hpp"
#include "core/reporting.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kSecond = 1'000'000, kUnix = 1'700'000'000 * kSecond;

std::vector<std::byte> written(const rtcp::Compound& compound) {
    std::vector<std::byte> out(rtcp::kMaxWritten);
    out.resize(rtcp::write(compound, out));
    return out;
}

constexpr std::string_view kName = "0123456789abcdef";

}  // namespace

TEST("a compound that is written reads as RFC 3550 section 6 lays it out, word by word") {
    rtcp::Compound compound{.ssrc = 0x11223344,
                            .sender = rtcp::SenderInfo{0x0102030405060708, 0xAABBCCDD, 7, 1120},
                            .block = rtcp::Block{{0x55667788, 64, -2, 0x10005, 33}, 0x03040506, 0x9000},
                            .name = as_bytes(kName),
                            .says_goodbye = true};
    CHECK(written(compound)
          == hex("81c8000c"
                 "11223344"
                 "0102030405060708"
                 "aabbccdd"
                 "00000007"
                 "00000460"
                 "55667788"
                 "40fffffe"
                 "00010005"
                 "00000021"
                 "03040506"
                 "00009000"
                 "81ca0006"
                 "11223344"
                 "0110"
                 "30313233343536373839616263646566"
                 "0000"
                 "81cb0001"
                 "11223344"));
    compound = {.ssrc = 0x11223344, .name = as_bytes(kName)};
    CHECK(written(compound)
          == hex("80c90001"
                 "11223344"
                 "81ca0006"
                 "11223344"
                 "0110"
                 "30313233343536373839616263646566"
                 "0000"));
}

TEST("what is written is valid and reads back, also with a loss below 0") {
    for (std::int32_t lost : {0, 1, -1, 0x7fffff, -0x800000}) {
        auto raw = written({.ssrc = 1,
                            .sender = rtcp::SenderInfo{5, 6, 7, 8},
                            .block = rtcp::Block{{9, 10, lost, 12, 13}, 14, 15},
                            .name = as_bytes(kName)});
        CHECK(rtcp::is_valid(raw, false));
        auto heard = rtcp::read(raw, 9);
        CHECK(heard.has_report && heard.ssrc == 1 && heard.sender && heard.sender->ntp == 5
              && heard.sender->packets == 7);
        CHECK(heard.about_us && heard.about_us->cumulative_lost == lost && heard.about_us->last_sr == 14);
        CHECK(!rtcp::read(raw, 8).about_us);
    }
}

TEST("a compound is valid only whole, and begins with a report unless it may be reduced (RFC 5506)") {
    auto report = hex("80c9000100000001"), goodbye = hex("81cb000100000001");
    CHECK(rtcp::is_valid(report, false));
    CHECK(!rtcp::is_valid(goodbye, false) && rtcp::is_valid(goodbye, true));
    auto both = report;
    both.insert(both.end(), goodbye.begin(), goodbye.end());
    for (std::size_t n = 0; n <= both.size(); n++) {
        auto part = ConstBytes(both).first(n);
        CHECK(rtcp::is_valid(part, false) == (n == report.size() || n == both.size()));
    }
    CHECK(!rtcp::is_valid(hex("81c9000100000001"), false));  // a block that is not there
    CHECK(!rtcp::is_valid(hex("81c8000600000001000000000000000000000000000000000000000000"), true));
    CHECK(!rtcp::is_valid(hex("40c9000100000001"), false));  // version 1
    std::vector<std::byte> giant;
    while (giant.size() <= rtcp::kMaxCompound) giant.insert(giant.end(), report.begin(), report.end());
    CHECK(!rtcp::is_valid(giant, false));
}

TEST("a report with 31 blocks is read to its last") {
    std::vector<std::byte> packet(28 + 31 * 24, std::byte{0});
    store_be(packet.data(),
             std::uint32_t{0x80c80000} | 31U << 24 | static_cast<std::uint32_t>(packet.size() / 4 - 1));
    for (std::uint32_t i = 0; i < 31; i++) {
        store_be(packet.data() + 28 + i * 24, 100 + i);
        store_be(packet.data() + 28 + i * 24 + 8, i);
    }
    CHECK(rtcp::is_valid(packet, false));
    CHECK(rtcp::read(packet, 130).about_us->highest == 30);
    CHECK(!rtcp::read(packet, 131).about_us);
}

TEST("random bytes are never read beyond their end, whole or torn") {
    int valid = 0;
    for (int n = 0; n < 200'000; n++) {
        std::vector<std::byte> raw(chance() % 4 ? chance() % 50 * 4 : chance() % 200);
        for (auto& b : raw) b = static_cast<std::byte>(chance());
        for (std::size_t at = 0; at + 4 <= raw.size();
             at += 4 * (1 + std::size_t{load_be16(raw.data() + at + 2)})) {
            raw[at] = static_cast<std::byte>(0x80 | chance() % 4);
            raw[at + 1] = static_cast<std::byte>(200 + chance() % 6);
            auto left = (raw.size() - at) / 4 - 1;
            store_be(raw.data() + at + 2, static_cast<std::uint16_t>(chance() % 3 ? chance() % 8 : left));
        }
        std::vector<std::byte> exact(raw);  // its end is the allocation's
        if (!rtcp::is_valid(exact, n % 2)) continue;
        valid++;
        rtcp::read(exact, load_be32(exact.data()));
    }
    CHECK(valid > 1000);
}

TEST("NTP time is right at its epochs and in its fraction") {
    CHECK(rtcp::ntp_of(0) == std::uint64_t{2'208'988'800} << 32);
    CHECK(rtcp::ntp_of(500'000) == (std::uint64_t{2'208'988'800} << 32 | 0x80000000));
    CHECK(rtcp::middle(0x0102030405060708) == 0x03040506);
}

namespace {

/// One party's view: it receives our stream and reports of it, on a network with a fixed delay each way.
struct Party {
    Reporting ours{chance};
    Reception from_party;
    SentStream sent{.ssrc = 0xA0, .clock_rate = 8000};
    std::int64_t now = kSecond;
    Reception at_party;
    std::uint64_t next_out = 0;

    std::int64_t unix_us() const { return kUnix + now; }
    void talk(unsigned packets, unsigned lose_every = 0) {
        for (unsigned i = 0; i < packets; i++, now += 20'000) {
            sent.packets++;
            sent.octets += 160;
            sent.last_timestamp += 160;
            sent.last_us = now;
            if (!lose_every || next_out % lose_every)
                at_party.received({sent.ssrc, 1}, next_out, sent.last_timestamp, 8000, now);
            next_out++;
        }
    }
    rtcp::Heard report(bool says_goodbye = false) {
        std::vector<std::byte> out(rtcp::kMaxWritten);
        out.resize(ours.write(sent, from_party, now, unix_us(), says_goodbye, out));
        return rtcp::read(out, 0xB0);
    }
    void answer(std::optional<std::uint32_t> last_sr, std::int64_t held_us, std::uint32_t packets = 0,
                bool has_block = true) {
        rtcp::Compound compound{.ssrc = 0xB0, .name = as_bytes(kName)};
        if (packets) compound.sender = rtcp::SenderInfo{0x1111222233334444, 0, packets, 0};
        if (has_block)
            if (auto seen = at_party.take_report())
                compound.block = rtcp::Block{*seen, last_sr.value_or(0),
                                             static_cast<std::uint32_t>(held_us * 65536 / kSecond)};
        ours.hear(written(compound), sent, from_party.totals().received, now, unix_us());
    }
};

}  // namespace

TEST("the round trip is what the network takes, without what the party held the report for") {
    Party p;
    p.talk(100);
    auto first = p.report();
    CHECK(first.sender && first.sender->packets == 100 && first.sender->octets == 16'000);
    p.now += 80'000 + 1'500'000;  // 80 ms there and back, 1.5 s until the party reports
    p.answer(rtcp::middle(first.sender->ntp), 1'500'000);
    CHECK(p.ours.round_trip_us() && std::abs(int(*p.ours.round_trip_us()) - 80'000) < 50);
}

TEST(
    "a round trip is believed only of a report that was sent, and never below nothing or above ten seconds") {
    Party p;
    p.talk(50);
    auto first = p.report();
    auto middle = rtcp::middle(first.sender->ntp);
    p.answer(middle + 1, 0);
    CHECK(!p.ours.round_trip_us());
    p.talk(50);
    p.answer(0, 0);
    CHECK(!p.ours.round_trip_us());
    p.talk(50);
    p.answer(middle, 60 * kSecond);
    CHECK(!p.ours.round_trip_us());
    p.now += 20 * kSecond;
    p.talk(50);
    p.answer(middle, 0);
    CHECK(!p.ours.round_trip_us());
    auto second = p.report();
    p.talk(1);
    p.answer(rtcp::middle(second.sender->ntp), 25'000);  // its clock runs fast: 5 ms before it was asked
    CHECK(p.ours.round_trip_us() == 0U);
}

TEST("the party's loss and jitter are what it says, and all loss goes on through a new SSRC of ours") {
    Party p;
    p.talk(400, 4);
    p.answer(std::nullopt, 0);
    CHECK(p.ours.remote() && p.ours.remote()->fraction_lost == 63 && p.ours.remote()->lost == 99);
    p.sent = {.ssrc = 0xA1, .clock_rate = 8000};
    p.at_party = Reception();
    p.next_out = 1;
    p.talk(100, 10);
    p.answer(std::nullopt, 0);
    CHECK(p.ours.remote()->lost == 99 + 9);  // the last of the ten is not missed yet
}

TEST("a block of ours carries when the party's own report came, and only while its stream is the same") {
    Party p;
    p.from_party.received({0xB0, 1}, 5, 0, 8000, p.now);
    p.answer(std::nullopt, 0, 10);
    p.now += 250'000;
    std::vector<std::byte> out(rtcp::kMaxWritten);
    auto block = [&] {
        out.resize(rtcp::kMaxWritten);
        out.resize(p.ours.write(p.sent, p.from_party, p.now, p.unix_us(), false, out));
        return rtcp::read(out, load_be32(out.data() + 8))
            .about_us;  // a receiver report: the block's SSRC is there
    };
    auto first = block();
    CHECK(first && first->ssrc == 0xB0 && first->last_sr == 0x22223333
          && first->delay_since_last_sr == 16'384);
    CHECK(first->highest == 5);
    p.from_party.received({0xB1, 1}, 6, 0, 8000, p.now);
    auto second = block();
    CHECK(second && second->ssrc == 0xB1 && second->last_sr == 0 && second->delay_since_last_sr == 0);
}

TEST(
    "a sender report is sent for two intervals after the last packet, then a receiver report (section 6.4)") {
    Party p;
    CHECK(!p.report().sender);
    p.talk(10);
    CHECK(p.report().sender);
    CHECK(p.report().sender);
    CHECK(!p.report().sender);
    p.talk(1);
    CHECK(p.report().sender);
}

TEST(
    "reports are 5 s apart at the mean of RFC 3550 section 6.3.1, never under 2 s or over 6.2, the first "
    "early") {
    double sum = 0;
    std::map<int, int> seen;
    constexpr int kRounds = 4000;
    for (int i = 0; i < kRounds; i++) {
        Party p;
        p.ours.begin(p.now);
        auto first = p.ours.due_us() - p.now;
        CHECK(first >= 1'000'000 && first <= 3'100'000);
        p.now = p.ours.due_us();
        p.report();
        auto next = p.ours.due_us() - p.now;
        CHECK(next >= 2'050'000 && next <= 6'160'000);
        sum += static_cast<double>(next);
        seen[static_cast<int>(next / 500'000)]++;
    }
    CHECK(std::abs(sum / kRounds - 5e6 / 1.21828) < 100'000);
    CHECK(seen.size() >= 8);
}

TEST(
    "the clock of sender reports runs straight while what is relayed arrives with jitter, and follows a "
    "jump") {
    Party p;
    p.now = 0;
    std::int64_t worst = 0;
    std::uint32_t before = 0;
    std::int64_t before_us = 0;
    std::uint32_t media = 0;
    for (int i = 0; i < 60; i++) {
        // The source's packets arrive up to 60 ms late.
        p.now += 4 * kSecond;
        media += 32'000;
        p.sent.packets += 200;
        p.sent.last_timestamp = media;
        p.sent.last_us = p.now + static_cast<std::int64_t>(chance() % 60'000);
        p.now = p.sent.last_us;
        auto report = p.report();
        auto ticks = static_cast<std::int32_t>(report.sender->timestamp - before);
        if (i > 0) worst = std::max(worst, std::abs(std::int64_t{ticks} * 125 - (p.now - before_us)));
        before = report.sender->timestamp;
        before_us = p.now;
        p.now -= p.now % (4 * kSecond);
    }
    CHECK(worst <= 16'000);
    p.sent.last_timestamp += 1'000'000;
    p.talk(1);
    CHECK(p.report().sender->timestamp == p.sent.last_timestamp + 160);
}

TEST("a party that reports and hears nothing is deaf; one that hears little or was sent little is not") {
    Party p;
    p.talk(100);
    p.answer(std::nullopt, 0);
    CHECK(!p.ours.is_deaf());
    p.talk(20);
    p.answer(std::nullopt, 0, 0, false);  // no block, but hardly a packet was sent
    CHECK(!p.ours.is_deaf());
    p.talk(200);
    p.answer(std::nullopt, 0, 0, false);
    CHECK(p.ours.is_deaf());
    p.answer(std::nullopt, 0);
    CHECK(!p.ours.is_deaf());
    // Never a block: it may be one that writes none. Said twice, it is believed.
    Party q;
    q.talk(200);
    q.answer(std::nullopt, 0, 0, false);
    CHECK(!q.ours.is_deaf());
    q.talk(200);
    q.answer(std::nullopt, 0, 0, false);
    CHECK(q.ours.is_deaf());
}

TEST("a party whose own report says that it sends no more means its silence") {
    Party p;
    auto hear = [&](unsigned packets) {
        p.from_party = Reception();
        for (std::uint64_t i = 0; i < packets; i++) p.from_party.received({0xB0, 1}, i, 0, 8000, p.now);
    };
    hear(100);
    p.answer(std::nullopt, 0, 100);
    CHECK(p.ours.meant_silence_us() < 0);
    p.now += 5 * kSecond;
    hear(150);
    p.answer(std::nullopt, 0, 150);
    CHECK(p.ours.meant_silence_us() == p.now);
    auto before = p.now;
    p.now += 5 * kSecond;
    p.answer(std::nullopt, 0, 400);  // it sends, and nothing comes
    CHECK(p.ours.meant_silence_us() == before);
}

namespace {

struct Call {
    Bridge bridge{Mode::relay, chance, kUnix};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = kSecond;
    std::array<std::vector<std::vector<std::byte>>, 2> rtcp;

    explicit Call(bool is_muxed = false) {
        for (unsigned leg : {0U, 1U}) {
            LegSettings s;
            s.remote_rtp = address(static_cast<std::uint8_t>(leg + 1), 4000);
            s.remote_rtcp = address(static_cast<std::uint8_t>(leg + 1), 4001);
            s.is_muxed = is_muxed;
            bridge.open_leg(leg);
            bridge.set_leg(leg, s, now);
        }
    }
    std::optional<Forward> put(unsigned leg, const std::vector<std::byte>& packet, Channel channel) {
        std::ranges::copy(packet, buffer.begin());
        auto port = static_cast<std::uint16_t>(channel == Channel::rtp ? 4000 : 4001);
        return bridge.receive(leg, channel, address(static_cast<std::uint8_t>(leg + 1), port), buffer,
                              packet.size(), now);
    }
    void tick() {
        bridge.tick(now);
        while (auto out = bridge.report_due(now, buffer)) {
            CHECK(out->channel == Channel::rtcp
                  && out->to == address(static_cast<std::uint8_t>(out->leg + 1), 4001));
            rtcp[out->leg].emplace_back(out->data.begin(), out->data.end());
        }
    }
};

}  // namespace

TEST("nothing of a party's RTCP reaches the other: no goodbye, name, application or feedback packet") {
    Call call;
    call.put(0, rtp_packet(1, 160, 0xA), Channel::rtp);
    auto before = call.bridge.report(0, call.now).counters;
    auto all =
        hex("80c9000100000001"
            "81cb000100000001"
            "80cc000200000001"
            "41424344"
            "81cd000200000001"
            "00000002"
            "81ca0003"
            "00000001"
            "0104616e6e610000");
    CHECK(!call.put(0, all, Channel::rtcp));
    CHECK(call.bridge.report(0, call.now).counters.rtcp_received == before.rtcp_received + 1);
    CHECK(call.put(0, rtp_packet(2, 320, 0xA), Channel::rtp).has_value());  // and the call goes on
    for (int i = 0; i < 200; i++, call.now += 50'000) call.tick();
    CHECK(call.rtcp[0].size() >= 2 && call.rtcp[1].size() >= 2);
    for (const auto& compounds : call.rtcp)
        for (const auto& raw : compounds) {
            CHECK(rtcp::is_valid(raw, false));
            auto text = std::string_view(reinterpret_cast<const char*>(raw.data()), raw.size());
            CHECK(text.find("anna") == text.npos && text.find("ABCD") == text.npos);
        }
}

TEST(
    "each leg is reported to at its own times, with its own SSRC and counts, and gets a goodbye when it "
    "ends") {
    Call call;
    for (std::uint16_t n = 0; n < 500; n++, call.now += 20'000) {
        call.put(0, rtp_packet(n, n * 160U, 0xA), Channel::rtp);
        if (n % 3 == 0) call.tick();
    }
    CHECK(call.rtcp[0].size() >= 2 && call.rtcp[1].size() >= 2);
    auto to_listener = rtcp::read(call.rtcp[1].back(), 0);
    auto to_talker = rtcp::read(call.rtcp[0].back(), 0);
    CHECK(to_listener.sender && to_listener.ssrc == call.bridge.ssrc(1) && to_listener.sender->packets > 300);
    CHECK(to_listener.sender->octets == to_listener.sender->packets * 160);
    CHECK(!to_talker.sender
          && load_be32(call.rtcp[0].back().data() + 8) == 0xA);  // a block about what it sent
    auto goodbye = call.bridge.goodbye(1, call.now, call.buffer);
    CHECK(goodbye && load_be32(goodbye->data.data() + goodbye->data.size() - 8) == 0x81cb0001);
    CHECK(load_be32(goodbye->data.data() + goodbye->data.size() - 4) == call.bridge.ssrc(1));
}

TEST("a leg that was never sent anything gets no goodbye") {
    Call call;
    CHECK(!call.bridge.goodbye(0, call.now, call.buffer));
}
