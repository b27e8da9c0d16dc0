#include "io/recorder.hpp"
#include "tests/check.hpp"

using namespace hushwire;
using namespace hushwire::io;

namespace {

constexpr std::int64_t kMs = 1000;

struct Setup {
    Setup() { exchange.provide_for(1); }
    /// What the writer would be given now.
    std::size_t handed_over() {
        std::size_t count = 0;
        while (auto* chunk = exchange.take_full()) {
            count++;
            exchange.give_back(chunk);
        }
        return count;
    }
    ChunkExchange exchange;
    Recorder recorder{1, exchange, 0};
    std::vector<std::byte> packet = std::vector<std::byte>(172);
};

}  // namespace

// 330 ms here (where packets go on to come; else up to 100 ms more until the bridge's next turn), 20 ms until
// the writer's next look: 350 or 450 ms of the 500.
TEST("a packet waits 330 ms for others at most, whatever comes after it") {
    for (std::int64_t gap_ms : {1, 20, 60, 299, 1000}) {
        Setup s;
        std::int64_t oldest_us = -1, worst_us = 0;
        auto look = [&](std::int64_t now_us) {
            if (!s.handed_over()) return;
            worst_us = std::max(worst_us, now_us - oldest_us);
            oldest_us = -1;
        };
        for (std::int64_t now_us = 0; now_us < 5'000 * kMs; now_us += kMs) {
            if (now_us % (gap_ms * kMs) == 0) {
                s.recorder.packet(0, s.packet, now_us);
                look(now_us);  // the chunk before was full
                if (oldest_us < 0) oldest_us = now_us;
            }
            s.recorder.flush_old(now_us);
            look(now_us);
        }
        CHECK(worst_us > 0 && worst_us <= 330 * kMs);
    }
}

TEST("without chunks packets are counted as gaps, and recording goes on when there are some again") {
    Setup s;
    std::vector<Chunk*> taken;
    while (auto* chunk = s.exchange.take_free()) taken.push_back(chunk);
    for (int n = 0; n < 3; n++) s.recorder.packet(0, s.packet, n * 20 * kMs);
    CHECK(s.recorder.gaps() == 3);
    s.exchange.give_back(taken.back());
    s.recorder.packet(0, s.packet, 60 * kMs);
    s.recorder.flush();
    CHECK(s.recorder.gaps() == 3);
    CHECK(s.handed_over() == 1);
}
