// Sounds and their players, in virtual time.
#include <openssl/evp.h>

#include <algorithm>
#include <set>

#include "control/sounds.hpp"
#include "core/bridge.hpp"
#include "core/player.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kStep = 20'000;

/// Frames of `size` bytes, each filled with its number.
std::vector<std::byte> packed(unsigned frames, std::size_t size = 160) {
    std::vector<std::byte> data;
    for (unsigned n = 0; n < frames; n++) {
        data.push_back(static_cast<std::byte>(size >> 8));
        data.push_back(static_cast<std::byte>(size & 0xff));
        data.insert(data.end(), size, static_cast<std::byte>(n));
    }
    return data;
}

std::shared_ptr<const Sound> sound(unsigned frames) {
    return Sound::read({}, packed(frames));
}

/// A call whose leg 1 sends a packet each 20 ms (payload 0x55); what leg 0 gets is kept.
struct Call {
    struct Got {
        std::int64_t at_us;
        rtp::Header header;
        unsigned first;
    };
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = 1'000'000;
    std::uint16_t sequence = 0;
    std::uint32_t timestamp = 0;
    bool is_speaking = true;
    std::vector<Got> got;
    std::vector<LegEvent> events;

    Call() {
        for (unsigned leg : {0U, 1U}) {
            bridge.open_leg(leg);
            set(leg);
        }
    }
    void set(unsigned leg, bool may_send = true) {
        LegSettings settings;
        settings.remote_rtp = address(static_cast<std::uint8_t>(leg), 4000);
        settings.may_send = may_send;
        bridge.set_leg(leg, settings, now);
    }
    void play(PlayOrder order) {
        auto layer = order.is_beep ? Layer::beep : Layer::sound;
        bridge.play(0, std::make_unique<Player>(order, now), layer);
    }
    void step() {
        if (is_speaking) {
            auto packet = rtp_packet(sequence, timestamp, 99);
            std::ranges::copy(packet, buffer.begin());
            take(bridge.receive(1, Channel::rtp, address(1, 4000), buffer, packet.size(), now));
        }
        sequence++;
        timestamp += 160;
        for (auto end = now + kStep; now < end; now += 1000)
            while (auto made = bridge.produce(now, buffer)) take(made);
        while (auto event = bridge.take_event())
            if (event->kind == LegEvent::Kind::play_ended) events.push_back(*event);
    }
    void steps(int count) {
        while (count-- > 0) step();
    }
    void take(const std::optional<Forward>& forward) {
        if (!forward || forward->leg != 0) return;
        got.push_back({now, *rtp::parse(forward->data), std::to_integer<unsigned>(forward->data[12])});
    }
    /// One stream: no number twice or left out, time stamps that keep to the clock, a marker where the source
    /// changes.
    void check_one_stream() const {
        for (std::size_t i = 1; i < got.size(); i++) {
            const auto &before = got[i - 1].header, &here = got[i].header;
            CHECK(here.sequence == static_cast<std::uint16_t>(before.sequence + 1));
            CHECK(here.ssrc == got[0].header.ssrc);
            auto steps = here.timestamp - before.timestamp;
            auto elapsed = static_cast<std::uint32_t>((got[i].at_us - got[i - 1].at_us) * 8 / 1000);
            CHECK(steps >= 160 && steps <= std::max(elapsed, 160U) + 8);
        }
    }
    std::vector<unsigned> heard() const {
        std::vector<unsigned> first;
        for (const auto& packet : got) first.push_back(packet.first);
        return first;
    }
};

}  // namespace

TEST("a sound is read back frame by frame, and nothing torn, empty, too long or without a clock is a sound") {
    auto good = sound(50);
    CHECK(good && good->frames() == 50 && good->duration_us() == 1'000'000);
    CHECK(good && good->frame(7).size() == 160 && good->frame(7)[0] == std::byte{7});
    auto data = packed(3);
    for (std::size_t cut = 0; cut < data.size(); cut++) {
        bool is_whole = cut && cut % 162 == 0;
        auto part = std::vector<std::byte>(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(cut));
        CHECK((Sound::read({}, part) != nullptr) == is_whole);
    }
    CHECK(!Sound::read({}, packed(1, Sound::kMaxFrame + 1)) && Sound::read({}, packed(1, Sound::kMaxFrame)));
    CHECK(!Sound::read({0, 160}, data) && !Sound::read({8000, 0}, data) && !Sound::read({8000, 8}, data));
    CHECK(!Sound::read({8000, 8000}, data) && Sound::read({48'000, 960}, data));
}

TEST("a sound replaces what is relayed, in one stream with it, and then the relay goes on") {
    Call call;
    call.steps(5);
    call.play({.sound = sound(5), .playback = 7});
    call.steps(10);
    std::vector<unsigned> wanted{0x55, 0x55, 0x55, 0x55, 0x55, 0, 1, 2, 3, 4, 0x55, 0x55, 0x55, 0x55, 0x55};
    CHECK(call.heard() == wanted);
    call.check_one_stream();
    for (std::size_t i = 1; i < call.got.size(); i++)
        CHECK(call.got[i].header.has_marker == (i == 5 || i == 10));
    CHECK(call.events.size() == 1 && call.events[0].playback == 7 && call.events[0].sent_ms == 100);
    CHECK(call.events.size() == 1 && call.events[0].end == PlayEnd::finished && call.events[0].leg == 0);
}

TEST("a sound goes round as often as it is told to, or until it is stopped, without a break in its stream") {
    Call call;
    call.is_speaking = false;
    call.play({.sound = sound(3), .playback = 1, .times = 2});
    call.steps(8);
    CHECK((call.heard() == std::vector<unsigned>{0, 1, 2, 0, 1, 2}));
    call.play({.sound = sound(3), .playback = 2, .times = 0});
    call.steps(1000);
    call.bridge.stop_playing(0);
    call.steps(3);
    CHECK(call.got.size() == 1006);
    call.check_one_stream();
    CHECK(call.events.size() == 2 && call.events[0].sent_ms == 120 && call.events[1].end == PlayEnd::stopped);
    CHECK(call.events.size() == 2 && call.events[1].sent_ms == 20'000 && call.bridge.due_us() == kNever);
}

TEST("a sound begins where it is told to, and each further time at its beginning") {
    Call call;
    call.is_speaking = false;
    call.play({.sound = sound(4), .times = 2, .offset_ms = 45});
    call.steps(8);
    CHECK((call.heard() == std::vector<unsigned>{2, 3, 0, 1, 2, 3}));
    call.got.clear();
    call.play({.sound = sound(4), .offset_ms = 4'000'000'000});
    call.steps(5);
    CHECK((call.heard() == std::vector<unsigned>{0, 1, 2, 3}));
}

TEST("between the times of an interval the leg hears the other party, and the clock never stops") {
    Call call;
    call.play({.sound = sound(2), .times = 0, .interval_ms = 100, .is_beep = true});
    call.steps(15);
    // A packet that comes at the moment of the beep goes out still, and the beep follows it by a packet's
    // time.
    std::vector<unsigned> wanted{0, 1, 0x55, 0x55, 0x55};
    for (int n = 0; n < 2; n++) wanted.insert(wanted.end(), {0x55, 0, 1, 0x55, 0x55});
    CHECK(call.heard() == wanted);
    call.check_one_stream();
}

TEST("a beep is heard over the sound below it, which goes on meanwhile") {
    Call call;
    call.play({.sound = sound(200), .times = 0});
    call.step();
    call.play({.sound = sound(2), .times = 0, .interval_ms = 100, .is_beep = true});
    call.steps(10);
    CHECK((call.heard() == std::vector<unsigned>{0, 0, 1, 3, 4, 5, 0, 1, 8, 9, 10}));
    call.check_one_stream();
    call.bridge.stop_playing(0, Layer::beep);
    CHECK(call.bridge.is_playing(0) && !call.bridge.is_playing(0, Layer::beep));
}

TEST("a sound for a leg that can't be sent to waits, and is heard from its beginning") {
    Call call;
    call.set(0, false);
    call.play({.sound = sound(1), .playback = 4});
    call.steps(20);
    CHECK(call.got.empty() && call.events.empty());
    call.set(0);
    call.steps(3);
    CHECK(call.heard().front() == 0 && call.heard().back() == 0x55);
    CHECK(call.events.size() == 1 && call.events[0].sent_ms == 20);
}

TEST("what could not be sent in the middle is not counted as sent") {
    Call call;
    call.play({.sound = sound(10)});
    call.steps(4);
    call.set(0, false);
    call.steps(3);
    call.set(0);
    call.steps(5);
    CHECK(call.events.size() == 1 && call.events[0].sent_ms == 140);
    CHECK((call.heard() == std::vector<unsigned>{0, 1, 2, 3, 7, 8, 9, 0x55, 0x55}));
}

TEST("after a long stop of the program a sound skips what passed and does not make up for it") {
    Call call;
    call.is_speaking = false;
    call.play({.sound = sound(250)});
    call.steps(2);
    call.now += 3'000'000;
    call.steps(3);
    CHECK(call.got.size() == 5);
    CHECK(call.got[2].header.timestamp - call.got[1].header.timestamp >= 150 * 160);
    call.check_one_stream();
}

TEST("a sound that another takes the place of, or whose leg is closed, is told to have ended so") {
    Call call;
    call.play({.sound = sound(100), .playback = 1});
    call.steps(2);
    call.play({.sound = sound(100), .playback = 2});
    call.steps(2);
    CHECK(call.bridge.playback(0, Layer::sound) == 2U);
    call.bridge.close_leg(0, call.now);
    while (auto event = call.bridge.take_event()) call.events.push_back(*event);
    CHECK(call.events.size() == 2 && call.events[0].playback == 1 && call.events[1].playback == 2);
    CHECK(call.events.size() == 2 && call.events[0].end == PlayEnd::replaced);
    CHECK(call.events.size() == 2 && call.events[1].end == PlayEnd::leg_closed);
}

TEST("whatever is played, and however often it changes, no SRTP index is used twice") {
    Call call;
    LegSettings settings;
    settings.remote_rtp = address(0, 4000);
    settings.send_key = master(srtp::Suite::aes_128_sha1_80, 1);
    settings.recv_key = master(srtp::Suite::aes_128_sha1_80, 2);
    call.bridge.set_leg(0, settings, call.now);
    std::set<std::pair<std::uint32_t, std::uint64_t>> seen;
    SequenceTracker unwrap;
    for (int n = 0; n < 100'000; n++) {
        auto dice = chance() % 40;
        if (dice == 0) call.play({.sound = sound(1 + chance() % 20), .times = chance() % 3});
        if (dice == 1) call.bridge.stop_playing(0);
        if (dice == 2)
            call.play({.sound = sound(1 + chance() % 3),
                       .times = 0,
                       .interval_ms = chance() % 200,
                       .is_beep = true});
        if (dice == 3) call.bridge.stop_playing(0, Layer::beep);
        if (dice == 4) call.is_speaking = !call.is_speaking;
        if (dice == 5) call.sequence = static_cast<std::uint16_t>(chance());
        call.got.clear();
        call.step();
        for (const auto& packet : call.got) {
            auto place = unwrap.place(packet.header.ssrc, packet.header.sequence);
            CHECK(place && place->run == 1);
            if (!place) return;
            CHECK(seen.emplace(packet.header.ssrc, place->index).second);
        }
    }
    CHECK(seen.size() > 50'000);
}

TEST("sounds are held by what they are, once, within their bound, and those that nobody plays make room") {
    using control::SoundId, control::Sounds, control::Status;
    Sounds sounds;
    bool is_whole = false;
    auto load = [&](unsigned n) -> std::pair<SoundId, std::optional<control::Refusal>> {
        auto data = packed(30'000);
        store_be(data.data() + 2, n);
        std::vector<std::byte> named(8);
        store_be(named.data(), std::uint32_t{8000});
        store_be(named.data() + 4, std::uint32_t{160});
        named.insert(named.end(), data.begin(), data.end());
        SoundId id;
        EVP_Digest(named.data(), named.size(), uchars(id.data()), nullptr, EVP_sha256(), nullptr);
        return {id, sounds.load(id, {{}, data.size(), 0, data}, is_whole)};
    };
    auto [first, refused] = load(0);
    CHECK(!refused && is_whole && sounds.count() == 1);
    auto held = sounds.find(first);
    unsigned n = 1;
    for (; n < 40; n++) CHECK(!load(n).second && is_whole);
    CHECK(sounds.size() <= Sounds::kMaxBytes && sounds.count() < 40);
    CHECK(sounds.find(first) == held);  // it is played
    // All of them are played: there is room for no more, until one is let go.
    std::vector<std::shared_ptr<const Sound>> players{held};
    for (n = 100; n < 140; n++) {
        auto [id, no_room] = load(n);
        if (no_room) {
            CHECK(no_room->status == Status::limit);
            break;
        }
        players.push_back(sounds.find(id));
    }
    CHECK(n < 140 && sounds.size() <= Sounds::kMaxBytes);
    CHECK(sounds.unload(first) && !sounds.find(first) && load(n).second);
    players.clear();
    held.reset();
    CHECK(!load(n).second);
}

TEST("a sound whose parts are out of order, foreign to its name or beyond its end is refused") {
    using control::SoundId, control::Sounds, control::Status;
    Sounds sounds;
    bool is_whole = false;
    auto data = packed(2);
    SoundId id{};
    ConstBytes bytes(data);
    CHECK(sounds.load(id, {{}, data.size(), 10, bytes.subspan(10)}, is_whole)->status == Status::state);
    CHECK(sounds.load(id, {{}, data.size(), 0, bytes.first(100)}, is_whole) == std::nullopt);
    CHECK(!is_whole
          && sounds.load(id, {{}, data.size(), 99, bytes.subspan(99)}, is_whole)->status == Status::state);
    CHECK(sounds.load(id, {{}, data.size(), 100, bytes.subspan(50)}, is_whole)->status == Status::invalid);
    CHECK(sounds.load(id, {{}, data.size(), 100, bytes.subspan(100)}, is_whole)->status == Status::invalid);
    CHECK(sounds.load(id, {{}, Sound::kMaxBytes + 1, 0, bytes}, is_whole)->status == Status::limit);
    CHECK(sounds.count() == 0 && sounds.size() == 0);
}

TEST("a beep each second for an hour leaves the stream's clock where the wall clock is") {
    Call call;
    call.steps(3);
    call.now += 7'000;
    call.play({.sound = sound(10), .times = 0, .interval_ms = 1'007, .is_beep = true});
    call.steps(50 * 3600);
    const auto &first = call.got.front(), &last = call.got.back();
    auto stamped = static_cast<std::int64_t>(last.header.timestamp - first.header.timestamp);
    auto passed = (last.at_us - first.at_us) * 8 / 1000;
    CHECK(stamped >= passed - 8 * 30 && stamped <= passed + 8 * 30);
    for (std::size_t i = 1; i < call.got.size(); i++)
        CHECK(call.got[i].at_us - call.got[i - 1].at_us >= 19'000);
}
