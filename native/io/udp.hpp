// UDP sockets and the translation between core addresses and those of the sockets API.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <optional>
#include <string>

#include "core/address.hpp"
#include "io/fd.hpp"

namespace hushwire::io {

struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
};
void to_socket(const Address& address, bool is_v6_socket, SocketAddress& out);
Address from_socket(const sockaddr_storage& storage);
std::optional<Ip> parse_ip(const std::string& text);

/// A non-blocking socket bound to ip:port (0 = any free), or nothing where it is taken.
std::optional<Fd> bind_udp(const Ip& ip, std::uint16_t port);

}  // namespace hushwire::io
