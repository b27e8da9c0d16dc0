#include <map>
#include <set>

#include "core/budget.hpp"
#include "core/demux.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

const HashKey kKey(0x1234567890abcdef, 0xfedcba0987654321);

std::set<Seat> tried(const Demux& demux, const Address& from, std::uint32_t ssrc, Seat but = kNoSeat) {
    auto found = demux.candidates(from, ssrc, but);
    return {found.begin(), found.end()};
}

std::vector<std::byte> binding_request(std::string_view user) {
    auto padded = (user.size() + 3) / 4 * 4;
    std::vector<std::byte> packet(20 + 4 + padded);
    store_be(packet.data(), std::uint16_t{1});
    store_be(packet.data() + 2, static_cast<std::uint16_t>(4 + padded));
    store_be(packet.data() + 4, std::uint32_t{0x2112a442});
    store_be(packet.data() + 20, std::uint16_t{6});
    store_be(packet.data() + 22, static_cast<std::uint16_t>(user.size()));
    std::ranges::copy(as_bytes(user), packet.begin() + 24);
    return packet;
}

}  // namespace

TEST("a seat table holds what was put in and nothing else, through any order of insertions and deletions") {
    SeatTable<std::uint32_t> table(kKey);
    table.reserve(600);
    std::multimap<std::uint32_t, Seat> truth;
    for (int n = 0; n < 200'000; n++) {
        auto key = chance() % 200;
        Seat seat = chance() % 50;
        bool is_there = false;
        for (auto [at, end] = truth.equal_range(key); at != end; ++at) is_there |= at->second == seat;
        if (chance() % 2 && truth.size() < 600) {
            if (is_there) continue;
            CHECK(table.insert(key, seat));
            truth.emplace(key, seat);
        } else {
            table.erase(key, seat);
            for (auto [at, end] = truth.equal_range(key); at != end; ++at)
                if (at->second == seat) {
                    truth.erase(at);
                    break;
                }
        }
        CHECK(table.size() == truth.size());
        auto look = chance() % 200;
        CHECK(table.count(look) == truth.count(look));
        CHECK((table.find(look) == kNoSeat) == !truth.contains(look));
    }
}

TEST("a full seat table refuses instead of growing on the packets' side") {
    SeatTable<std::uint32_t> table(kKey);
    unsigned taken = 0;
    while (table.insert(taken, taken)) taken++;
    CHECK(taken == 12);  // three quarters of the smallest table
    CHECK(table.find(3) == 3 && table.find(taken) == kNoSeat);
}

TEST(
    "a plain leg owns the address that it announced: another leg may not have it, and strangers find "
    "nobody") {
    Demux demux(kKey);
    auto one = *demux.add(FoundBy::address, std::nullopt), two = *demux.add(FoundBy::address, std::nullopt);
    CHECK(demux.announce(one, address(1, 4000), false));
    CHECK(!demux.announce(two, address(1, 4000), false));
    CHECK(demux.announce(two, address(1, 4002), false));
    CHECK(demux.find(address(1, 4000)) == one && demux.find(address(1, 4002)) == two);
    CHECK(demux.find(address(1, 4001)) == kNoSeat && tried(demux, address(1, 4001), 7).empty());
    CHECK(!demux.settle(two, address(1, 4000), true));  // nor by any proof

    CHECK(demux.announce(one, address(1, 5000), false));  // a re-INVITE frees the old one
    CHECK(demux.find(address(1, 4000)) == kNoSeat);
    CHECK(demux.announce(two, address(1, 4000), false) && demux.find(address(1, 4002)) == kNoSeat);
    demux.remove(one);
    CHECK(demux.find(address(1, 5000)) == kNoSeat && demux.size() == 1);
}

TEST(
    "a leg with a key is tried by announced address, SSRC and signalling address, and found by address once "
    "it is proven") {
    Demux demux(kKey);
    auto leg = *demux.add(FoundBy::key, address(9, 0).ip);
    CHECK(demux.announce(leg, address(1, 4000), true));
    CHECK(demux.find(address(1, 4000)) == kNoSeat);  // its word alone proves nothing
    CHECK(tried(demux, address(1, 4000), 7) == std::set{leg});
    CHECK(tried(demux, address(9, 1234), 7) == std::set{leg});
    CHECK(tried(demux, address(3, 1234), 7).empty());

    CHECK(demux.settle(leg, address(9, 1234), true));
    demux.note_ssrc(leg, 7);
    CHECK(demux.find(address(9, 1234)) == leg && !demux.is_pending(leg));
    CHECK(tried(demux, address(9, 5678), 8).empty());           // pending no more
    CHECK(tried(demux, address(3, 1234), 7) == std::set{leg});  // its NAT moved it elsewhere
    CHECK(tried(demux, address(3, 1234), 7, leg).empty());
}

TEST("of one signalling address at most eight legs wait to be found, and each that is found makes room") {
    Demux demux(kKey);
    std::vector<Seat> seats;
    for (unsigned n = 0; n < Demux::kMaxPending; n++)
        seats.push_back(*demux.add(FoundBy::key, address(9, 0).ip));
    CHECK(!demux.add(FoundBy::key, address(9, 0).ip));
    CHECK(demux.add(FoundBy::key, address(8, 0).ip).has_value());
    CHECK(demux.add(FoundBy::name, address(9, 0).ip).has_value());
    CHECK(tried(demux, address(9, 1), 1).size() == Demux::kMaxPending);
    demux.settle(seats[3], address(9, 1), true);
    CHECK(demux.add(FoundBy::key, address(9, 0).ip).has_value());
    CHECK(!demux.add(FoundBy::key, address(9, 0).ip));
    demux.remove(seats[0]);
    CHECK(demux.add(FoundBy::key, address(9, 0).ip).has_value());
}

TEST("an address goes over to another leg only where that is allowed, and a leg keeps its last four") {
    Demux demux(kKey);
    auto one = *demux.add(FoundBy::key, std::nullopt), two = *demux.add(FoundBy::key, std::nullopt);
    CHECK(demux.settle(one, address(1, 1), false));
    CHECK(!demux.settle(two, address(1, 1), false) && demux.find(address(1, 1)) == one);
    CHECK(demux.settle(two, address(1, 1), true) && demux.find(address(1, 1)) == two);
    for (std::uint16_t port = 10; port < 15; port++) CHECK(demux.settle(one, address(1, port), false));
    CHECK(demux.find(address(1, 10)) == kNoSeat);
    for (std::uint16_t port = 11; port < 15; port++) CHECK(demux.find(address(1, port)) == one);
}

TEST("a leg that loses its keys owns its address like any plain one, and the other way round") {
    Demux demux(kKey);
    auto one = *demux.add(FoundBy::key, std::nullopt), two = *demux.add(FoundBy::key, std::nullopt);
    CHECK(demux.announce(one, address(1, 1), false) && demux.find(address(1, 1)) == one);
    CHECK(!demux.announce(two, address(1, 1), false));
    CHECK(demux.announce(two, address(1, 1), true));  // what can be proven need not own
    CHECK(demux.announce(one, address(1, 1), true) && demux.find(address(1, 1)) == kNoSeat);
    CHECK(tried(demux, address(1, 1), 0) == std::set<Seat>{one, two});
}

TEST(
    "STUN finds its leg by our user name fragment, whatever surrounds it, and a WebRTC leg is found by "
    "nothing else") {
    Demux demux(kKey);
    auto leg = *demux.add(FoundBy::name, address(9, 0).ip);
    demux.name(leg, as_bytes("ourfragment"));
    CHECK(demux.announce(leg, address(1, 1), true));
    demux.note_ssrc(leg, 7);
    CHECK(tried(demux, address(1, 1), 7).empty() && tried(demux, address(9, 1), 7).empty());
    auto packet = binding_request("ourfragment:theirs");
    CHECK(demux.named(stun_name(packet).value()) == leg);
    demux.name(leg, as_bytes("restarted"));
    CHECK(demux.named(as_bytes("ourfragment")) == kNoSeat && demux.named(as_bytes("restarted")) == leg);
    CHECK(demux.settle(leg, address(5, 5), true) && demux.find(address(5, 5)) == leg);
    demux.remove(leg);
    CHECK(demux.named(as_bytes("restarted")) == kNoSeat && demux.find(address(5, 5)) == kNoSeat);

    for (std::size_t cut = 0; cut < packet.size(); cut++) CHECK(!stun_name(std::span(packet).first(cut)));
    for (auto user : {"", ":", "x", ":x"}) CHECK(!stun_name(binding_request(user)));
    for (int n = 0; n < 100'000; n++) {
        auto torn = packet;
        for (int flips = 0; flips < 3; flips++)
            torn[chance() % torn.size()] = static_cast<std::byte>(chance());
        auto name = stun_name(torn);
        CHECK(!name
              || (name->data() >= torn.data() && name->data() + name->size() <= torn.data() + torn.size()));
    }
}

TEST(
    "whatever is opened, moved and closed, a demultiplexer names only seats in use and forgets all of the "
    "others") {
    Demux demux(kKey);
    std::map<Seat, FoundBy> live;
    auto somewhere = [] {
        return address(static_cast<std::uint8_t>(chance() % 6), static_cast<std::uint16_t>(chance() % 8 + 1));
    };
    for (int n = 0; n < 200'000; n++) {
        auto some = live.begin();
        if (!live.empty()) std::advance(some, chance() % live.size());
        switch (chance() % 8) {
            case 0:
                if (live.size() < 40) {
                    auto way = static_cast<FoundBy>(chance() % 3 + 1);
                    if (auto seat = demux.add(way, somewhere().ip)) CHECK(live.emplace(*seat, way).second);
                }
                break;
            case 1:
                if (live.size() > 5) {
                    demux.remove(some->first);
                    live.erase(some);
                }
                break;
            case 2:
            case 3:
                if (!live.empty()) demux.announce(some->first, somewhere(), chance() % 2);
                break;
            case 4:
                if (!live.empty()) demux.note_ssrc(some->first, chance() % 5);
                break;
            case 5:
                if (!live.empty())
                    demux.name(some->first, as_bytes(std::string(1, static_cast<char>('a' + chance() % 9))));
                break;
            default:
                if (!live.empty()) demux.settle(some->first, somewhere(), chance() % 2);
        }
        auto from = somewhere();
        auto found = demux.find(from);
        CHECK(found == kNoSeat || live.contains(found));
        for (auto seat : tried(demux, from, chance() % 5))
            CHECK(live.contains(seat) && live[seat] != FoundBy::name);
        CHECK(demux.size() == live.size());
    }
    while (!live.empty()) {
        demux.remove(live.begin()->first);
        live.erase(live.begin());
    }
    for (std::uint8_t host = 0; host < 6; host++)
        for (std::uint16_t port = 1; port < 9; port++)
            CHECK(demux.find(address(host, port)) == kNoSeat
                  && tried(demux, address(host, port), port % 5U).empty());
}

TEST("a bucket grants its burst at once and its rate in the long run, and a debt is paid first") {
    Allowance voice{400, 200};
    Budget bucket;
    unsigned granted = 0;
    for (int n = 0; n < 1000; n++) granted += bucket.take(5, voice);
    CHECK(granted == 200);
    granted = 0;
    for (std::int64_t now = 5; now < 5 + 10'000'000; now += 100) granted += bucket.take(now, voice);
    CHECK(granted >= 3'999 && granted <= 4'001);
    bucket.charge(20'000'000, voice, 400);
    CHECK(!bucket.take(20'400'000, voice) && bucket.take(20'600'000, voice));
}

TEST("a stranger who failed too often is not tried, his neighbour is, and time heals it") {
    StrangerBudgets budgets(kKey, {8, 16});
    CHECK(budgets.has(address(1, 1), 0));
    for (int n = 0; n < 16; n++) {
        CHECK(budgets.has(address(1, 1), 1000));
        budgets.charge(address(1, 1), 1000, 1);
    }
    CHECK(!budgets.has(address(1, 1), 1000) && budgets.has(address(1, 2), 1000));
    CHECK(budgets.has(address(1, 1), 1000 + 125'000));
}
