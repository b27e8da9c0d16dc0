// The sealed recording (.hwr): header, frames, entries (docs/hwr.md). Pure: bytes in, bytes out; nonces are
// handed in.
#pragma once
#include <openssl/evp.h>

#include <memory>
#include <span>

#include "core/bytes.hpp"

namespace hushwire::hwr {

inline constexpr std::size_t kHeader = 76;
inline constexpr std::size_t kNonce = 12, kTag = 16, kLengthField = 4;
inline constexpr std::size_t kFrameOverhead = kLengthField + kNonce + kTag;
inline constexpr std::size_t kFrameText = kLengthField + kNonce;  ///< where in a frame its text begins
inline constexpr std::size_t kEntryHeader = 8;
inline constexpr std::uint8_t kNoLeg = 255;

using DataKey = Secret<32>;
using Nonce = std::array<std::byte, kNonce>;

enum class Kind : std::uint8_t { anchor = 1, format = 2, packet = 3, pause = 4, resume = 5, end = 6 };

struct Identity {
    Uuid organisation{}, recording{};
    std::uint32_t segment = 0;
};

/// Writes u8 kind | u8 leg | u32 time in 100 us | u16 length | data; returns the size, or 0 where it does not
/// fit.
std::size_t write_entry(Bytes out, Kind kind, std::uint8_t leg, std::uint32_t time_100us, ConstBytes data);

/// Seals the frames of one file, in order. The frame key lives in here and is wiped with it.
class Sealer {
  public:
    Sealer(const DataKey& key, const Identity& identity);

    ConstBytes header() const { return header_; }
    /// One frame with the next sequence number, in place: of `frame` the text is there, `text` bytes from
    /// kFrameText on, and kTag bytes of room behind it; it becomes length | nonce | ciphertext | tag. Returns
    /// its size, or 0, and nothing changed, where there is too little room or too much text.
    std::size_t seal(Bytes frame, std::size_t text, bool is_final, const Nonce& nonce);
    std::uint32_t frames() const { return static_cast<std::uint32_t>(sequence_); }

  private:
    struct Free {
        void operator()(EVP_CIPHER_CTX* c) const { EVP_CIPHER_CTX_free(c); }
    };
    std::array<std::byte, kHeader> header_{};
    std::array<std::byte, 32> header_digest_{};
    std::unique_ptr<EVP_CIPHER_CTX, Free> context_;
    std::uint64_t sequence_ = 0;
};

}  // namespace hushwire::hwr
