// A keyed hash for tables that strangers can fill or probe: without the key nobody can choose what collides.
// Multiply-and-fold in the manner of wyhash; for tables in memory only, never for anything that leaves the
// process.
#pragma once
#include <cstdint>
#include <cstring>

#include "core/address.hpp"
#include "core/bytes.hpp"

namespace hushwire {

class HashKey {
  public:
    HashKey(std::uint64_t one, std::uint64_t two) : one_(one), two_(two | 1) {}

    std::uint64_t operator()(const Address& address) const {
        std::uint64_t high = 0, low = 0;
        std::memcpy(&high, address.ip.bytes.data(), 8);
        std::memcpy(&low, address.ip.bytes.data() + 8, 8);
        return fold(fold(high ^ one_, low ^ two_) ^ address.port, two_ ^ kOdd);
    }
    std::uint64_t operator()(const Ip& ip) const { return (*this)(Address{ip, 0}); }
    std::uint64_t operator()(std::uint32_t value) const {
        return fold(fold(value ^ one_, two_), two_ ^ kOdd);
    }
    std::uint64_t operator()(std::uint64_t value) const {
        return fold(fold(value ^ one_, two_), two_ ^ kOdd);
    }
    std::uint64_t operator()(ConstBytes text) const {
        std::uint64_t state = one_ ^ text.size();
        while (!text.empty()) {
            std::uint64_t word = 0;
            auto size = text.size() < 8 ? text.size() : 8;
            std::memcpy(&word, text.data(), size);
            state = fold(state ^ word, two_);
            text = text.subspan(size);
        }
        return fold(state, two_ ^ kOdd);
    }

  private:
    static constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;

    static std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
        auto product = static_cast<unsigned __int128>(a) * b;
        return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
    }
    std::uint64_t one_, two_;
};

}  // namespace hushwire
