// Suites, master keys and the session keys made of them (RFC 3711 section 4.3, RFC 6188), with the two
// primitives that use them: AES counter mode and truncated HMAC-SHA1. One object serves one direction; not
// thread-safe.
#pragma once
#define OPENSSL_SUPPRESS_DEPRECATED  // SHA1_Init and friends: a midstate copy costs half of EVP_MAC, and
                                     // every packet needs two
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <memory>
#include <optional>

#include "core/bytes.hpp"

namespace hushwire::srtp {

enum class Suite : std::uint8_t { aes_128_sha1_80 = 1, aes_128_sha1_32 = 2, aes_256_sha1_80 = 3 };

inline constexpr std::size_t kSaltSize = 14;
inline constexpr std::size_t kRtcpTag =
    10;  // RFC 4568 section 6.2.2: 80 bits for SRTCP, also where RTP has 32
inline constexpr std::size_t kMaxTag = 10;

constexpr std::size_t key_size(Suite s) {
    return s == Suite::aes_256_sha1_80 ? 32 : 16;
}
constexpr std::size_t rtp_tag_size(Suite s) {
    return s == Suite::aes_128_sha1_32 ? 4 : 10;
}
constexpr std::optional<Suite> suite_from(unsigned value) {
    if (value < 1 || value > 3) return std::nullopt;
    return static_cast<Suite>(value);
}

/// Master key and salt as SDES carries them (RFC 4568 section 6.1): key || salt.
struct MasterKey {
    Suite suite = Suite::aes_128_sha1_80;
    Secret<46> key_and_salt;

    bool operator==(const MasterKey&) const = default;
    bool has_right_size() const { return key_and_salt.bytes().size() == key_size(suite) + kSaltSize; }
};

/// AES in counter mode with the IV of RFC 3711 section 4.1.1; the key schedule is kept.
class CounterCipher {
  public:
    CounterCipher(Suite suite, ConstBytes session_key, ConstBytes session_salt);
    /// In place. `index` is the 48-bit SRTP index, or the 31-bit SRTCP index.
    void apply(Bytes data, std::uint32_t ssrc, std::uint64_t index);

  private:
    struct Free {
        void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }  // wipes its key schedule
    };
    std::unique_ptr<EVP_CIPHER_CTX, Free> context_;
    Secret<16> salt_;
};

/// HMAC-SHA1 (RFC 2104) with both pads hashed once per key.
class Authenticator {
  public:
    explicit Authenticator(ConstBytes session_auth_key);
    ~Authenticator();
    Authenticator(const Authenticator&) = delete;
    Authenticator& operator=(const Authenticator&) = delete;
    /// HMAC over `message` followed by `suffix`.
    std::array<std::byte, 20> digest(ConstBytes message, ConstBytes suffix) const;

  private:
    SHA_CTX inner_{}, outer_{};
};

/// RFC 3711 section 4.3.2 label of the first of three keys: encryption, then authentication, then salt.
enum class Purpose : std::uint8_t { rtp = 0, rtcp = 3 };

/// The session keys of RTP or of RTCP.
struct SessionKeys {
    SessionKeys(const MasterKey& master, Purpose purpose);
    CounterCipher cipher;
    Authenticator authenticator;
};

/// One derived key: AES-CM as pseudo-random function, key derivation rate 0. Shown for the vectors of RFC
/// 3711 B.3.
void derive(const MasterKey& master, std::uint8_t label, Bytes out);

}  // namespace hushwire::srtp
