// Memory that will be touched soon is asked for while something else is done. Nothing but the cache changes.
#pragma once
#include <cstddef>

namespace hushwire {

/// Every cache line of `size` bytes from `at` on.
inline void prefetch(const void* at, std::size_t size) {
    constexpr std::size_t kLine = 64;
    const auto* byte = static_cast<const char*>(at);
    for (std::size_t i = 0; i < size; i += kLine) __builtin_prefetch(byte + i);
}

}  // namespace hushwire
