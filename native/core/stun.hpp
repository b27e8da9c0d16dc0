// STUN messages as ICE uses them (RFC 8489, RFC 8445): read with every length checked, and written. Pure, no
// allocation; anything a stranger sends may be handed to `parse` and `peek_local_ufrag` (fuzzers do).
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/address.hpp"
#include "core/bytes.hpp"
#include "core/srtp_ciphers.hpp"

namespace hushwire::stun {

/// HMAC-SHA1 under a password, both pads hashed once: the key of MESSAGE-INTEGRITY.
using IntegrityKey = srtp::Authenticator;

inline constexpr std::uint32_t kMagicCookie = 0x2112A442;
inline constexpr std::size_t kHeader = 20;
/// Room that `Writer` needs for the longest answer made here: error, mapped address, unknown attributes,
/// integrity, fingerprint.
inline constexpr std::size_t kMaxAnswer = 160;
/// More unknown attributes than this are not listed one by one.
inline constexpr std::size_t kMaxUnknown = 8;

/// RFC 8489 section 5: two bits of the message type.
enum class Class : std::uint8_t { request = 0, indication = 1, success = 2, error = 3 };

inline constexpr std::uint16_t kBinding = 0x001;

using TransactionId = std::array<std::byte, 12>;

/// What a message says before its MESSAGE-INTEGRITY; of a repeated attribute the first counts (section 14).
/// Views point into the datagram.
struct Message {
    Class kind = Class::request;
    std::uint16_t method = 0;
    TransactionId id{};
    std::optional<std::string_view> username;
    std::optional<Address> mapped;            ///< XOR-MAPPED-ADDRESS
    std::optional<std::uint16_t> error_code;  ///< 300..699
    std::optional<std::uint32_t> priority;
    std::optional<std::uint64_t> controlling, controlled;  ///< tie-breakers
    bool has_use_candidate = false;
    std::optional<std::size_t> integrity_at;           ///< where the attribute MESSAGE-INTEGRITY begins
    bool has_fingerprint = false;                      ///< and it is right: a wrong one is no message
    std::array<std::uint16_t, kMaxUnknown> unknown{};  ///< comprehension-required, not known here
    std::size_t unknown_count = 0;
};

/// The message, or nothing where the datagram is not exactly one well-formed STUN message with the magic
/// cookie and, if it has a FINGERPRINT, a right one that stands last.
std::optional<Message> parse(ConstBytes datagram);

/// RFC 8489 section 14.5, compared in constant time. `message` is what `parse` made of the datagram.
bool has_integrity(ConstBytes datagram, const Message& message, const IntegrityKey& key);

/// A key for a password of any length (RFC 2104 section 2: one longer than a block is hashed first).
/// SASLprep leaves ICE's characters as they are.
IntegrityKey integrity_key(ConstBytes password);

/// The receiver's user fragment: USERNAME up to its colon (RFC 8445 section 7.2.2), found without a look at
/// anything else. Nothing where the datagram is no STUN binding request or has no such name. Cheap: for a
/// port that several legs share.
std::optional<std::string_view> peek_local_ufrag(ConstBytes datagram);

/// Builds one message into memory that the caller owns (`kMaxAnswer` bytes are enough for what hushwire
/// answers). Throws std::length_error where it does not fit: a mistake of ours, whatever a peer sent.
class Writer {
  public:
    Writer(Bytes out, Class kind, std::uint16_t method, const TransactionId& id);

    Writer& username(std::string_view name);
    Writer& mapped_address(const Address& address);  ///< XOR-MAPPED-ADDRESS
    Writer& error(std::uint16_t code, std::string_view reason);
    Writer& unknown_attributes(std::span<const std::uint16_t> types);
    Writer& attribute(std::uint16_t type, ConstBytes value);
    Writer& integrity(const IntegrityKey& key);
    /// Must be the last. Returns the length of the whole message.
    std::size_t fingerprint();
    std::size_t size() const { return size_; }

  private:
    Bytes begin(std::uint16_t type, std::size_t length);
    void set_length(std::size_t total);

    Bytes out_;
    TransactionId id_;
    std::size_t size_ = kHeader;
};

// Attribute types (RFC 8489 section 18.3, RFC 8445 section 16.1)
inline constexpr std::uint16_t kUsername = 0x0006, kMessageIntegrity = 0x0008, kErrorCode = 0x0009,
                               kUnknownAttributes = 0x000A, kRealm = 0x0014, kNonce = 0x0015,
                               kXorMappedAddress = 0x0020, kPriority = 0x0024, kUseCandidate = 0x0025,
                               kFingerprint = 0x8028, kIceControlled = 0x8029, kIceControlling = 0x802A;

}  // namespace hushwire::stun
