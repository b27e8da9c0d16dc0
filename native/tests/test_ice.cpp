#include <algorithm>
#include <string>

#include "core/ice.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kSecond = 1'000'000;

ice::Settings credentials(std::string local = "locl", std::string remote = "rmte",
                          std::string_view password = "0123456789abcdefghijkl") {
    return {std::move(local), std::move(remote), Secret<ice::kMaxPassword>(as_bytes(password))};
}

stun::TransactionId fresh_id() {
    stun::TransactionId id;
    for (auto& b : id) b = static_cast<std::byte>(chance());
    return id;
}

/// The peer: a full agent, which controls.
struct Check {
    std::string username = "locl:rmte", password = "0123456789abcdefghijkl";
    bool is_nominating = false, is_controlled = false, is_roleless = false;
    bool has_integrity = true, has_fingerprint = true;
    std::uint16_t unknown = 0;
    stun::Class kind = stun::Class::request;
    stun::TransactionId id = fresh_id();

    std::vector<std::byte> bytes() const {
        std::vector<std::byte> out(600);
        stun::Writer w(out, kind, stun::kBinding, id);
        if (!username.empty()) w.username(username);
        w.attribute(stun::kPriority, hex("6e0001ff"));
        if (!is_roleless)
            w.attribute(is_controlled ? stun::kIceControlled : stun::kIceControlling,
                        hex("0123456789abcdef"));
        if (is_nominating) w.attribute(stun::kUseCandidate, {});
        if (unknown) w.attribute(unknown, hex("01"));
        if (has_integrity) w.integrity(stun::integrity_key(as_bytes(password)));
        out.resize(has_fingerprint ? w.fingerprint() : w.size());
        return out;
    }
};

struct Fixture {
    ice::Agent agent{credentials()};
    std::int64_t now = kSecond;
    Address home = address(1, 4000), away = address(2, 5000), stranger = address(9, 9000);
    std::array<std::byte, 1500> buffer;
    std::vector<std::byte> last;

    /// 0: no answer; 200: success; else the error code.
    unsigned put(const std::vector<std::byte>& datagram, const Address& from) {
        std::ranges::copy(datagram, buffer.begin());
        auto size = agent.receive(from, buffer, datagram.size(), now);
        last.assign(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(size));
        if (!size) return 0;
        auto m = stun::parse(last);
        CHECK(m && m->has_fingerprint && m->method == stun::kBinding);
        if (!m) return 0;
        if (m->kind == stun::Class::success) return m->mapped == from ? 200 : 1;
        return m->error_code.value_or(2);
    }
    unsigned put(const Check& check, const Address& from) { return put(check.bytes(), from); }
};

}  // namespace

TEST(
    "a valid check is answered under the local password, and only it makes its source one that media may "
    "come from") {
    Fixture f;
    CHECK(!f.agent.has_checked(f.home, f.now));
    Check check;
    CHECK(f.put(check, f.home) == 200);
    auto answer = stun::parse(f.last);
    CHECK(answer && answer->id == check.id
          && stun::has_integrity(f.last, *answer, stun::integrity_key(as_bytes(check.password))));
    CHECK(f.agent.has_checked(f.home, f.now) && !f.agent.has_checked(f.stranger, f.now));
    CHECK(!f.agent.selected());  // not nominated
    CHECK(f.agent.counters().answered == 1 && f.agent.counters().refused == 0);
}

TEST("no check counts without the exact name, the password, integrity and fingerprint") {
    for (auto [check, answer] : {std::pair{Check{.username = "locl:rmtf"}, 401U},
                                 {Check{.username = "rmte:locl"}, 401U},
                                 {Check{.username = "locl"}, 401U},
                                 {Check{.username = "locl:rmte:x"}, 401U},
                                 {Check{.username = ""}, 400U},
                                 {Check{.password = "0123456789abcdefghijkL"}, 401U},
                                 {Check{.has_integrity = false}, 400U},
                                 {Check{.has_fingerprint = false}, 0U},
                                 {Check{.kind = stun::Class::success}, 0U},
                                 {Check{.kind = stun::Class::error}, 0U}}) {
        Fixture f;
        check.is_nominating = true;
        CHECK(f.put(check, f.stranger) == answer);
        CHECK(!f.agent.has_checked(f.stranger, f.now) && !f.agent.selected());
        CHECK(f.agent.counters().refused == 1);
        auto told = stun::parse(f.last);
        CHECK(!answer
              || (told && !told->integrity_at));  // nothing is signed for who does not know the password
    }
}

TEST("an indication is neither answered nor proves anything") {
    Fixture f;
    CHECK(f.put({.is_nominating = true, .kind = stun::Class::indication}, f.home) == 0);
    CHECK(!f.agent.has_checked(f.home, f.now) && f.agent.counters().refused == 0);
}

TEST("an unknown attribute that must be understood is answered 420 and named, and the check does not count") {
    Fixture f;
    CHECK(f.put({.is_nominating = true, .unknown = 0x7abc}, f.home) == 420);
    auto named = hex("7abc");
    CHECK(!std::ranges::search(f.last, named).empty());
    CHECK(!f.agent.has_checked(f.home, f.now) && !f.agent.selected());
    CHECK(f.put({.is_nominating = true, .unknown = 0xC057}, f.home) == 200);  // may be ignored
}

TEST("a peer that believes itself controlled is told of the conflict, and its check does not count") {
    Fixture f;
    CHECK(f.put({.is_nominating = true, .is_controlled = true}, f.home) == 487);
    CHECK(!f.agent.has_checked(f.home, f.now) && !f.agent.selected());
    CHECK(f.put({.is_nominating = true, .is_roleless = true}, f.home)
          == 200);  // only the controlling side nominates
    CHECK(f.agent.has_checked(f.home, f.now) && !f.agent.selected());
}

TEST("only a nominating check moves the selected pair, and it is told, at most four times a second") {
    Fixture f;
    CHECK(f.put(Check{.is_nominating = true}, f.home) == 200);
    CHECK(f.agent.selected() == f.home && f.agent.take_news(f.now) == ice::News::selected);
    CHECK(f.put(Check{}, f.away) == 200);
    CHECK(f.agent.selected() == f.home && !f.agent.take_news(f.now));
    int told = 0;
    for (int n = 0; n < 100; n++) {
        f.now += 10'000;
        CHECK(f.put(Check{.is_nominating = true}, n % 2 ? f.home : f.away) == 200);
        told += f.agent.take_news(f.now).has_value();
    }
    CHECK(told >= 3 && told <= 5);
}

TEST("a check sent again from elsewhere proves and moves nothing, and keeps no consent alive") {
    Fixture f;
    Check nominating{.is_nominating = true}, plain;
    f.put(plain, f.home);
    f.put(nominating, f.home);
    CHECK(f.put(nominating, f.stranger) == 0 && f.put(plain, f.stranger) == 0);
    CHECK(f.agent.selected() == f.home && !f.agent.has_checked(f.stranger, f.now));
    CHECK(f.put(nominating, f.home) == 200);  // to where it was proven, a retransmission is answered
    CHECK(f.agent.counters().repeated == 3);
    f.put(Check{}, f.away);
    CHECK(f.put(nominating, f.away) == 200 && f.agent.selected() == f.home);  // proven, but not nominated
    for (int s = 0; s < 31; s++) {
        f.now += kSecond;
        f.put(nominating, f.home);
        f.agent.tick(f.now);
    }
    CHECK(!f.agent.selected());
}

TEST("a replay is known for the last five hundred nominations, and as many other checks, each for itself") {
    Fixture f;
    Check nominating{.is_nominating = true}, plain;
    f.put(nominating, f.home);
    f.put(plain, f.home);
    auto ask = [&](bool is_nominating, int count) {
        for (int n = 0; n < count; n++) {
            f.now += kSecond / 2;
            CHECK(f.put(Check{.is_nominating = is_nominating}, f.home) == 200);
            f.agent.tick(f.now);
        }
    };
    ask(false, 500);
    ask(true, 500);
    CHECK(f.put(nominating, f.stranger) == 0 && f.put(plain, f.stranger) == 0);
    ask(false, 5000);
    CHECK(f.put(nominating, f.stranger) == 0 && f.agent.selected() == f.home);
}

TEST(
    "consent lasts thirty seconds after the last check of the selected pair, is told when lost, and comes "
    "back with a nomination") {
    Fixture f;
    f.put(Check{.is_nominating = true}, f.home);
    f.agent.take_news(f.now);
    f.now += 29 * kSecond;
    f.put(Check{}, f.home);  // any valid check keeps it fresh
    f.now += 30 * kSecond;
    f.put(Check{}, f.away);  // but not one of another pair
    f.agent.tick(f.now);
    CHECK(f.agent.selected() == f.home && f.agent.has_checked(f.home, f.now));
    f.now += 1;
    f.agent.tick(f.now);
    CHECK(!f.agent.selected() && !f.agent.has_checked(f.home, f.now));
    CHECK(f.agent.take_news(f.now) == ice::News::consent_lost && !f.agent.take_news(f.now));
    f.put(Check{}, f.home);
    CHECK(!f.agent.selected());
    f.put(Check{.is_nominating = true}, f.home);
    CHECK(f.agent.selected() == f.home && f.agent.take_news(f.now) == ice::News::selected);
}

TEST(
    "after a restart the old pair goes on until the new one is nominated, then the old credentials are worth "
    "nothing") {
    Fixture f;
    f.put(Check{.is_nominating = true}, f.home);
    f.agent.take_news(f.now);
    f.agent.set(credentials("newl", "newr", "another-password+22cha"), f.now);
    CHECK(f.agent.selected() == f.home);
    Check renewed{.username = "newl:newr", .password = "another-password+22cha"};
    f.now += 20 * kSecond;
    CHECK(f.put(Check{}, f.home) == 200);  // the old pair's consent is still kept
    f.now += 20 * kSecond;
    f.agent.tick(f.now);
    CHECK(f.agent.selected() == f.home);
    CHECK(f.put(renewed, f.away) == 200);
    CHECK(f.agent.selected() == f.home && f.agent.has_checked(f.away, f.now));
    renewed.id = fresh_id();
    renewed.is_nominating = true;
    CHECK(f.put(renewed, f.away) == 200);
    CHECK(f.agent.selected() == f.away && f.agent.take_news(f.now) == ice::News::selected);
    CHECK(f.put(Check{.is_nominating = true}, f.home) == 401 && f.agent.selected() == f.away);
    f.now += 2 * kSecond;
    CHECK(f.agent.has_checked(f.home, f.now));  // what was on its way
    f.now += 1;
    CHECK(!f.agent.has_checked(f.home, f.now));
}

TEST(
    "a second restart before the first is done keeps the pair in use, and forgets the credentials in "
    "between") {
    Fixture f;
    f.put(Check{.is_nominating = true}, f.home);
    f.agent.set(credentials("aaaa", "bbbb"), f.now);
    f.agent.set(credentials("cccc", "dddd"), f.now);
    CHECK(f.agent.selected() == f.home && f.put(Check{}, f.home) == 200);
    CHECK(f.put(Check{.username = "aaaa:bbbb"}, f.home) == 401);
    CHECK(f.put(Check{.username = "cccc:dddd", .is_nominating = true}, f.home) == 200);
    CHECK(f.put(Check{}, f.home) == 401);
    f.agent.set(credentials("cccc", "dddd"), f.now);  // said again: no restart
    CHECK(f.put(Check{.username = "cccc:dddd"}, f.home) == 200);
}

TEST("of a flood as many are answered as the budgets allow, and the peer's own checks keep their share") {
    Fixture f;
    f.put(Check{.is_nominating = true}, f.home);
    Check replayed;
    f.put(replayed, f.home);
    auto wrong = Check{.password = "wrong-wrong-wrong-wrong"}.bytes();
    auto again = replayed.bytes();
    unsigned answered_wrong = 0, answered_again = 0, answered_fresh = 0;
    for (int n = 0; n < 100'000; n++) {
        f.now += 100;  // ten seconds in all
        answered_wrong += f.put(wrong, f.stranger) != 0;
        answered_again += f.put(again, f.home) != 0;  // from the peer's own address, forged
        if (n % 5000 == 0) answered_fresh += f.put(Check{}, f.home) == 200;
    }
    CHECK(answered_wrong >= 55 && answered_wrong <= 61);
    CHECK(answered_again >= 235 && answered_again <= 241);
    CHECK(answered_fresh == 20);
    unsigned greedy = 0;
    for (int n = 0; n < 10'000; n++) greedy += f.put(Check{}, f.home) != 0;  // the peer itself, at once
    CHECK(greedy >= 90 && greedy <= 100);
    CHECK(f.agent.selected() == f.home && f.agent.counters().limited > 9000);
}

TEST("more addresses than there is room for push out the oldest, never the selected one") {
    Fixture f;
    f.put(Check{.is_nominating = true}, f.home);
    for (std::uint16_t port = 1; port <= 100; port++) {
        f.now += kSecond / 10;
        CHECK(f.put(Check{}, address(3, port)) == 200);
    }
    CHECK(f.agent.has_checked(f.home, f.now) && f.agent.selected() == f.home);
    CHECK(f.agent.has_checked(address(3, 100), f.now) && !f.agent.has_checked(address(3, 1), f.now));
}

TEST("credentials are of ICE's characters and lengths") {
    CHECK(credentials().is_valid() && credentials("a+/9", std::string(256, 'x')).is_valid());
    for (const auto& bad :
         {credentials("abc"), credentials("abcd", "ab:d"), credentials("abcd", "abcd", "short"),
          credentials("abcd", "abcd", "0123456789abcdefghij-l"), credentials(std::string(257, 'x'))})
        CHECK(!bad.is_valid());
}

TEST("random changes of valid checks never move the pair, nor write beyond the answer") {
    Fixture f;
    f.put(Check{.is_nominating = true}, f.home);
    for (int n = 0; n < 100'000; n++) {
        f.now += 20'000;
        if (n % 500 == 0) f.put(Check{}, f.home);
        const auto whole = Check{.is_nominating = true}.bytes();
        auto datagram = whole;
        for (auto i = chance() % 3 + 1; i > 0; i--)
            datagram[chance() % datagram.size()] ^= static_cast<std::byte>(1 + chance() % 255);
        if (datagram != whole) (void)f.put(datagram, f.stranger);
        f.agent.tick(f.now);
    }
    CHECK(f.agent.selected() == f.home);
}
