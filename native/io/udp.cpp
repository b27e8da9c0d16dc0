#include "io/udp.hpp"

#include <arpa/inet.h>

namespace hushwire::io {

void to_socket(const Address& address, bool is_v6_socket, SocketAddress& out) {
    if (is_v6_socket) {
        auto& in6 = reinterpret_cast<sockaddr_in6&>(out.storage);
        in6 = {};
        in6.sin6_family = AF_INET6;
        in6.sin6_port = htons(address.port);
        std::memcpy(&in6.sin6_addr, address.ip.bytes.data(), 16);
        out.length = sizeof in6;
        return;
    }
    auto& in = reinterpret_cast<sockaddr_in&>(out.storage);
    in = {};
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    std::memcpy(&in.sin_addr, address.ip.bytes.data() + 12, 4);
    out.length = sizeof in;
}

Address from_socket(const sockaddr_storage& storage) {
    Address address;
    if (storage.ss_family == AF_INET) {
        const auto& in = reinterpret_cast<const sockaddr_in&>(storage);
        address.ip.bytes[10] = address.ip.bytes[11] = std::byte{0xff};
        std::memcpy(address.ip.bytes.data() + 12, &in.sin_addr, 4);
        address.port = ntohs(in.sin_port);
    } else if (storage.ss_family == AF_INET6) {
        const auto& in6 = reinterpret_cast<const sockaddr_in6&>(storage);
        std::memcpy(address.ip.bytes.data(), &in6.sin6_addr, 16);
        address.port = ntohs(in6.sin6_port);
    }
    return address;
}

std::optional<Ip> parse_ip(const std::string& text) {
    std::array<std::byte, 16> raw;
    if (inet_pton(AF_INET, text.c_str(), raw.data()) == 1) return Ip::from(std::span(raw).first(4));
    if (inet_pton(AF_INET6, text.c_str(), raw.data()) == 1) return Ip::from(raw);
    return std::nullopt;
}

std::optional<Fd> bind_udp(const Ip& ip, std::uint16_t port) {
    bool is_v6 = !ip.is_v4();
    Fd fd(::socket(is_v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!fd) return std::nullopt;
    // Media is never fragmented (no reassembly for others to poison), and the kernel need not choose an IP
    // identification.
    int probe = is_v6 ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE;
    ::setsockopt(fd.get(), is_v6 ? IPPROTO_IPV6 : IPPROTO_IP, is_v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER,
                 &probe, sizeof probe);
    SocketAddress address;
    to_socket({ip, port}, is_v6, address);
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0)
        return std::nullopt;
    return fd;
}

}  // namespace hushwire::io
