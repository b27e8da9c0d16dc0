// What a datagram on a media port is, by its first byte (RFC 7983 section 7).
#pragma once
#include "core/bytes.hpp"

namespace hushwire {

enum class PacketKind : std::uint8_t { stun, dtls, media, other };

inline PacketKind packet_kind(ConstBytes datagram) {
    if (datagram.empty()) return PacketKind::other;
    auto first = std::to_integer<unsigned>(datagram[0]);
    if (first <= 3) return PacketKind::stun;
    if (first >= 20 && first <= 63) return PacketKind::dtls;
    return first >= 128 && first <= 191 ? PacketKind::media : PacketKind::other;
}

}  // namespace hushwire
