// Replay windows, rollover counters and output indexes, held against models that are too simple to be wrong,
// over long random sequences.
#include <algorithm>
#include <map>
#include <set>

#include "core/rollover.hpp"
#include "core/sequence.hpp"
#include "core/srtp.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

std::uint64_t below(std::uint64_t limit) {
    return (std::uint64_t{chance()} << 32 | chance()) % limit;
}

/// The candidate nearest to the highest index, the same counter where two are as near.
std::optional<std::uint32_t> nearest(std::uint64_t highest, std::uint16_t sequence) {
    auto here = static_cast<std::int64_t>(highest);
    std::optional<std::int64_t> best;
    for (std::int64_t counter : {here >> 16, (here >> 16) - 1, (here >> 16) + 1}) {
        auto index = counter << 16 | sequence;
        if (!best || std::abs(index - here) < std::abs(*best - here)) best = index;
    }
    if (*best < 0 || *best >> 48) return std::nullopt;
    return static_cast<std::uint32_t>(*best >> 16);
}

}  // namespace

TEST("the rollover counter guessed is the nearest, wherever the stream stands") {
    constexpr std::uint64_t kInteresting[] = {0,
                                              1,
                                              0x7fff,
                                              0x8000,
                                              0x8001,
                                              0xffff,
                                              0x10000,
                                              0x17fff,
                                              0x18000,
                                              0x1ffff,
                                              (std::uint64_t{1} << 48) - 1,
                                              (std::uint64_t{1} << 48) - 0x8001};
    for (auto highest : kInteresting)
        for (unsigned sequence = 0; sequence < 0x10000; sequence++)
            if (srtp::guess_rollover(highest, static_cast<std::uint16_t>(sequence))
                != nearest(highest, static_cast<std::uint16_t>(sequence)))
                CHECK(false);
    for (int n = 0; n < 300'000; n++) {
        auto highest = below(std::uint64_t{1} << (8 + n % 41));
        auto sequence = static_cast<std::uint16_t>(chance());
        if (srtp::guess_rollover(highest, sequence) != nearest(highest, sequence)) CHECK(false);
    }
}

TEST("a replay window remembers exactly the last 256 indexes") {
    for (int run = 0; run < 200; run++) {
        ReplayWindow window;
        std::set<std::uint64_t> marked;
        std::uint64_t at = below(std::uint64_t{1} << (run % 48));
        for (int n = 0; n < 2000; n++) {
            // Mostly near the top; now and then far ahead or far behind.
            auto kind = below(100);
            auto index = kind < 60   ? at + below(4)
                         : kind < 97 ? at - std::min(at, below(400))
                                     : below(2 * at + 5000);
            auto top = marked.empty() ? 0 : *marked.rbegin();
            bool is_too_old = !marked.empty() && index < top && top - index >= ReplayWindow::kSize;
            if (window.was_seen(index) != (is_too_old || marked.contains(index))) CHECK(false);
            if (below(4)) {
                window.mark(index);
                if (!is_too_old) marked.insert(index);
            }
            if (!marked.empty()) {
                at = *marked.rbegin();
                CHECK(!window.is_empty() && window.top() == at);
            }
        }
    }
}

TEST("an SRTP receiver takes each packet once, under its right index, through loss, reordering and replays") {
    for (auto suite : {srtp::Suite::aes_128_sha1_80, srtp::Suite::aead_aes_128_gcm}) {
        srtp::Sender sender(master(suite, 1));
        srtp::Receiver receiver(master(suite, 1), nullptr);
        std::vector<std::pair<std::uint64_t, std::vector<std::byte>>> under_way, sent;
        std::set<std::uint64_t> taken;
        std::uint64_t index = below(0x4000);
        for (int n = 0; n < 30'000; n++) {
            auto packet = rtp_packet(static_cast<std::uint16_t>(index), 0, 7, 20);
            packet.resize(packet.size() + srtp::kMaxTag);
            packet.resize(sender.protect_rtp(packet, 32, 12, index));
            under_way.emplace_back(index, packet);
            index += 1 + (below(50) ? 0 : below(2000));  // losses, some long, far below half of 2^16
            // Up to 40 packets overtake each other, and some come again, soon or much later.
            while (under_way.size() > 40 || (n == 29'999 && !under_way.empty())) {
                auto pick = under_way.begin() + static_cast<std::ptrdiff_t>(below(under_way.size()));
                sent.push_back(*pick);
                under_way.erase(pick);
                for (auto again = sent.end() - 1; again < sent.end(); again += 2) {
                    auto [want, copy] = *again;
                    auto top = taken.empty() ? 0 : *taken.rbegin();
                    bool is_too_old = top >= want + ReplayWindow::kSize;
                    auto opened = receiver.open_rtp(copy, 12);
                    if (taken.contains(want) || is_too_old) {
                        CHECK(opened.outcome != srtp::Outcome::ok);
                    } else {
                        CHECK(opened.outcome == srtp::Outcome::ok && opened.index == want);
                        taken.insert(want);
                    }
                }
                if (!below(3)) {
                    auto copy = sent[below(sent.size())].second;
                    CHECK(receiver.open_rtp(copy, 12).outcome != srtp::Outcome::ok);
                }
            }
        }
        CHECK(*taken.rbegin() > 3 * 0x10000);
    }
}

TEST("whatever comes in, no output index is given twice, and none jumps far ahead") {
    for (int run = 0; run < 100; run++) {
        OutputMap map(static_cast<std::uint16_t>(chance()), chance());
        SequenceTracker trackers[3];
        std::set<std::uint64_t> given;
        std::uint16_t sequence[3] = {};
        std::uint32_t key_run = 0;
        for (int n = 0; n < 5000; n++) {
            auto who = below(3);  // three sources that take turns: transfers, and an SSRC that comes back
            if (below(40) == 0) sequence[who] = static_cast<std::uint16_t>(chance());  // a restart
            if (below(500) == 0) key_run += 1 << 20;                                   // a new key
            auto place = trackers[who].place(static_cast<std::uint32_t>(below(20) ? who : who + 3),
                                             static_cast<std::uint16_t>(sequence[who] - below(4)));
            sequence[who]++;
            if (!place) continue;
            auto out = map.map({static_cast<std::uint32_t>(who), key_run + place->run}, place->index,
                               chance(), 8000, n * 20'000);
            if (!out) continue;
            CHECK(given.insert(out->index).second);
            CHECK(out->index - *given.begin() < 0x10000 * given.size());
            auto top = std::prev(given.end());
            if (top != given.begin()) CHECK(*top - *std::prev(top) <= 3001);
        }
    }
}
