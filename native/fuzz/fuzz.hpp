// What every fuzz target needs: the input read piece by piece, and a claim that ends the program where it is
// false. A target is a function that must come back, whatever the bytes; it keeps no state between calls.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/bytes.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

#define CLAIM(...)                                                                           \
    do {                                                                                     \
        if (!(__VA_ARGS__)) {                                                                \
            std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #__VA_ARGS__); \
            std::abort();                                                                    \
        }                                                                                    \
    } while (false)

namespace hushwire::fuzz {

/// The fuzzer's bytes, in front what steers and behind what is parsed. Beyond their end come zeros.
class Input {
  public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(std::as_bytes(std::span(data, size))) {}

    template <std::unsigned_integral T>
    T integer() {
        auto raw = bytes(sizeof(T));
        std::array<std::byte, sizeof(T)> whole{};
        std::copy(raw.begin(), raw.end(), whole.begin());
        return load_be<T>(whole.data());
    }
    std::uint8_t byte() { return integer<std::uint8_t>(); }
    bool flag() { return (byte() & 1) != 0; }
    /// At most `count` bytes.
    ConstBytes bytes(std::size_t count) {
        auto head = rest_.first(std::min(count, rest_.size()));
        rest_ = rest_.subspan(head.size());
        return head;
    }
    /// A piece that says its own length in front, up to 65,535.
    ConstBytes piece() { return bytes(integer<std::uint16_t>()); }
    bool is_empty() const { return rest_.empty(); }

  private:
    ConstBytes rest_;
};

/// A copy of exactly this size on the heap: reading one byte beyond it is found.
inline std::vector<std::byte> exact(ConstBytes bytes) {
    std::vector<std::byte> copy(bytes.begin(), bytes.end());
    copy.shrink_to_fit();
    return copy;
}

}  // namespace hushwire::fuzz
