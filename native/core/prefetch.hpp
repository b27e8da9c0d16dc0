// Memory that will be touched soon is asked for while something else is done. Nothing but the cache changes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hushwire {

/// A cache line. What is asked for on the packet path begins with one (alignas(kLine)), so that it takes as
/// few as it can.
inline constexpr std::size_t kLine = 64;

/// The line that `at` lies in. The empty statement is there because GCC takes a function that does nothing
/// but prefetch for one that does nothing, and leaves out the calls of it.
inline void prefetch(const void* at) {
    __builtin_prefetch(at);
    asm volatile("");
}
/// Every line that holds some of `size` bytes from `at` on.
inline void prefetch(const void* at, std::size_t size) {
    const auto* byte = static_cast<const char*>(at);
    const auto* line = byte - reinterpret_cast<std::uintptr_t>(byte) % kLine;
    for (; line < byte + size; line += kLine) prefetch(line);
}

/// From `at` up to what begins at `end`.
inline void prefetch_up_to(const void* at, const void* end) {
    prefetch(at, static_cast<std::size_t>(static_cast<const char*>(end) - static_cast<const char*>(at)));
}

}  // namespace hushwire
