// How a suite protects one packet whose index is known: encryption and tag, in the order on the wire that the
// suite has. RFC 3711 section 3 for counter mode with HMAC-SHA1, RFC 7714 for GCM. No state but the keys.
#pragma once
#include <variant>

#include "core/srtp_ciphers.hpp"
#include "core/srtp_keys.hpp"

namespace hushwire::srtp {

/// Of RTCP, header and sender SSRC stay readable (RFC 3711 section 3.4).
inline constexpr std::size_t kRtcpClear = 8;
/// The bit of the SRTCP word that says "encrypted"; the rest is the index.
inline constexpr std::uint32_t kEncrypted = 0x80000000;
/// Room that a packet grows by at most.
inline constexpr std::size_t kMaxTag = 16, kMaxRtcpTrailer = 20;

constexpr std::size_t rtp_tag_size(Suite s) {
    return is_gcm(s) ? GcmCipher::kTag : s == Suite::aes_128_sha1_32 ? 4 : 10;
}
/// Tag and SRTCP word. RFC 4568 section 6.2.2: a tag of 80 bits for SRTCP, also where RTP has 32.
constexpr std::size_t rtcp_trailer_size(Suite s) {
    return 4 + (is_gcm(s) ? GcmCipher::kTag : 10);
}

/// AES counter mode and HMAC-SHA1. RTP: header, text, tag. RTCP: head, text, word, tag.
class CounterAndSha1 {
  public:
    CounterAndSha1(const SessionKeys& keys, std::size_t rtp_tag)
        : rtp_tag_(rtp_tag),
          authenticator_(keys.authentication.bytes()),
          cipher_(keys.encryption.bytes(), keys.salt.bytes()) {}

    void seal_rtp(Bytes packet, std::size_t header, std::uint64_t index);
    bool open_rtp(Bytes packet, std::size_t header, std::uint64_t index);
    void seal_rtcp(Bytes packet, std::uint32_t index);
    bool open_rtcp(Bytes packet);
    static std::uint32_t rtcp_word(ConstBytes packet) {
        return load_be32(packet.data() + packet.size() - 14);
    }

  private:
    std::size_t rtp_tag_;
    Authenticator authenticator_;
    CounterCipher cipher_;
};

/// AES-GCM. RTP: header, text, tag. RTCP: head, text, tag, word.
class Gcm {
  public:
    Gcm(const SessionKeys& keys, Direction direction)
        : cipher_(keys.encryption.bytes(), keys.salt.bytes(), direction) {}

    void seal_rtp(Bytes packet, std::size_t header, std::uint64_t index);
    bool open_rtp(Bytes packet, std::size_t header, std::uint64_t index);
    void seal_rtcp(Bytes packet, std::uint32_t index);
    bool open_rtcp(Bytes packet);
    static std::uint32_t rtcp_word(ConstBytes packet) { return load_be32(packet.data() + packet.size() - 4); }

  private:
    GcmCipher cipher_;
};

/// One direction of RTP, or of RTCP, under one master key. `packet` is always the whole protected packet,
/// with tag and SRTCP word, and long enough for them and for the `header`; sealing fills those in.
class Transform {
  public:
    Transform(const MasterKey& master, Purpose purpose, Direction direction);

    void seal_rtp(Bytes packet, std::size_t header, std::uint64_t index) {
        std::visit([&](auto& suite) { suite.seal_rtp(packet, header, index); }, suite_);
    }
    /// True where the tag is right for this index: the packet is plain then. Else it stays as it was.
    bool open_rtp(Bytes packet, std::size_t header, std::uint64_t index) {
        return std::visit([&](auto& suite) { return suite.open_rtp(packet, header, index); }, suite_);
    }
    void seal_rtcp(Bytes packet, std::uint32_t index) {
        std::visit([&](auto& suite) { suite.seal_rtcp(packet, index); }, suite_);
    }
    /// Likewise, with the index that stands in the packet.
    bool open_rtcp(Bytes packet) {
        return std::visit([&](auto& suite) { return suite.open_rtcp(packet); }, suite_);
    }
    /// The SRTCP word of a packet: kEncrypted and the index. Not proven.
    std::uint32_t rtcp_word(ConstBytes packet) const {
        return std::visit([&](const auto& suite) { return suite.rtcp_word(packet); }, suite_);
    }

  private:
    std::variant<CounterAndSha1, Gcm> suite_;
};

}  // namespace hushwire::srtp
