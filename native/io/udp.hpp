// UDP sockets and the translation between core addresses and those of the sockets API.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <string>

#include "core/address.hpp"
#include "io/fd.hpp"

namespace hushwire::io {

/// An IPv4 or IPv6 socket address without sockaddr_storage's hundred unused bytes: arrays of these are walked
/// for every packet.
union SmallAddress {
    sockaddr any;
    sockaddr_in v4;
    sockaddr_in6 v6;
};
/// Returns the address's length.
socklen_t to_socket(const Address& address, bool is_v6_socket, SmallAddress& out);
Address from_socket(const SmallAddress& address);
std::optional<Ip> parse_ip(const std::string& text);

/// A non-blocking socket bound to ip:port (0 = any free), or nothing where it is taken.
std::optional<Fd> bind_udp(const Ip& ip, std::uint16_t port);
/// Room in the kernel for the packets of many legs while the worker is busy or asleep.
void enlarge_buffers(int fd);
/// The port that a socket is bound to.
std::uint16_t port_of(int fd);

}  // namespace hushwire::io
