// AES that enciphers whole blocks under one key. Where the processor has instructions for it they are used
// directly, and the expanded key lies in the object: through libcrypto a packet of voice costs three times
// as much, most of it calls and memory that can't be fetched ahead (ADR 0035). Elsewhere libcrypto does it.
// Both run in constant time.
#pragma once
#include <openssl/evp.h>

#include <memory>

#include "core/bytes.hpp"

namespace hushwire {

class AesBlocks {
  public:
    static constexpr std::size_t kBlock = 16;
    enum class By : std::uint8_t { processor, libcrypto };

    /// What this machine does best.
    static By best();
    /// `key` of 16 or 32 bytes. Throws std::runtime_error where that is not so, or without AES.
    explicit AesBlocks(ConstBytes key, By by = best());
    /// In place; a multiple of kBlock bytes.
    void encipher(Bytes blocks);

  private:
    struct FreeCipher {
        void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }  // wipes its key schedule
    };

    std::unique_ptr<EVP_CIPHER_CTX, FreeCipher> by_libcrypto_;  // else null
    alignas(kBlock) Secret<15 * kBlock> round_keys_;
};

}  // namespace hushwire
