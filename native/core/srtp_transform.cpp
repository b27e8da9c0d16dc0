#include "core/srtp_transform.hpp"

namespace hushwire::srtp {
namespace {

std::uint32_t rtp_ssrc(ConstBytes packet) {
    return load_be32(packet.data() + 8);
}
std::uint32_t rtcp_ssrc(ConstBytes packet) {
    return load_be32(packet.data() + 4);
}

/// Section 4.2: the HMAC runs over the packet and the rollover counter, which is not sent.
std::array<std::byte, 4> rollover(std::uint64_t index) {
    std::array<std::byte, 4> out;
    store_be(out.data(), static_cast<std::uint32_t>(index >> 16));
    return out;
}

bool is_equal(const std::array<std::byte, 20>& digest, ConstBytes tag) {
    return CRYPTO_memcmp(digest.data(), tag.data(), tag.size()) == 0;
}

constexpr std::size_t kShaRtcpTag = 10;

/// RFC 7714 section 9.3: the clear head and the SRTCP word.
std::array<std::byte, kRtcpClear + 4> rtcp_associated(ConstBytes packet) {
    std::array<std::byte, kRtcpClear + 4> out;
    std::memcpy(out.data(), packet.data(), kRtcpClear);
    std::memcpy(out.data() + kRtcpClear, packet.data() + packet.size() - 4, 4);
    return out;
}

}  // namespace

void CounterAndSha1::seal_rtp(Bytes packet, std::size_t header, std::uint64_t index) {
    auto signed_part = packet.first(packet.size() - rtp_tag_);
    cipher_.apply(signed_part.subspan(header), rtp_ssrc(packet), index);
    auto digest = authenticator_.digest(signed_part, rollover(index));
    std::memcpy(packet.data() + signed_part.size(), digest.data(), rtp_tag_);
}

bool CounterAndSha1::open_rtp(Bytes packet, std::size_t header, std::uint64_t index) {
    auto signed_part = packet.first(packet.size() - rtp_tag_);
    if (!is_equal(authenticator_.digest(signed_part, rollover(index)), packet.last(rtp_tag_))) return false;
    cipher_.apply(signed_part.subspan(header), rtp_ssrc(packet), index);
    return true;
}

void CounterAndSha1::seal_rtcp(Bytes packet, std::uint32_t index) {
    auto signed_part = packet.first(packet.size() - kShaRtcpTag);
    auto text = signed_part.subspan(kRtcpClear, signed_part.size() - kRtcpClear - 4);
    cipher_.apply(text, rtcp_ssrc(packet), index);
    store_be(text.data() + text.size(), kEncrypted | index);
    auto digest = authenticator_.digest(signed_part, {});
    std::memcpy(packet.data() + signed_part.size(), digest.data(), kShaRtcpTag);
}

bool CounterAndSha1::open_rtcp(Bytes packet) {
    auto signed_part = packet.first(packet.size() - kShaRtcpTag);
    if (!is_equal(authenticator_.digest(signed_part, {}), packet.last(kShaRtcpTag))) return false;
    auto text = signed_part.subspan(kRtcpClear, signed_part.size() - kRtcpClear - 4);
    cipher_.apply(text, rtcp_ssrc(packet), rtcp_word(packet) & ~kEncrypted);
    return true;
}

void Gcm::seal_rtp(Bytes packet, std::size_t header, std::uint64_t index) {
    auto text = packet.subspan(header, packet.size() - header - GcmCipher::kTag);
    cipher_.seal(packet.first(header), text, packet.last(GcmCipher::kTag), rtp_ssrc(packet), index);
}

bool Gcm::open_rtp(Bytes packet, std::size_t header, std::uint64_t index) {
    auto text = packet.subspan(header, packet.size() - header - GcmCipher::kTag);
    return cipher_.open(packet.first(header), text, packet.last(GcmCipher::kTag), rtp_ssrc(packet), index);
}

void Gcm::seal_rtcp(Bytes packet, std::uint32_t index) {
    store_be(packet.data() + packet.size() - 4, kEncrypted | index);
    auto text = packet.subspan(kRtcpClear, packet.size() - kRtcpClear - GcmCipher::kTag - 4);
    cipher_.seal(rtcp_associated(packet), text, packet.subspan(kRtcpClear + text.size(), GcmCipher::kTag),
                 rtcp_ssrc(packet), index);
}

bool Gcm::open_rtcp(Bytes packet) {
    auto text = packet.subspan(kRtcpClear, packet.size() - kRtcpClear - GcmCipher::kTag - 4);
    return cipher_.open(rtcp_associated(packet), text,
                        packet.subspan(kRtcpClear + text.size(), GcmCipher::kTag), rtcp_ssrc(packet),
                        rtcp_word(packet) & ~kEncrypted);
}

Transform::Transform(const MasterKey& master, Purpose purpose, Direction direction)
    : suite_([&]() -> std::variant<CounterAndSha1, Gcm> {
          SessionKeys keys(master, purpose);
          if (is_gcm(master.suite))
              return std::variant<CounterAndSha1, Gcm>(std::in_place_type<Gcm>, keys, direction);
          return std::variant<CounterAndSha1, Gcm>(std::in_place_type<CounterAndSha1>, keys,
                                                   rtp_tag_size(master.suite));
      }()) {}

}  // namespace hushwire::srtp
