// Random calls over a bad network, in virtual time. Whatever the network does, what leaves the bridge is in
// order, whole, once, under an index of its own, and the counters add up.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <tuple>

#include "core/bridge.hpp"
#include "tests/network.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

/// One party: says numbered packets, and reads what the bridge sends to it just where it leaves.
struct Talker {
    unsigned leg;
    Address place;
    std::optional<srtp::Suite> suite;
    unsigned key_seed;
    std::uint32_t ssrc;
    std::uint64_t next;  ///< extended sequence number of what it says next
    std::unique_ptr<srtp::Sender> sender;
    std::unique_ptr<srtp::Receiver> receiver;
    std::map<std::uint64_t, std::vector<std::byte>> said;  // by number, the payload

    LegSettings settings() const {
        LegSettings s;
        s.remote_rtp = place;
        s.remote_rtcp = {place.ip, static_cast<std::uint16_t>(place.port + 1)};
        s.allowance = {1'000'000, 1'000'000};
        if (suite) {
            s.send_key = master(*suite, key_seed);
            s.recv_key = master(*suite, key_seed + 100);
        }
        return s;
    }
    void key(unsigned seed) {
        key_seed = seed;
        if (!suite) return;
        sender = std::make_unique<srtp::Sender>(master(*suite, seed + 100));
        receiver = std::make_unique<srtp::Receiver>(master(*suite, seed), receiver.get());
    }
    std::vector<std::byte> say(std::size_t payload) {
        auto number = next++;
        auto packet = rtp_packet(static_cast<std::uint16_t>(number), static_cast<std::uint32_t>(160 * number),
                                 ssrc, payload);
        store_be(packet.data() + 12, number);
        said[number].assign(packet.begin() + 12, packet.end());
        if (!sender) return packet;
        auto length = packet.size();
        packet.resize(length + 64);
        packet.resize(sender->protect_rtp(packet, length, 12, number));
        return packet;
    }
};

class Scenario {
  public:
    explicit Scenario(std::uint32_t seed) : chance_(seed) {
        for (unsigned leg = 0; leg < 2; leg++) {
            bridge_.open_leg(leg);
            auto& talker = talkers_.emplace_back();
            talker.leg = leg;
            talker.place =
                address(static_cast<std::uint8_t>(leg + 1), static_cast<std::uint16_t>(4000 + leg));
            if (auto pick = pick_of(6); pick < 5) talker.suite = kSuites[pick];
            talker.ssrc = pick_of(1U << 30);
            talker.next = pick_of(2) ? 65'536 - pick_of(300) : pick_of(30'000);  // often near the rollover
            if (talker.next > 65'000) talker.next %= 65'536;
            talker.key(10 + leg * 40);
            bridge_.set_leg(leg, talker.settings(), now_);
            Impairment bad{.loss = pick_of(20) / 100.0,
                           .duplicate = pick_of(20) / 100.0,
                           .reorder = pick_of(20) / 100.0,
                           .delay_us = 1000 * pick_of(50),
                           .jitter_us = 1000 * pick_of(100),
                           .mtu = 1000};
            wires_.emplace_back(bad, chance_());
        }
    }

    void run() {
        for (unsigned step = 0; step < 600; step++) {
            for (auto& talker : talkers_) wires_[talker.leg].send(talker.say(pick_of(50) ? 160 : 1200), now_);
            if (pick_of(150) == 0) renew(talkers_[pick_of(2)]);
            if (pick_of(100) == 0) again(talkers_[pick_of(2)]);
            for (int ms = 0; ms < 20; ms++, now_ += 1000) carry();
        }
        while (!wires_[0].is_empty() || !wires_[1].is_empty()) {
            now_ += 1000;
            carry();
        }
        for (const auto& talker : talkers_) check_counters(talker);
        CHECK(heard_[0] > 200 && heard_[1] > 200);
    }

  private:
    std::uint32_t pick_of(std::uint32_t count) { return static_cast<std::uint32_t>(chance_() % count); }

    /// A re-INVITE with other keys; the party uses them at once.
    void renew(Talker& talker) {
        if (!talker.suite) return;
        talker.key(talker.key_seed + 1);
        bridge_.set_leg(talker.leg, talker.settings(), now_);
    }
    /// A re-INVITE that changes nothing.
    void again(Talker& talker) { bridge_.set_leg(talker.leg, talker.settings(), now_); }

    void carry() {
        for (auto& from : talkers_) {
            while (auto datagram = wires_[from.leg].receive(now_)) {
                std::ranges::copy(*datagram, buffer_.begin());
                auto out =
                    bridge_.receive(from.leg, Channel::rtp, from.place, buffer_, datagram->size(), now_);
                if (out) heard(talkers_[1 - from.leg], from, *out);
            }
        }
        bridge_.tick(now_);
    }

    void heard(Talker& to, const Talker& from, const Forward& forward) {
        CHECK(forward.leg == to.leg && forward.to == to.place);
        std::vector<std::byte> packet(forward.data.begin(), forward.data.end());
        auto ssrc = load_be32(packet.data() + 8);
        std::uint64_t index = load_be16(packet.data() + 2);
        auto length = packet.size();
        if (to.receiver) {
            auto opened = to.receiver->open_rtp(packet, 12);
            CHECK(opened.outcome == srtp::Outcome::ok);  // never a replay: each index once
            if (opened.outcome != srtp::Outcome::ok) return;
            index = opened.index;
            length = opened.length;
        } else {
            index = extended(to.leg, ssrc, static_cast<std::uint16_t>(index));
        }
        CHECK(used_.emplace(to.leg, to.suite ? to.key_seed : 0, ssrc, index).second);
        auto number = load_be<std::uint64_t>(packet.data() + 12);
        auto found = from.said.find(number);
        CHECK(found != from.said.end());
        if (found == from.said.end()) return;
        CHECK(std::ranges::equal(found->second, ConstBytes(packet).subspan(12, length - 12)));
        CHECK(delivered_[to.leg].insert(number).second);  // nothing is heard twice
        // Under one SSRC a higher index is a later word: order is kept, gaps and all.
        auto& order = order_[{to.leg, to.suite ? to.key_seed : 0, ssrc}];
        auto at = order.emplace(index, number).first;
        CHECK(at == order.begin() || std::prev(at)->second < number);
        CHECK(std::next(at) == order.end() || std::next(at)->second > number);
        heard_[to.leg]++;
    }

    std::uint64_t extended(unsigned leg, std::uint32_t ssrc, std::uint16_t sequence) {
        auto& top = tops_.try_emplace({leg, ssrc}, sequence).first->second;
        auto delta = static_cast<std::int16_t>(sequence - static_cast<std::uint16_t>(top));
        auto index = static_cast<std::uint64_t>(static_cast<std::int64_t>(top) + delta);
        top = std::max(top, index);
        return index;
    }

    void check_counters(const Talker& talker) {
        const auto in = bridge_.report(talker.leg, now_).counters;
        const auto out = bridge_.report(1 - talker.leg, now_).counters;
        CHECK(in.dropped_source == 0 && in.dropped_malformed == 0 && in.dropped_disabled == 0);
        // Each datagram that arrived was passed on, or is counted as what it was.
        CHECK(wires_[talker.leg].arrived
              == out.packets_sent + in.dropped_replay + in.dropped_tag + in.dropped_unsent
                     + in.dropped_budget);
        CHECK(out.packets_sent == heard_[1 - talker.leg]);
        CHECK(in.dropped_replay >= wires_[talker.leg].doubled - in.dropped_tag);
    }

    std::mt19937 chance_;
    Bridge bridge_{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer_;
    std::int64_t now_ = 1'000'000;
    std::vector<Talker> talkers_;
    std::vector<Wire> wires_;
    std::array<std::uint64_t, 2> heard_{};
    std::array<std::set<std::uint64_t>, 2> delivered_;
    std::set<std::tuple<unsigned, unsigned, std::uint32_t, std::uint64_t>> used_;
    std::map<std::tuple<unsigned, unsigned, std::uint32_t>, std::map<std::uint64_t, std::uint64_t>> order_;
    std::map<std::pair<unsigned, std::uint32_t>, std::uint64_t> tops_;
};

}  // namespace

TEST(
    "over any network each word is heard whole, once, in order, under an index of its own, and counters add "
    "up") {
    for (std::uint32_t seed = 1; seed <= 40; seed++) {
        auto before = failures();
        Scenario(seed).run();
        if (failures() != before) std::fprintf(stderr, "(seed %u)\n", seed);
    }
}

TEST("a wire loses, doubles and delays as it was told, the same way each time") {
    for (int round = 0; round < 2; round++) {
        Wire wire({.loss = 0.1, .duplicate = 0.2, .reorder = 0.1, .delay_us = 5000, .mtu = 100}, 7);
        std::vector<std::uint32_t> order;
        for (std::uint32_t n = 0; n < 2000; n++) {
            std::vector<std::byte> datagram(4);
            store_be(datagram.data(), n);
            wire.send(datagram, n * 20'000);
            while (auto got = wire.receive(n * 20'000)) order.push_back(load_be32(got->data()));
        }
        wire.send(std::vector<std::byte>(101), 0);
        CHECK(wire.lost > 150 && wire.lost < 260 && wire.doubled > 250 && wire.doubled < 450);
        CHECK(!std::ranges::is_sorted(order));
        static std::vector<std::uint32_t> first;
        if (!round) first = order;
        CHECK(order == first);
    }
}
