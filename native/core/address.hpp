// A UDP address without the sockets API, so that the pure cores can compare and keep one. IPv4 is held
// v4-mapped.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "core/bytes.hpp"

namespace hushwire {

struct Ip {
    std::array<std::byte, 16> bytes{};

    bool operator==(const Ip&) const = default;
    bool is_v4() const {
        static constexpr std::array<std::byte, 12> mapped{
            {{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, std::byte{0xff}, std::byte{0xff}}};
        return std::equal(mapped.begin(), mapped.end(), bytes.begin());
    }
    bool is_unspecified() const {
        auto from = bytes.begin() + (is_v4() ? 12 : 0);
        return std::all_of(from, bytes.end(), [](std::byte b) { return b == std::byte{0}; });
    }
    bool is_multicast_or_broadcast() const {
        return is_v4() ? std::to_integer<unsigned>(bytes[12]) >= 224 : bytes[0] == std::byte{0xff};
    }
    /// From the 4 or 16 bytes of a protocol field.
    static std::optional<Ip> from(ConstBytes raw) {
        Ip ip;
        if (raw.size() == 16) {
            std::copy(raw.begin(), raw.end(), ip.bytes.begin());
        } else if (raw.size() == 4) {
            ip.bytes[10] = ip.bytes[11] = std::byte{0xff};
            std::copy(raw.begin(), raw.end(), ip.bytes.begin() + 12);
        } else {
            return std::nullopt;
        }
        return ip;
    }
    ConstBytes wire() const { return ConstBytes(bytes).subspan(is_v4() ? 12 : 0); }
};

struct Address {
    Ip ip;
    std::uint16_t port = 0;

    bool operator==(const Address&) const = default;
    bool is_sendable() const { return port != 0 && !ip.is_unspecified(); }
};

}  // namespace hushwire
