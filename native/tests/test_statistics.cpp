// Loss, jitter and report blocks against a naive model that keeps everything.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "core/sequence.hpp"
#include "core/statistics.hpp"
#include "tests/check.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

/// What a person would do: write down every packet that came, and count when it is over.
struct Naive {
    std::vector<std::set<std::uint64_t>> streams;
    std::size_t received = 0;

    void begin() { streams.emplace_back(); }
    void take(std::uint64_t index) { received += streams.back().insert(index).second; }
    std::uint64_t expected() const {
        std::uint64_t sum = 0;
        for (const auto& s : streams)
            if (!s.empty()) sum += *s.rbegin() - *s.begin() + 1;
        return sum;
    }
    /// Runs of missing packets in the last stream, behind the last `but` packets.
    std::pair<std::uint64_t, std::uint64_t> losses(std::uint64_t but) const {
        const auto& s = streams.back();
        std::uint64_t lost = 0, bursts = 0;
        bool was_there = true;
        for (auto i = *s.begin(); i + but <= *s.rbegin(); i++) {
            bool is_there = s.contains(i);
            lost += !is_there;
            bursts += !is_there && was_there;
            was_there = is_there;
        }
        return {lost, bursts};
    }
};

struct Packet {
    std::uint64_t index = 0;
    double order = 0;
};

/// A stream with losses in rows, duplicates and packets out of order (not among the first `in_order`).
std::vector<Packet> disturbed(std::uint64_t first, unsigned count, unsigned in_order = 0) {
    std::vector<Packet> out;
    unsigned lose = 0;
    for (unsigned i = 0; i < count; i++) {
        if (!lose && chance() % 100 < 4) lose = 1 + chance() % (chance() % 20 ? 4 : 90);
        bool is_lost = lose > 0 && i > 0;
        if (lose) lose--;
        if (is_lost) continue;
        double late = chance() % 20 == 0 && i >= in_order ? chance() % 40 : 0;
        out.push_back({first + i, i + late + 0.001});
        if (chance() % 25 == 0) out.push_back({first + i, i + late + chance() % 50});
    }
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.order < b.order; });
    return out;
}

}  // namespace

TEST("through loss, duplicates, disorder, rollover and new SSRCs the counts are those of a naive model") {
    for (int round = 0; round < 60; round++) {
        SequenceTracker tracker;
        Reception reception;
        Naive naive;
        std::uint32_t ssrc = 0;
        for (unsigned stream = 0; stream < 1 + chance() % 4; stream++) {
            ssrc = chance();
            naive.begin();
            // Often so that the 16 bits roll over on the way.
            std::uint64_t first = chance() % 2 ? chance() % 65'536 : 65'000 + chance() % 536;
            for (const auto& p : disturbed(first, 200 + chance() % 3000)) {
                auto place = tracker.place(ssrc, static_cast<std::uint16_t>(p.index));
                if (!place) continue;  // a duplicate
                CHECK(place->index == p.index);
                reception.received({ssrc, place->run}, place->index, 0, 8000, 0);
                naive.take(p.index);
            }
            auto totals = reception.totals();
            CHECK(totals.received == naive.received);
            CHECK(totals.expected == naive.expected());
            CHECK(totals.lost() == naive.expected() - naive.received);
        }
    }
}

TEST("rows of losses are counted as a naive model counts them, 64 packets behind") {
    for (int round = 0; round < 100; round++) {
        Reception reception;
        Naive naive;
        naive.begin();
        SequenceTracker tracker;
        for (const auto& p : disturbed(chance() % 1000, 500 + chance() % 2000, 1)) {
            auto place = tracker.place(7, static_cast<std::uint16_t>(p.index));
            if (!place) continue;
            reception.received({7, 1}, place->index, 0, 8000, 0);
            naive.take(place->index);
        }
        auto [lost, bursts] = naive.losses(64);
        CHECK(reception.totals().settled_lost == lost);
        CHECK(reception.totals().bursts == bursts);
    }
}

TEST("a report says the loss since the one before, of 256, and all loss of the present stream") {
    Reception reception;
    CHECK(!reception.take_report());
    for (std::uint64_t i = 100; i < 200; i++) reception.received({5, 1}, i, 0, 8000, 0);
    auto report = reception.take_report();
    CHECK(report && report->ssrc == 5 && report->fraction_lost == 0 && report->cumulative_lost == 0
          && report->highest == 199);
    CHECK(!reception.take_report());  // nothing came since
    for (std::uint64_t i = 200; i < 300; i++)
        if (i % 4) reception.received({5, 1}, i, 0, 8000, 0);
    report = reception.take_report();
    CHECK(report && report->fraction_lost == 64 && report->cumulative_lost == 25 && report->highest == 299);
    for (std::uint64_t i = 300; i < 400; i++) reception.received({5, 1}, i, 0, 8000, 0);
    report = reception.take_report();
    CHECK(report && report->fraction_lost == 0 && report->cumulative_lost == 25);
    // What comes late is taken off again.
    reception.received({5, 1}, 296, 0, 8000, 0);
    report = reception.take_report();
    CHECK(report && report->fraction_lost == 0 && report->cumulative_lost == 24);
    // Another SSRC is another stream; the leg's total goes on.
    reception.received({6, 2}, 7, 0, 8000, 0);
    reception.received({6, 2}, 9, 0, 8000, 0);
    report = reception.take_report();
    CHECK(report && report->ssrc == 6 && report->cumulative_lost == 1 && report->fraction_lost == 85);
    CHECK(reception.lost() == 25);
}

TEST("the extended sequence of a report counts rollovers from the first packet that came") {
    Reception reception;
    // SRTP's index may begin anywhere, since its rollover counter is signalled or guessed.
    std::uint64_t first = (std::uint64_t{9} << 16) + 65'530;
    for (std::uint64_t i = first; i < first + 20; i++) reception.received({5, 1}, i, 0, 8000, 0);
    auto report = reception.take_report();
    CHECK(report && report->highest == 0x1000d && report->cumulative_lost == 0);
}

TEST("a clock that is set anew is no jitter, and neither is a pause") {
    Reception reception;
    std::int64_t now = 1'000'000;
    std::uint32_t timestamp = 0;
    std::uint64_t index = 0;
    auto talk = [&](int packets) {
        for (int i = 0; i < packets; i++, now += 20'000, timestamp += 160)
            reception.received({5, 1}, index++, timestamp, 8000, now);
    };
    talk(100);
    CHECK(reception.jitter_us() == 0 && !reception.has_paused());
    timestamp += 0x70000000;
    talk(100);
    CHECK(reception.jitter_us() == 0 && !reception.has_paused());
    now += 3'000'000, timestamp += 24'000;
    talk(100);
    CHECK(reception.jitter_us() == 0 && reception.has_paused());
}

TEST("lost packets are no pause") {
    Reception reception;
    for (std::uint64_t i = 0; i < 500; i++)
        if (i < 100 || i > 200) reception.received({5, 1}, i, static_cast<std::uint32_t>(i * 160), 8000, 0);
    CHECK(!reception.has_paused());
}
