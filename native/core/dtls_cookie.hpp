// The first exchange of a DTLS server, without state (RFC 6347 section 4.2.1): who says ClientHello has to
// show that it hears what is sent to its address, before anything is kept or passed up for it. Pure, no
// allocation per datagram.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "core/address.hpp"
#include "core/bytes.hpp"
#include "core/srtp_ciphers.hpp"

namespace hushwire::dtls {

inline constexpr std::size_t kRandom = 32, kCookie = 16;

/// What counts of a ClientHello. Views point into the datagram.
struct ClientHello {
    ConstBytes cookie;  ///< empty in a first one
};

/// Does a handshake message that says ClientHello begin here, in the clear? (Perhaps one that can't be read.)
bool is_client_hello(ConstBytes datagram);
/// Up to its cookie; nothing where it is not whole so far. It may go on in another fragment.
std::optional<ClientHello> parse_client_hello(ConstBytes datagram);

/// The cookies of one leg: one for each address, whatever the hello says. A party that is flooded with
/// answers to hellos forged in its name so gets nothing but its own cookie.
class Cookies {
  public:
    using Random = std::uint32_t (*)();
    static constexpr std::size_t kRequest = 13 + 12 + 3 + kCookie;

    explicit Cookies(Random random);

    /// Is this the cookie that was sent to this address?
    bool has_sent(const ClientHello& hello, const Address& to) const;
    /// Writes a HelloVerifyRequest over the datagram with the hello, which was parsed; returns its size.
    /// `buffer` has room for kRequest.
    std::size_t request(Bytes buffer, const Address& to) const;

  private:
    std::array<std::byte, kCookie> cookie(const Address& to) const;

    srtp::Authenticator key_;
};

}  // namespace hushwire::dtls
