// The two clocks, read here and nowhere else.
#pragma once
#include <cstdint>
#include <ctime>

namespace hushwire::io {

inline std::int64_t clock_us(clockid_t which) {
    timespec t{};
    clock_gettime(which, &t);
    return std::int64_t{t.tv_sec} * 1'000'000 + t.tv_nsec / 1000;
}
inline std::int64_t monotonic_us() {
    return clock_us(CLOCK_MONOTONIC);
}
inline std::int64_t unix_us() {
    return clock_us(CLOCK_REALTIME);
}

}  // namespace hushwire::io
