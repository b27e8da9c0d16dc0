// One-way audio: told within five seconds, with the likely cause, and never where silence is meant.
#include <algorithm>
#include <string>

#include "core/bridge.hpp"
#include "core/watch.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kMs = 1000, kSecond = 1'000'000;

struct Watch {
    SilenceWatch watch;
    Counters counters;
    SilenceWatch::View view{.is_expected = true, .since_us = 10 * kSecond, .counters = counters};
    std::int64_t now = 10 * kSecond;
    std::vector<std::pair<std::int64_t, SilenceCause>> told;  // ms after the beginning

    void run(std::int64_t ms, bool has_media = false) {
        for (auto end = now + ms * kMs; now < end; now += 50 * kMs) {
            if (has_media) view.last_media_us = now;
            if (auto cause = watch.look(view, now)) told.push_back({(now - 10 * kSecond) / kMs, *cause});
        }
    }
    bool is_told(std::initializer_list<SilenceCause> causes) const {
        return std::ranges::equal(told, causes, {}, [](const auto& t) { return t.second; });
    }
};

}  // namespace

TEST("a party of which nothing ever came is told of within five seconds of the answer, once") {
    Watch w;
    w.run(60'000);
    CHECK(w.is_told({SilenceCause::nothing_came}));
    CHECK(w.told[0].first <= 4'500);
}

TEST("nothing is told before the answer, or while held") {
    Watch w;
    w.view.is_expected = false;
    w.run(60'000);
    CHECK(w.told.empty());
    w.view.is_expected = true;
    w.view.since_us = w.now;
    w.run(3'000);
    w.view.is_expected = false;
    w.run(20'000);
    CHECK(w.told.empty());
}

TEST("packets that are refused say why nothing is heard") {
    for (auto [member, cause] : {std::pair{&Counters::dropped_tag, SilenceCause::wrong_tag},
                                 {&Counters::dropped_source, SilenceCause::source_refused},
                                 {&Counters::dropped_malformed, SilenceCause::unreadable},
                                 {&Counters::dropped_replay, SilenceCause::unreadable}}) {
        Watch w;
        w.counters.*member = 40;  // from before the answer: no cause
        w.run(1'000);
        w.counters.*member += 3;
        w.run(5'000);
        CHECK(w.is_told({cause}));
        Watch early;
        early.counters.*member = 40;
        early.run(6'000);
        CHECK(early.is_told({SilenceCause::nothing_came}));
    }
}

TEST("a stream that stops in the middle is told of within five seconds, and again when it comes back") {
    Watch w;
    w.run(10'000, true);
    w.run(6'000);
    CHECK(w.is_told({SilenceCause::stopped}) && w.told[0].first <= 10'000 + 4'500);
    w.run(100, true);
    CHECK(w.is_told({SilenceCause::stopped, SilenceCause::over}));
}

TEST("comfort noise, pauses as before, and the party's own word make silence meant") {
    Watch noise;
    noise.view.may_pause = true;
    noise.run(1'000, true);
    noise.counters.dropped_tag = 5;  // a stranger's packets don't make it a fault
    noise.run(60'000);
    CHECK(noise.told.empty());
    Watch word;
    word.run(2'000, true);
    word.run(2'000);
    word.view.meant_silence_us = word.now;
    word.run(60'000);
    CHECK(word.told.empty());
    Watch stale;
    stale.run(2'000, true);
    stale.view.meant_silence_us = stale.now - 100 * kMs;
    stale.run(6'000);
    CHECK(stale.is_told({SilenceCause::stopped}));
}

TEST("a party that pauses and comes back under another key is told of all the same") {
    Watch w;
    w.view.may_pause = true;
    w.run(2'000, true);
    w.run(1'000);
    w.view.since_us = w.now;  // re-keyed
    w.run(1'000);
    w.counters.dropped_tag = 50;
    w.run(6'000);
    CHECK(w.is_told({SilenceCause::wrong_tag}));
}

TEST("a party that does not hear is told of, and a stream that flaps at most every thirty seconds") {
    Watch deaf;
    deaf.view.is_deaf = true;
    deaf.run(10'000, true);
    CHECK(deaf.is_told({SilenceCause::not_heard}));
    deaf.view.is_deaf = false;
    deaf.run(1'000, true);
    CHECK(deaf.is_told({SilenceCause::not_heard, SilenceCause::over}));
    Watch flap;
    for (int i = 0; i < 30; i++) {
        flap.run(5'000);
        flap.run(1'000, true);
    }
    CHECK(flap.told.size() >= 8 && flap.told.size() <= 14);
}

namespace {

/// A call in which `a` can send to `b` and is answered.
struct Call {
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = kSecond;
    std::vector<LegEvent> told;

    LegSettings settings(unsigned leg) const {
        LegSettings s;
        s.remote_rtp = address(static_cast<std::uint8_t>(leg + 1), 4000);
        s.remote_rtcp = address(static_cast<std::uint8_t>(leg + 1), 4001);
        s.is_answered = true;
        return s;
    }
    void set(unsigned leg, const LegSettings& s) { bridge.set_leg(leg, s, now); }
    Call() {
        for (unsigned leg : {0U, 1U}) {
            bridge.open_leg(leg);
            set(leg, settings(leg));
        }
    }
    void send(unsigned leg, std::vector<std::byte> packet, std::uint16_t port = 4000) {
        std::ranges::copy(packet, buffer.begin());
        bridge.receive(leg, Channel::rtp, address(static_cast<std::uint8_t>(leg + 1), port), buffer,
                       packet.size(), now);
    }
    void tick() {
        bridge.tick(now);
        while (auto event = bridge.take_event())
            if (event->kind == LegEvent::Kind::silence) told.push_back(*event);
    }
};

}  // namespace

TEST("in a bridge the leg that is not heard is named, and the other is not") {
    Call call;
    for (std::uint16_t n = 0; n < 300; n++, call.now += 20 * kMs) {
        call.send(1, rtp_packet(n, n * 160U, 0xB));
        call.send(0, rtp_packet(n, n * 160U, 0xA),
                  4999);  // not from where it was announced; learnt only early
        call.tick();
    }
    CHECK(call.told.empty());  // learnt within three seconds: that is plain RTP's rule
    Call strict;
    auto s = strict.settings(0);
    s.may_learn = false;
    strict.set(0, s);
    for (std::uint16_t n = 0; n < 300; n++, strict.now += 20 * kMs) {
        strict.send(1, rtp_packet(n, n * 160U, 0xB));
        strict.send(0, rtp_packet(n, n * 160U, 0xA), 4999);
        strict.tick();
    }
    CHECK(strict.told.size() == 1 && strict.told[0].leg == 0
          && strict.told[0].cause == SilenceCause::source_refused);
}

TEST("an agent that sends comfort noise and falls silent is no fault, whichever way is asked") {
    Call call;
    for (std::uint16_t n = 0; n < 1000; n++, call.now += 20 * kMs) {
        call.send(1, rtp_packet(n, n * 160U, 0xB));
        if (n < 50) {
            auto packet = rtp_packet(n, n * 160U, 0xA, n == 49 ? 1 : 160);
            if (n == 49) packet[1] = std::byte{13};
            call.send(0, packet);
        }
        call.tick();
    }
    CHECK(call.told.empty());
}

TEST("on hold, on one side only, and before the answer nobody is missed") {
    for (int which = 0; which < 4; which++) {
        Call call;
        auto s = call.settings(0), t = call.settings(1);
        if (which == 0) s.may_receive = t.may_receive = false;
        if (which == 1) s.may_send = t.may_send = false;
        if (which == 2) s.is_answered = t.is_answered = false;
        if (which == 3) s.remote_rtp.port = t.remote_rtp.port = 0;
        call.set(0, s);
        call.set(1, t);
        for (int n = 0; n < 400; n++, call.now += 50 * kMs) call.tick();
        CHECK(call.told.empty());
    }
}
