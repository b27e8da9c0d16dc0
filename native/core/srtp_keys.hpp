// Suites, master keys and the session keys derived from them (RFC 3711 section 4.3, RFC 6188, RFC 7714
// section 11).
#pragma once
#include <optional>

#include "core/bytes.hpp"

namespace hushwire::srtp {

enum class Suite : std::uint8_t {
    aes_128_sha1_80 = 1,
    aes_128_sha1_32 = 2,
    aes_256_sha1_80 = 3,
    aead_aes_128_gcm = 4,
    aead_aes_256_gcm = 5,
};

constexpr std::optional<Suite> suite_from(unsigned value) {
    if (value < 1 || value > 5) return std::nullopt;
    return static_cast<Suite>(value);
}
constexpr bool is_gcm(Suite s) {
    return s == Suite::aead_aes_128_gcm || s == Suite::aead_aes_256_gcm;
}
constexpr std::size_t key_size(Suite s) {
    return s == Suite::aes_256_sha1_80 || s == Suite::aead_aes_256_gcm ? 32 : 16;
}
constexpr std::size_t salt_size(Suite s) {
    return is_gcm(s) ? 12 : 14;
}

/// Master key and salt as SDES carries them (RFC 4568 section 6.1): key || salt.
struct MasterKey {
    Suite suite = Suite::aes_128_sha1_80;
    Secret<46> key_and_salt;

    bool operator==(const MasterKey&) const = default;
    bool has_right_size() const { return key_and_salt.bytes().size() == key_size(suite) + salt_size(suite); }
};

/// One derived key of at most 48 bytes: AES-CM as pseudo-random function, key derivation rate 0. Throws
/// std::invalid_argument where a size is wrong.
void derive(const MasterKey& master, std::uint8_t label, Bytes out);

/// RFC 3711 section 4.3.2 label of the first of three keys: encryption, then authentication, then salt.
enum class Purpose : std::uint8_t { rtp = 0, rtcp = 3 };

/// The session keys of RTP or of RTCP; wiped when they go.
struct SessionKeys {
    SessionKeys() = default;  // for the vectors of RFC 7714, which begin at session keys
    SessionKeys(const MasterKey& master, Purpose purpose);
    Secret<32> encryption;
    Secret<20> authentication;  ///< empty with GCM, which needs none
    Secret<14> salt;
};

}  // namespace hushwire::srtp
