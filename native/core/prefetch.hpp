// Memory that will be touched soon is asked for while something else is done. Nothing but the cache changes.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hushwire {

/// Every cache line that holds some of `size` bytes from `at` on. What is asked for on the packet path begins
/// with a line (alignas(kLine)), so that it takes as few as it can.
inline constexpr std::size_t kLine = 64;
inline void prefetch(const void* at, std::size_t size) {
    const auto* byte = static_cast<const char*>(at);
    const auto* line = byte - reinterpret_cast<std::uintptr_t>(byte) % kLine;
    for (; line < byte + size; line += kLine) __builtin_prefetch(line);
}

/// From `at` up to what begins at `end`.
inline void prefetch_up_to(const void* at, const void* end) {
    prefetch(at, static_cast<std::size_t>(static_cast<const char*>(end) - static_cast<const char*>(at)));
}

}  // namespace hushwire
