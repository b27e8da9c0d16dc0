#include "core/dtls_cookie.hpp"

#include <algorithm>

namespace hushwire::dtls {
namespace {

constexpr std::byte kHandshake{22}, kHello{1}, kVerifyRequest{3};
constexpr std::size_t kRecordSequence = 5, kRecordHeader = 13, kMessageHeader = 12;
constexpr std::size_t kMessage = kRecordHeader, kMessageSequence = kMessage + 4, kFragmentAt = kMessage + 6;

std::array<std::byte, 20> fresh_key(Cookies::Random random) {
    std::array<std::byte, 20> key;
    for (std::size_t at = 0; at < key.size(); at += 4) store_be(key.data() + at, random());
    return key;
}

}  // namespace

bool is_client_hello(ConstBytes datagram) {
    // Type, version, epoch 0 (nothing is protected yet); then the message's type.
    return datagram.size() > kMessage && datagram[0] == kHandshake && load_be16(datagram.data() + 3) == 0
           && datagram[kMessage] == kHello;
}

std::optional<ClientHello> parse_client_hello(ConstBytes datagram) {
    if (!is_client_hello(datagram) || datagram.size() < kRecordHeader + kMessageHeader) return std::nullopt;
    // The first record's own bytes; its message from the beginning (fragment offset 0).
    auto length = load_be16(datagram.data() + 11);
    if (length > datagram.size() - kRecordHeader || length < kMessageHeader) return std::nullopt;
    const auto* offset = datagram.data() + kFragmentAt;
    if (offset[0] != std::byte{0} || load_be16(offset + 1) != 0) return std::nullopt;
    ByteReader reader(datagram.subspan(kRecordHeader + kMessageHeader, length - kMessageHeader));
    if (!reader.take(2 + kRandom)) return std::nullopt;  // version and random
    auto session = reader.integer<std::uint8_t>();
    if (!session || *session > 32 || !reader.take(*session)) return std::nullopt;
    auto size = reader.integer<std::uint8_t>();
    if (!size) return std::nullopt;
    auto cookie = reader.take(*size);
    if (!cookie) return std::nullopt;
    return ClientHello{*cookie};
}

Cookies::Cookies(Random random) : key_(fresh_key(random)) {}

bool Cookies::has_sent(const ClientHello& hello, const Address& to) const {
    auto expected = cookie(to);
    return hello.cookie.size() == kCookie
           && CRYPTO_memcmp(hello.cookie.data(), expected.data(), kCookie) == 0;
}

std::size_t Cookies::request(Bytes buffer, const Address& to) const {
    auto made = cookie(to);
    auto message_sequence = load_be16(buffer.data() + kMessageSequence);
    // Section 4.2.1 would have the hello's record sequence number, here and in the ServerHello. OpenSSL's
    // server begins with 1 whatever the hello had: so this is 0, or the peer of a hello that was repeated
    // would take the ServerHello for a replay.
    std::fill_n(buffer.data() + kRecordSequence, 6, std::byte{0});
    constexpr std::uint16_t kVersion = 0xfeff;  // DTLS 1.0: what every version understands here
    constexpr std::uint16_t kBody = 3 + kCookie;
    store_be(buffer.data() + 1, kVersion);
    store_be(buffer.data() + 11, static_cast<std::uint16_t>(kMessageHeader + kBody));
    auto* at = buffer.data() + kMessage;
    std::fill_n(at, kMessageHeader, std::byte{0});
    at[0] = kVerifyRequest;
    store_be(at + 2, kBody);  // three bytes of length, of which the first is 0
    store_be(at + 4, message_sequence);
    store_be(at + 10, kBody);  // all of it is in this fragment
    at += kMessageHeader;
    store_be(at, kVersion);
    at[2] = static_cast<std::byte>(kCookie);
    std::copy(made.begin(), made.end(), at + 3);
    return kRequest;
}

std::array<std::byte, kCookie> Cookies::cookie(const Address& to) const {
    std::array<std::byte, 18> address;
    std::copy(to.ip.bytes.begin(), to.ip.bytes.end(), address.begin());
    store_be(address.data() + 16, to.port);
    auto digest = key_.digest(address, {});
    std::array<std::byte, kCookie> made;
    std::copy_n(digest.begin(), kCookie, made.begin());
    return made;
}

}  // namespace hushwire::dtls
