// A bridge of two legs in virtual time: datagrams and their times of arrival in, what each leg would be sent
// and when out. For measuring how transcoded speech sounds and what it costs, without a network's or a
// machine's own moods.
//
//     hushwire_transcode CODEC CODEC CALLS < arrivals > departures       (1 PCMU, 2 PCMA, 3 G722, 4 Opus)
//
// Both streams are rows of i64 microseconds, u8 leg, u16 length, datagram, big-endian. CALLS bridges do the
// same at once; the first one's output is written. What it took is said on stderr: milliseconds of processor
// for a second of one call.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

#include "core/bridge.hpp"

using namespace hushwire;

namespace {

std::uint32_t chance() {
    static std::uint32_t state = 1;
    return state = state * 1'664'525 + 1'013'904'223;
}

Address address(unsigned leg) {
    std::array<std::byte, 4> raw{std::byte{10}, std::byte{0}, std::byte{0}, static_cast<std::byte>(leg + 1)};
    return {*Ip::from(raw), 4000};
}

std::unique_ptr<Bridge> call(const std::array<codec::Name, 2>& names) {
    auto bridge = std::make_unique<Bridge>(Mode::relay, chance);
    for (unsigned leg : {0U, 1U}) {
        LegSettings settings;
        settings.remote_rtp = address(leg);
        auto clock = names[leg] == codec::Name::opus ? 48'000U : 8000U;
        constexpr std::array<std::uint8_t, 5> types{0, 0, 8, 9, 111};
        settings.formats.list[0] = {.name = names[leg],
                                    .payload_type = types[static_cast<std::size_t>(names[leg])],
                                    .wants_fec = true,
                                    .clock_rate = clock};
        settings.formats.count = 1;
        settings.clock_rate = clock;
        settings.media_timeout_ms = 0;
        bridge->open_leg(leg);
        bridge->set_leg(leg, settings, 0);
    }
    return bridge;
}

struct Arrival {
    std::int64_t at_us = 0;
    unsigned leg = 0;
    std::vector<std::byte> data;
};

std::vector<Arrival> arrivals() {
    std::vector<Arrival> all;
    std::array<std::byte, 11> head;
    while (std::fread(head.data(), 1, head.size(), stdin) == head.size()) {
        Arrival one{static_cast<std::int64_t>(load_be<std::uint64_t>(head.data())),
                    std::to_integer<unsigned>(head[8]), std::vector<std::byte>(load_be16(head.data() + 9))};
        if (one.leg > 1 || std::fread(one.data.data(), 1, one.data.size(), stdin) != one.data.size())
            std::exit(1);
        all.push_back(std::move(one));
    }
    return all;
}

void write(const Forward& forward, std::int64_t now_us) {
    std::array<std::byte, 11> head;
    store_be(head.data(), static_cast<std::uint64_t>(now_us));
    head[8] = static_cast<std::byte>(forward.leg);
    store_be(head.data() + 9, static_cast<std::uint16_t>(forward.data.size()));
    std::fwrite(head.data(), 1, head.size(), stdout);
    std::fwrite(forward.data.data(), 1, forward.data.size(), stdout);
}

}  // namespace

int main(int argc, char** argv) {
    auto number = [&](int at) { return at < argc ? std::atoi(argv[at]) : 0; };
    if (number(1) < 1 || number(1) > 4 || number(2) < 1 || number(2) > 4 || number(3) < 1) return 2;
    std::array names{static_cast<codec::Name>(number(1)), static_cast<codec::Name>(number(2))};
    std::vector<std::unique_ptr<Bridge>> bridges;
    for (int n = 0; n < number(3); n++) bridges.push_back(call(names));
    auto all = arrivals();
    std::array<std::byte, Bridge::kBuffer> buffer;
    std::int64_t end_us = all.empty() ? 0 : all.back().at_us + 500'000;
    std::size_t next = 0;
    auto began = std::clock();
    for (std::int64_t now_us = 0; now_us < end_us; now_us += 1000) {
        auto first = next;
        for (auto& bridge : bridges) {
            auto put = [&](const std::optional<Forward>& forward) {
                if (forward && &bridge == &bridges.front()) write(*forward, now_us);
            };
            for (next = first; next < all.size() && all[next].at_us <= now_us; next++) {
                const auto& one = all[next];
                std::copy(one.data.begin(), one.data.end(), buffer.begin());
                put(bridge->receive(one.leg, Channel::rtp, address(one.leg), buffer, one.data.size(),
                                    now_us));
            }
            while (auto made = bridge->produce(now_us, buffer)) put(made);
        }
    }
    double spent_ms = static_cast<double>(std::clock() - began) * 1000 / CLOCKS_PER_SEC;
    std::fprintf(stderr, "%.3f\n", spent_ms / (static_cast<double>(end_us) / 1e6) / number(3));
}
