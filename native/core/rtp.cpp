#include "core/rtp.hpp"

namespace hushwire::rtp {

std::optional<Header> parse(ConstBytes packet) {
    if (packet.size() < kFixedHeader || packet.size() > kMaxPacket) return std::nullopt;
    auto first = std::to_integer<unsigned>(packet[0]);
    auto second = std::to_integer<unsigned>(packet[1]);
    if (first >> 6 != 2) return std::nullopt;
    Header header;
    header.length = kFixedHeader + 4 * std::size_t{first & 0x0f};
    if (first & 0x10) {  // section 5.3.1: 16 bits of profile, 16 bits of length in words
        if (packet.size() < header.length + 4) return std::nullopt;
        header.length += 4 + 4 * std::size_t{load_be16(packet.data() + header.length + 2)};
    }
    if (packet.size() < header.length) return std::nullopt;
    header.has_padding = (first & 0x20) != 0;
    header.has_marker = (second & 0x80) != 0;
    header.payload_type = static_cast<std::uint8_t>(second & 0x7f);
    header.sequence = load_be16(packet.data() + 2);
    header.timestamp = load_be32(packet.data() + 4);
    header.ssrc = load_be32(packet.data() + 8);
    return header;
}

bool has_valid_padding(const Header& header, ConstBytes packet) {
    if (!header.has_padding) return true;
    auto count = std::to_integer<std::size_t>(packet.back());
    return count > 0 && header.length + count <= packet.size();
}

void rewrite(Bytes packet, const Rewrite& fields) {
    packet[1] = static_cast<std::byte>((fields.has_marker ? 0x80 : 0) | fields.payload_type);
    store_be(packet.data() + 2, fields.sequence);
    store_be(packet.data() + 4, fields.timestamp);
    store_be(packet.data() + 8, fields.ssrc);
}

std::size_t strip(Bytes packet, const Header& header) {
    auto offset = header.length - kFixedHeader;
    if (!offset) return 0;
    std::memmove(packet.data() + offset, packet.data(), kFixedHeader);
    packet[offset] = std::byte{0x80} | (packet[offset] & std::byte{0x20});
    return offset;
}

void begin(Bytes packet) {
    std::memset(packet.data(), 0, kFixedHeader);
    packet[0] = std::byte{0x80};
}

}  // namespace hushwire::rtp
