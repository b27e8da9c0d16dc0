#include <thread>

#include "io/recorder.hpp"
#include "io/ring.hpp"
#include "tests/check.hpp"

using namespace hushwire;

TEST("a ring hands every value over once and in order, between two threads") {
    io::Ring<int> ring(7);
    constexpr int kCount = 200'000;
    std::thread producer([&] {
        for (int i = 0; i < kCount;)
            if (ring.push(i)) i++;
    });
    int next = 0;
    while (next < kCount)
        if (auto value = ring.pop()) {
            if (*value != next) break;
            next++;
        }
    producer.join();
    CHECK(next == kCount);
    CHECK(!ring.pop());
}

TEST("with no free chunk packets are counted as gaps, and recording goes on when one is back") {
    io::ChunkExchange exchange;
    exchange.provide_for(0);
    std::vector<io::Chunk*> taken;
    while (auto* chunk = exchange.take_free()) taken.push_back(chunk);
    io::Recorder recorder(1, exchange, 0);
    std::vector<std::byte> packet(100);
    recorder.packet(0, packet, 10);
    CHECK(recorder.gaps() == 1);
    exchange.give_back(taken.back());
    recorder.packet(0, packet, 20);
    CHECK(recorder.gaps() == 1);
    recorder.flush();
    CHECK(exchange.take_full() == taken.back());
}
