// The RTP fixed header (RFC 3550 section 5.1): parse, and rewrite of what hushwire owns.
#pragma once
#include <optional>

#include "core/bytes.hpp"

namespace hushwire::rtp {

inline constexpr std::size_t kFixedHeader = 12;
/// Nothing that a voice party sends is longer; a longer datagram is not read into.
inline constexpr std::size_t kMaxPacket = 1500;
/// What hushwire itself puts into one packet: it must fit every path with IPv6 and an SRTP tag.
inline constexpr std::size_t kMaxPayload = 1200;

struct Header {
    std::uint8_t payload_type = 0;
    bool has_marker = false;
    bool has_padding = false;
    std::uint16_t sequence = 0;
    std::uint32_t timestamp = 0;
    std::uint32_t ssrc = 0;
    std::size_t length = 0;  ///< with contributing sources and header extension
};

/// The header, or nothing where version or lengths are wrong.
std::optional<Header> parse(ConstBytes packet);

/// True where the padding count (section 5.1, P bit) fits into what follows the header. Only for plain
/// packets.
bool has_valid_padding(const Header& header, ConstBytes packet);

/// RFC 5761 section 4: on a port that carries both, second bytes of 192-223 are RTCP.
inline bool looks_like_rtcp(ConstBytes packet) {
    if (packet.size() < 2) return false;
    auto second = std::to_integer<unsigned>(packet[1]);
    return second >= 192 && second <= 223;
}

/// A marked packet of these types would look like RTCP (RFC 5761 section 4), so it is sent without.
inline bool may_be_marked(std::uint8_t payload_type) {
    return payload_type < 64 || payload_type > 95;
}

/// What hushwire owns in each packet that it sends.
struct Rewrite {
    std::uint8_t payload_type = 0;
    bool has_marker = false;
    std::uint16_t sequence = 0;
    std::uint32_t timestamp = 0;
    std::uint32_t ssrc = 0;
};
void rewrite(Bytes packet, const Rewrite& fields);
/// Leaves out contributing sources and the header extension (sections 5.1, 5.3.1): where the packet begins
/// then, with a header of kFixedHeader bytes. The payload stays where it is.
std::size_t strip(Bytes packet, const Header& header);
/// An empty fixed header, for `rewrite` to fill.
void begin(Bytes packet);

}  // namespace hushwire::rtp
