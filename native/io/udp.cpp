#include "io/udp.hpp"

#include <arpa/inet.h>

namespace hushwire::io {

socklen_t to_socket(const Address& address, bool is_v6_socket, SmallAddress& out) {
    if (is_v6_socket) {
        out.v6 = {};
        out.v6.sin6_family = AF_INET6;
        out.v6.sin6_port = htons(address.port);
        std::memcpy(&out.v6.sin6_addr, address.ip.bytes.data(), 16);
        return sizeof out.v6;
    }
    out.v4 = {};
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(address.port);
    std::memcpy(&out.v4.sin_addr, address.ip.bytes.data() + 12, 4);
    return sizeof out.v4;
}

Address from_socket(const SmallAddress& socket) {
    Address address;
    if (socket.any.sa_family == AF_INET) {
        address.ip.bytes[10] = address.ip.bytes[11] = std::byte{0xff};
        std::memcpy(address.ip.bytes.data() + 12, &socket.v4.sin_addr, 4);
        address.port = ntohs(socket.v4.sin_port);
    } else if (socket.any.sa_family == AF_INET6) {
        std::memcpy(address.ip.bytes.data(), &socket.v6.sin6_addr, 16);
        address.port = ntohs(socket.v6.sin6_port);
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
    SmallAddress address;
    auto length = to_socket({ip, port}, is_v6, address);
    if (::bind(fd.get(), &address.any, length) != 0) return std::nullopt;
    return fd;
}

void enlarge_buffers(int fd) {
    constexpr int kBytes = 8 << 20;
    for (auto [forced, limited] :
         {std::pair{SO_RCVBUFFORCE, SO_RCVBUF}, std::pair{SO_SNDBUFFORCE, SO_SNDBUF}})
        if (::setsockopt(fd, SOL_SOCKET, forced, &kBytes, sizeof kBytes) != 0)  // needs CAP_NET_ADMIN
            ::setsockopt(fd, SOL_SOCKET, limited, &kBytes, sizeof kBytes);      // up to net.core.[rw]mem_max
}

std::uint16_t port_of(int fd) {
    SmallAddress address{};
    socklen_t length = sizeof address;
    if (::getsockname(fd, &address.any, &length) != 0) return 0;
    return from_socket(address).port;
}

}  // namespace hushwire::io
