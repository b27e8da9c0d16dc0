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

// Here 370 ms, and 20 until the writer's next look: 390 ms of the 500.
TEST("a packet waits 370 ms for others at most, whatever comes after it") {
    for (std::int64_t gap_ms : {1, 20, 60, 99, 299, 1000})
        for (std::int64_t turn_ms : {0, 1, 30, 50, 89})
            for (std::int64_t stop_ms : {1'200, 1'333, 3'000}) {
                Setup s;
                std::int64_t oldest_us = -1, worst_us = 0;
                auto look = [&](std::int64_t now_us) {
                    if (!s.handed_over()) return;
                    worst_us = std::max(worst_us, now_us - oldest_us);
                    oldest_us = -1;
                };
                for (std::int64_t now_ms = 0; now_ms < 3'000; now_ms++) {
                    auto now_us = now_ms * kMs;
                    if (now_ms % gap_ms == 0 && now_ms < stop_ms) {
                        s.recorder.packet(0, s.packet, now_us);
                        look(now_us);  // the chunk before was full
                        if (oldest_us < 0) oldest_us = now_us;
                    }
                    if (now_ms % 90 == turn_ms) s.recorder.take_turn(now_us);
                    look(now_us);
                }
                CHECK(worst_us > 0 && worst_us <= 370 * kMs);
            }
}

TEST("a frame of a call holds four turns") {
    Setup s;
    std::size_t frames = 0;
    for (std::int64_t now_ms = 0; now_ms < 3'600; now_ms += 10) {
        s.recorder.packet(0, s.packet, now_ms * kMs);
        if (now_ms % 90 == 0) s.recorder.take_turn(now_ms * kMs);
        frames += s.handed_over();
    }
    CHECK(frames == 9 || frames == 10);
}

TEST("where turns are late, packets themselves see to it that nothing gets too old") {
    Setup s;
    for (std::int64_t now_ms = 0; now_ms <= 370; now_ms += 10) s.recorder.packet(0, s.packet, now_ms * kMs);
    CHECK(s.handed_over() == 1);
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
