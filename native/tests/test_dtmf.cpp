#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <string>
#include <string_view>

#include "core/dtmf.hpp"
#include "core/goertzel.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;
using dtmf::Digit;

namespace {

struct Packet {
    dtmf::Event event;
    std::uint32_t timestamp;
};

/// What a telephone sends for one digit: updates of 20 ms, three ends.
std::vector<Packet> keyed(char digit, std::uint32_t timestamp, unsigned ms = 100) {
    std::vector<Packet> out;
    auto code = *dtmf::code_of(digit);
    for (unsigned done = 20; done < ms; done += 20)
        out.push_back({{.code = code, .duration = static_cast<std::uint16_t>(done * 8)}, timestamp});
    for (int i = 0; i < 3; i++)
        out.push_back(
            {{.code = code, .is_end = true, .duration = static_cast<std::uint16_t>(ms * 8)}, timestamp});
    return out;
}

struct Ear {
    dtmf::Reader reader;
    std::int64_t now = 1'000'000;
    std::string digits;
    std::vector<std::uint32_t> durations;

    void put(const Packet& p, std::uint32_t ssrc = 1) {
        reader.packet(p.event, ssrc, p.timestamp, 8000, now);
        now += 20'000;
        take();
    }
    void put(const std::vector<Packet>& packets) {
        for (const auto& p : packets) put(p);
    }
    void take() {
        while (auto digit = reader.take()) {
            digits += digit->digit;
            durations.push_back(digit->duration_ms);
        }
    }
};

std::vector<std::int16_t> tones(double low, double high, double low_db, double high_db, double ms) {
    std::vector<std::int16_t> out(static_cast<std::size_t>(ms * 8));
    for (std::size_t i = 0; i < out.size(); i++) {
        auto t = 2 * std::numbers::pi * static_cast<double>(i) / 8000;
        out[i] = static_cast<std::int16_t>(22'800
                                           * (std::pow(10, low_db / 20) * std::sin(low * t)
                                              + std::pow(10, high_db / 20) * std::sin(high * t)));
    }
    return out;
}

std::string heard(const std::vector<std::vector<std::int16_t>>& parts, std::size_t lead = 0) {
    dtmf::ToneDetector detector;
    std::string out;
    std::vector<std::int16_t> all(lead);
    for (const auto& part : parts) all.insert(all.end(), part.begin(), part.end());
    all.resize(all.size() + 800);
    for (std::size_t at = 0; at < all.size(); at += 160) {
        detector.samples(std::span(all).subspan(at, std::min<std::size_t>(160, all.size() - at)));
        while (auto digit = detector.take()) out += digit->digit;
    }
    return out;
}

std::vector<std::int16_t> silence(double ms) {
    return std::vector<std::int16_t>(static_cast<std::size_t>(ms * 8));
}

}  // namespace

TEST("each key is one digit with its duration, though its end comes three times") {
    Ear ear;
    std::uint32_t timestamp = 4'000'000'000U;
    for (char digit : std::string("0123456789*#ABCD")) ear.put(keyed(digit, timestamp += 2000));
    CHECK(ear.digits == "0123456789*#ABCD");
    CHECK(std::ranges::all_of(ear.durations, [](auto ms) { return ms == 100; }));
}

TEST("a digit whose ends are lost is told when the next one begins, or when no more comes") {
    Ear ear;
    auto first = keyed('5', 1000), second = keyed('5', 3000);
    first.resize(3);
    second.resize(2);
    ear.put(first);
    CHECK(ear.digits.empty());
    ear.put(second);
    CHECK(ear.digits == "5");
    ear.reader.tick(ear.now + dtmf::Reader::kLostEndUs);
    ear.take();
    CHECK(ear.digits == "55");
    CHECK(ear.durations == std::vector<std::uint32_t>({60, 40}));
}

TEST("packets in any order with any loss but that of a whole key give each key once") {
    std::mt19937 random(7);
    for (int round = 0; round < 300; round++) {
        Ear ear;
        std::string expected;
        std::vector<std::pair<std::int64_t, Packet>> arriving;
        for (int i = 0; i < 20; i++) {
            char digit = dtmf::digit_of(static_cast<std::uint8_t>(random() % 16));
            expected += digit;
            std::int64_t at = i * 400'000;
            auto packets = keyed(digit, static_cast<std::uint32_t>(i * 3200));
            auto kept = random() % packets.size();
            for (std::size_t p = 0; p < packets.size(); p++, at += 20'000)
                if (p == kept || random() % 3) arriving.emplace_back(at + random() % 60'000, packets[p]);
        }
        std::ranges::sort(arriving, {}, &std::pair<std::int64_t, Packet>::first);
        for (const auto& [at, packet] : arriving) {
            ear.reader.tick(at);
            ear.take();
            ear.reader.packet(packet.event, 1, packet.timestamp, 8000, at);
            ear.take();
        }
        ear.reader.tick(1'000'000'000);
        ear.take();
        CHECK(ear.digits == expected);
    }
}

TEST("a key held for longer than a duration field can say is one digit") {
    Ear ear;
    ear.put({{.code = 7, .duration = 0xffff}, 100});
    ear.put({{.code = 7, .duration = 800}, 100 + 0xffff});
    ear.put({{.code = 7, .is_end = true, .duration = 1600}, 100 + 0xffff});
    CHECK(ear.digits == "7");
    CHECK(ear.durations[0] == (0xffff + 1600) / 8);
}

TEST("events that are no digits, late ones and torn ones change nothing") {
    Ear ear;
    ear.put(keyed('1', 9000));
    ear.put({{.code = 16, .is_end = true, .duration = 800}, 12'000});
    ear.put({{.code = 2, .is_end = true, .duration = 800}, 8000});
    CHECK(ear.digits == "1");
    CHECK(!dtmf::parse(std::vector<std::byte>(3)));
}

TEST("who sends digits faster than any dialler is cut to twenty a second") {
    Ear ear;
    for (std::uint32_t i = 0; i < 10'000; i++) {
        ear.reader.packet({.code = 1, .is_end = true, .duration = 8}, 1, i * 80, 8000, i * 1000);
        ear.take();
    }
    CHECK(ear.digits.size() >= 200 && ear.digits.size() <= 10 * 20 + 41);
    CHECK(ear.reader.refused() == 10'000 - ear.digits.size());
}

TEST("a whole number whose packets were held up comes at once, and no digit of it is lost") {
    Ear ear;
    std::uint32_t timestamp = 0;
    for (char digit : std::string_view("*20053712345670")) {
        for (const auto& p : keyed(digit, timestamp += 1600))
            ear.reader.packet(p.event, 1, p.timestamp, 8000, ear.now);
    }
    ear.take();
    CHECK(ear.digits == "*20053712345670");
    CHECK(ear.reader.refused() == 0);
}

TEST("what is written is read, and the stream that follows begins behind the last digit") {
    Bridge bridge{Mode::relay, chance};
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t now = 5'000'000;
    for (unsigned leg : {0U, 1U}) {
        LegSettings settings;
        settings.remote_rtp = address(static_cast<std::uint8_t>(leg), 4000);
        bridge.open_leg(leg);
        bridge.set_leg(leg, settings, now);
    }
    auto writer = std::make_unique<dtmf::Writer>(101, 8000, now);
    for (char digit : std::string("13#D")) CHECK(writer->add(std::array{dtmf::Key{digit, 90, 50}}));
    bridge.play(1, std::move(writer));
    Ear ear;
    std::optional<rtp::Header> last;
    std::uint32_t ended = 0;
    unsigned markers = 0;
    for (; bridge.is_playing(1); now += 1000) {
        while (auto sent = bridge.produce(now, buffer)) {
            auto header = *rtp::parse(sent->data);
            auto event = *dtmf::parse(sent->data.subspan(header.length));
            CHECK(header.payload_type == 101);
            if (last) CHECK(header.sequence == static_cast<std::uint16_t>(last->sequence + 1));
            markers += header.has_marker;
            ear.reader.packet(event, header.ssrc, header.timestamp, 8000, now);
            ear.take();
            ended = header.timestamp + event.duration;
            last = header;
        }
    }
    CHECK(ear.digits == "13#D");
    CHECK(ear.durations == std::vector<std::uint32_t>(4, 90));
    CHECK(markers == 4);
    auto packet = rtp_packet(1, 1, 9);
    std::ranges::copy(packet, buffer.begin());
    auto speech = bridge.receive(0, Channel::rtp, address(0, 4000), buffer, packet.size(), now);
    auto header = *rtp::parse(speech->data);
    CHECK(static_cast<std::int32_t>(header.timestamp - ended) >= 0);
    CHECK(header.timestamp - ended < 8 * 100);
    CHECK(header.sequence == static_cast<std::uint16_t>(last->sequence + 1));
}

TEST("every digit that is made as tones is heard as that digit, at any phase of the blocks") {
    for (std::size_t lead = 0; lead < 102; lead += 7) {
        std::vector<std::vector<std::int16_t>> parts;
        for (char digit : std::string("1234567890*#ABCD")) {
            dtmf::ToneGenerator generator(digit, 50);
            std::vector<std::int16_t> part(800);
            part.resize(generator.samples(part));
            CHECK(part.size() == 400);
            parts.push_back(part);
            parts.push_back(silence(50));
        }
        CHECK(heard(parts, lead) == "1234567890*#ABCD");
    }
}

TEST("tones within the tolerances of Q.24 are digits, and those outside are none") {
    for (std::size_t lead = 0; lead < 102; lead += 17) {
        CHECK(heard({tones(697, 1209, -10, -10, 40)}, lead) == "1");
        CHECK(heard({tones(697, 1209, -10, -10, 19)}, lead).empty());
        CHECK(heard({tones(697 * 1.015, 1209 * 0.985, -10, -10, 60)}, lead) == "1");
        CHECK(heard({tones(697, 1209 * 1.035, -10, -10, 60)}, lead).empty());
        CHECK(heard({tones(697, 1209, -12, -19, 60)}, lead) == "1");
        CHECK(heard({tones(697, 1209, -20, -9, 60)}, lead).empty());
        CHECK(heard({tones(697, 1209, -27, -27, 60)}, lead) == "1");
        CHECK(heard({tones(697, 1209, -50, -50, 60)}, lead).empty());
        CHECK(heard({tones(697, 770, -10, -10, 60)}, lead).empty());
    }
}

TEST(
    "each of the eight frequencies is taken 1.5 % off and refused 3.5 % off, to either side and at any twist "
    "in bounds") {
    constexpr std::array<double, 4> lows{697, 770, 852, 941}, highs{1209, 1336, 1477, 1633};
    constexpr std::string_view keypad = "123A456B789C*0#D";
    for (std::size_t lead = 0; lead < 102; lead += 17)
        for (std::size_t row = 0; row < 4; row++)
            for (std::size_t column = 0; column < 4; column++) {
                std::string digit(1, keypad[row * 4 + column]);
                auto low = lows[row], high = highs[column];
                for (auto off : {-1.0, 1.0}) {
                    for (auto other : {-0.015, 0.0, 0.015})
                        for (auto [low_db, high_db] :
                             {std::pair{-10.0, -10.0}, std::pair{-10.0, -14.0}, std::pair{-13.0, -10.0}}) {
                            CHECK(heard({tones(low * (1 + off * 0.015), high * (1 + other), low_db, high_db,
                                               60)},
                                        lead)
                                  == digit);
                            CHECK(heard({tones(low * (1 + off * 0.035), high * (1 + other), low_db, high_db,
                                               60)},
                                        lead)
                                      .empty());
                        }
                    CHECK(heard({tones(low, high * (1 + off * 0.035), -10, -10, 60)}, lead).empty());
                }
            }
}

TEST("a short break does not make two digits of one, and forty milliseconds do") {
    for (std::size_t lead = 0; lead < 102; lead += 17) {
        auto tone = tones(770, 1336, -10, -10, 60);
        CHECK(heard({tone, silence(10), tone}, lead) == "5");
        CHECK(heard({tone, silence(40), tone}, lead) == "55");
        CHECK(heard({tone, tones(852, 1336, -10, -10, 60)}, lead) == "58");
    }
}

TEST("noise, music of few tones and a sweep are no digits") {
    std::mt19937 random(3);
    std::vector<std::int16_t> noise(8000 * 20), sweep(8000 * 20), chord(8000 * 20);
    for (std::size_t i = 0; i < noise.size(); i++) {
        auto t = 2 * std::numbers::pi * static_cast<double>(i) / 8000;
        noise[i] = static_cast<std::int16_t>(random() % 20'000 - 10'000);
        sweep[i] = static_cast<std::int16_t>(10'000 * std::sin((300 + 0.005 * static_cast<double>(i)) * t));
        chord[i] = static_cast<std::int16_t>(
            4000 * (std::sin(440 * t) + std::sin(880 * t) + std::sin(1320 * t) + std::sin(660 * t)));
    }
    CHECK(heard({noise}).empty());
    CHECK(heard({sweep}).empty());
    CHECK(heard({chord}).empty());
}
