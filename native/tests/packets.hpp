// Packets and keys for the tests.
#pragma once
#include "core/bridge.hpp"
#include "tests/check.hpp"

namespace hushwire::test {

inline std::vector<std::byte> rtp_packet(std::uint16_t sequence, std::uint32_t timestamp, std::uint32_t ssrc,
                                         std::size_t payload = 160) {
    std::vector<std::byte> packet(12 + payload, std::byte{0x55});
    packet[0] = std::byte{0x80};
    packet[1] = std::byte{0};
    store_be(packet.data() + 2, sequence);
    store_be(packet.data() + 4, timestamp);
    store_be(packet.data() + 8, ssrc);
    return packet;
}

inline srtp::MasterKey master(srtp::Suite suite, unsigned seed) {
    std::array<std::byte, 46> raw;
    for (auto& b : raw) b = static_cast<std::byte>(seed++ * 37 + 11);
    return {suite, Secret<46>(std::span(raw).first(srtp::key_size(suite) + srtp::salt_size(suite)))};
}

inline Address address(std::uint8_t host, std::uint16_t port) {
    std::array<std::byte, 4> raw{std::byte{10}, std::byte{0}, std::byte{0}, std::byte{host}};
    return {*Ip::from(raw), port};
}

inline constexpr srtp::Suite kSuites[] = {srtp::Suite::aes_128_sha1_80, srtp::Suite::aes_128_sha1_32,
                                          srtp::Suite::aes_256_sha1_80, srtp::Suite::aead_aes_128_gcm,
                                          srtp::Suite::aead_aes_256_gcm};

/// A ClientHello as OpenSSL begins one: record 5, message 1, one fragment.
inline std::vector<std::byte> client_hello(ConstBytes cookie = {}, std::size_t session = 0,
                                           std::uint8_t random = 7) {
    std::vector<std::byte> body{std::byte{0xfe}, std::byte{0xfd}};
    body.insert(body.end(), 32, static_cast<std::byte>(random));
    body.push_back(static_cast<std::byte>(session));
    body.insert(body.end(), session, std::byte{9});
    body.push_back(static_cast<std::byte>(cookie.size()));
    body.insert(body.end(), cookie.begin(), cookie.end());
    body.insert(body.end(), 40, std::byte{1});  // suites and so on: nobody here reads them
    auto whole = hex("16feff00000000000000050000010000000001000000000000");
    store_be(whole.data() + 11, static_cast<std::uint16_t>(12 + body.size()));
    store_be(whole.data() + 15, static_cast<std::uint16_t>(body.size()));
    store_be(whole.data() + 23, static_cast<std::uint16_t>(body.size()));
    whole.insert(whole.end(), body.begin(), body.end());
    return whole;
}

}  // namespace hushwire::test
