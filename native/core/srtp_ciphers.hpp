// The primitives of SRTP: AES counter mode, truncated HMAC-SHA1 (RFC 3711 section 4) and AES-GCM (RFC 7714).
// Each object holds one session key of one direction, expanded once; not thread-safe.
#pragma once
#define OPENSSL_SUPPRESS_DEPRECATED  // SHA1_Init and friends: copying a midstate costs half of EVP_MAC, and
                                     // every packet needs two
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <array>
#include <memory>

#include "core/aes.hpp"
#include "core/bytes.hpp"

namespace hushwire::srtp {

namespace detail {
struct FreeCipher {
    void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }  // wipes its key schedule
};
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeCipher>;
}  // namespace detail

/// AES in counter mode with the IV of RFC 3711 section 4.1.1.
class CounterCipher {
  public:
    /// `session_key` of 16 or 32 bytes, `session_salt` of 14. Throws std::runtime_error without AES.
    CounterCipher(ConstBytes session_key, ConstBytes session_salt, AesBlocks::By by = AesBlocks::best());
    /// In place, at most 2^16 blocks. `index` is the 48-bit SRTP index, or the 31-bit SRTCP index.
    void apply(Bytes data, std::uint32_t ssrc, std::uint64_t index);

  private:
    Secret<16> salt_;
    AesBlocks aes_;
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
    using Midstate = std::array<std::uint32_t, 5>;  // of a SHA_CTX, which has three times the size
    Midstate inner_{}, outer_{};
};

enum class Direction : bool { open, seal };

/// AES-GCM with the IV of RFC 7714 sections 8.1 and 9.1.
class GcmCipher {
  public:
    static constexpr std::size_t kTag = 16;
    /// The longest text that `open` takes.
    static constexpr std::size_t kMaxText = 1500;

    /// `session_key` of 16 or 32 bytes, `session_salt` of 12. Throws std::runtime_error without AES-GCM.
    GcmCipher(ConstBytes session_key, ConstBytes session_salt, Direction direction);
    /// Enciphers `text` in place and writes its tag of kTag bytes.
    void seal(ConstBytes associated, Bytes text, Bytes tag, std::uint32_t ssrc, std::uint64_t index);
    /// True where the tag is right: `text` is plain then. Else `text` stays as it was.
    bool open(ConstBytes associated, Bytes text, ConstBytes tag, std::uint32_t ssrc, std::uint64_t index);

  private:
    std::array<std::byte, 12> iv(std::uint32_t ssrc, std::uint64_t index) const;

    detail::CipherContext context_;
    Secret<12> salt_;
};

}  // namespace hushwire::srtp
