// Big-endian loads and stores, a bounds-checked reader and writer, and memory that is wiped when it goes.
#pragma once
#include <openssl/crypto.h>

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace hushwire {

using ConstBytes = std::span<const std::byte>;
using Bytes = std::span<std::byte>;
using Uuid = std::array<std::byte, 16>;

inline const unsigned char* uchars(const std::byte* p) {
    return reinterpret_cast<const unsigned char*>(p);
}
inline unsigned char* uchars(std::byte* p) {
    return reinterpret_cast<unsigned char*>(p);
}
inline ConstBytes as_bytes(std::string_view s) {
    return std::as_bytes(std::span(s.data(), s.size()));
}

/// The integer with its bytes in the order of the network; one instruction.
template <std::unsigned_integral T>
constexpr T network_order(T v) {
    if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) return v;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
}
/// The caller has checked that the bytes exist; the parsers do so once per packet, not per field.
template <std::unsigned_integral T>
inline T load_be(const std::byte* p) {
    T v;
    std::memcpy(&v, p, sizeof v);
    return network_order(v);
}
template <std::unsigned_integral T>
inline void store_be(std::byte* p, T v) {
    v = network_order(v);
    std::memcpy(p, &v, sizeof v);
}
inline std::uint16_t load_be16(const std::byte* p) {
    return load_be<std::uint16_t>(p);
}
inline std::uint32_t load_be32(const std::byte* p) {
    return load_be<std::uint32_t>(p);
}

/// Reads forwards; every step says whether the bytes were there, and none is read beyond the end.
class ByteReader {
  public:
    explicit ByteReader(ConstBytes data) : rest_(data) {}
    std::size_t remaining() const { return rest_.size(); }
    std::optional<ConstBytes> take(std::size_t n) {
        if (n > rest_.size()) return std::nullopt;
        auto head = rest_.first(n);
        rest_ = rest_.subspan(n);
        return head;
    }
    template <typename T>
    std::optional<T> integer() {
        auto bytes = take(sizeof(T));
        if (!bytes) return std::nullopt;
        return load_be<T>(bytes->data());
    }

  private:
    ConstBytes rest_;
};

/// Key material: fixed capacity, never on the heap, wiped on destruction and on assignment.
template <std::size_t Capacity>
class Secret {
  public:
    Secret() = default;
    explicit Secret(ConstBytes bytes) : size_(bytes.size() <= Capacity ? bytes.size() : 0) {
        if (size_) std::memcpy(data_.data(), bytes.data(), size_);
    }
    Secret(const Secret&) = default;
    Secret& operator=(const Secret&) = default;
    ~Secret() { wipe(); }
    void wipe() {
        OPENSSL_cleanse(data_.data(), data_.size());
        size_ = 0;
    }
    ConstBytes bytes() const { return std::span(data_).first(size_); }
    Bytes writable(std::size_t n) {
        size_ = n <= Capacity ? n : 0;
        return std::span(data_).first(size_);
    }
    bool operator==(const Secret& other) const {
        return size_ == other.size_ && CRYPTO_memcmp(data_.data(), other.data_.data(), size_) == 0;
    }

  private:
    std::array<std::byte, Capacity> data_{};
    std::size_t size_ = 0;
};

}  // namespace hushwire
