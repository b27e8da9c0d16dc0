#include "io/tick.hpp"
#include "tests/check.hpp"

using namespace hushwire::io;

namespace {

/// The tick after a second of so many packets a second.
std::int64_t after_a_second_of(double per_s, Tick tick) {
    std::int64_t now_us = 1'000'000'000;
    double owed = 0;
    for (auto end_us = now_us + 1'000'000; now_us < end_us; now_us += tick.us()) {
        owed += per_s * static_cast<double>(tick.us()) / 1e6;
        auto packets = static_cast<std::uint64_t>(owed);
        owed -= static_cast<double>(packets);
        tick.note(packets, now_us);
    }
    return tick.us();
}

}  // namespace

TEST("a tick gathers 75 packets, within 1 and 6 ms, and is short again where next to none come") {
    CHECK(after_a_second_of(0, Tick(0)) == 2500);
    CHECK(after_a_second_of(4'000, Tick(0)) == 2500);
    CHECK(after_a_second_of(10'000, Tick(0)) == 6000);
    auto of_200_calls = after_a_second_of(20'000, Tick(0));
    CHECK(of_200_calls > 3600 && of_200_calls < 3900);
    auto of_500_calls = after_a_second_of(50'000, Tick(0));
    CHECK(of_500_calls > 1400 && of_500_calls < 1600);
    CHECK(after_a_second_of(120'000, Tick(0)) == 1000);
}

TEST("a tick that was asked for stays as it is, and time that leaps changes nothing") {
    CHECK(after_a_second_of(120'000, Tick(500)) == 500);
    Tick tick(0);
    tick.note(1'000'000, 0);
    tick.note(1'000'000, -5);
    CHECK(tick.us() == 2500);
}
