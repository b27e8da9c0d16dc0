#include "control/server.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "io/clock.hpp"
#include "io/log.hpp"

namespace hushwire::control {
namespace {

constexpr std::int64_t kStopLimitUs = 10'000'000;
constexpr std::size_t kReadAtOnce = 16'384;
/// A frame that is not whole yet, and one more reading: within this room the buffer never moves and leaves no
/// copy of a key behind.
constexpr std::size_t kMostUnread = kLengthField + kMaxFrame + kReadAtOnce;

sockaddr_un unix_address(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path)
        throw std::runtime_error("--socket must be a path of 1 to 107 bytes");
    std::memcpy(address.sun_path, path.data(), path.size());
    return address;
}

bool is_answered(const sockaddr_un& address) {
    io::Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

io::Fd listen_at(const std::string& path) {
    auto address = unix_address(path);
    struct stat there {};
    if (::lstat(path.c_str(), &there) == 0) {
        if (!S_ISSOCK(there.st_mode)) throw std::runtime_error("--socket names a file that is not a socket");
        if (is_answered(address)) throw std::runtime_error("another program answers at --socket already");
        ::unlink(path.c_str());
    }
    io::Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    auto mask = ::umask(0177);  // 0600 from the first moment on
    bool is_bound = fd && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::umask(mask);
    if (!is_bound) throw std::runtime_error(std::string("--socket can't be made: ") + std::strerror(errno));
    if (::listen(fd.get(), 16) != 0) throw std::runtime_error("--socket can't be listened at");
    return fd;
}

Server::Server(io::Fd listener, io::Mailbox& mailbox, int stop_fd)
    : listener_(std::move(listener)), mailbox_(mailbox), stop_fd_(stop_fd) {}

Server::~Server() = default;

void Server::send(ConnectionId to, const std::vector<std::byte>& frame) {
    auto found = connections_.find(to);
    if (found == connections_.end() || found->second.is_closing) return;
    auto& connection = found->second;
    if (connection.out.size() + frame.size() > kMaxUnsent) return close(to);
    connection.out.insert(connection.out.end(), frame.begin(), frame.end());
}

void Server::offer(ConnectionId to, const std::vector<std::byte>& frame) {
    auto found = connections_.find(to);
    if (found != connections_.end() && found->second.out.size() < kMuchUnsent) send(to, frame);
}

void Server::close(ConnectionId id) {
    if (auto found = connections_.find(id); found != connections_.end()) found->second.is_closing = true;
}

/// Who holds a place for longest without being the controller gives it up: connections that only lurk must
/// not keep a controller out.
void Server::make_room(const Controller& controller) {
    for (auto& [id, connection] : connections_) {
        if (controller.is_controller(id) || connection.is_closing) continue;
        connection.is_closing = true;
        return;
    }
}

void Server::accept_all(Controller& controller) {
    for (std::size_t n = 0; n < kAcceptAtOnce; n++) {
        io::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (!fd) return;
        if (connections_.size() >= kMaxConnections) {
            make_room(controller);
            drop_closed(controller);
        }
        auto& connection = connections_[next_id_++];
        connection.fd = std::move(fd);
        connection.in.reserve(kMostUnread);
    }
}

void Server::flush(Connection& connection) {
    std::size_t sent = 0;
    while (sent < connection.out.size()) {
        auto n = ::send(connection.fd.get(), connection.out.data() + sent, connection.out.size() - sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno != EAGAIN) connection.is_closing = true;
        if (n <= 0) break;
        sent += static_cast<std::size_t>(n);
    }
    connection.out.erase(connection.out.begin(), connection.out.begin() + static_cast<std::ptrdiff_t>(sent));
}

void Server::read_from(ConnectionId id, Controller& controller) {
    std::array<std::byte, kReadAtOnce> buffer;
    auto& connection = connections_.at(id);
    auto n = ::recv(connection.fd.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return close(id);
    if (n < 0) return;
    connection.in.insert(connection.in.end(), buffer.begin(), buffer.begin() + n);
    OPENSSL_cleanse(buffer.data(), static_cast<std::size_t>(n));  // keys pass through here
    if (!take_frames(id, controller)) close(id);
}

/// Hands every whole frame to the controller; false where the stream can't be followed any further.
bool Server::take_frames(ConnectionId id, Controller& controller) {
    auto& connection = connections_.at(id);
    std::size_t taken = 0;
    bool is_readable = true;
    while (is_readable && !connection.is_closing) {
        auto next = split(ConstBytes(connection.in).subspan(taken));
        is_readable = next.kind != Split::Kind::unreadable;
        if (next.kind != Split::Kind::frame) break;
        auto frame = next.frame;
        if (auto header = parse_request_header(frame)) {
            controller.handle(id, *header, frame);
        } else {
            send(id, refuse({load_be16(frame.data() + 2), load_be32(frame.data() + 4)},
                            {Status::malformed, "not a request of protocol version 1"}));
            is_readable = false;
        }
        taken += kLengthField + frame.size();
    }
    // Moved to the front, so that nothing of what was taken, nor a second copy of what was not, stays behind.
    auto left = connection.in.size() - taken;
    std::memmove(connection.in.data(), connection.in.data() + taken, left);
    OPENSSL_cleanse(connection.in.data() + left, taken);
    connection.in.resize(left);
    return is_readable;
}

void Server::drop_closed(Controller& controller) {
    for (auto at = connections_.begin(); at != connections_.end();) {
        if (!at->second.is_closing) {
            ++at;
            continue;
        }
        flush(at->second);  // what it is told last, as far as it takes it
        OPENSSL_cleanse(at->second.in.data(), at->second.in.size());
        auto id = at->first;
        at = connections_.erase(at);
        controller.disconnected(id, io::monotonic_us());
    }
}

void Server::run(Controller& controller) {
    std::int64_t stop_by_us = 0;
    std::vector<pollfd> polled;
    std::vector<ConnectionId> ids;
    for (;;) {
        polled.assign({{listener_.get(), POLLIN, 0},
                       {mailbox_.fd(), POLLIN, 0},
                       {stop_by_us ? -1 : stop_fd_, POLLIN, 0}});
        ids.clear();
        for (auto& [id, connection] : connections_) {
            polled.push_back({connection.fd.get(),
                              static_cast<short>(connection.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
            ids.push_back(id);
        }
        ::poll(polled.data(), polled.size(), stop_by_us ? 50 : 500);
        if (polled[1].revents) mailbox_.run_all();
        if (polled[2].revents && !stop_by_us) {
            io::log_event("info", "media.stopping");
            stop_by_us = io::monotonic_us() + kStopLimitUs;
            controller.stop();
        }
        for (std::size_t i = 0; i < ids.size(); i++)
            if (polled[3 + i].revents & (POLLIN | POLLHUP | POLLERR)) read_from(ids[i], controller);
        if (polled[0].revents) accept_all(controller);
        controller.tick(io::monotonic_us());
        for (auto& [id, connection] : connections_)
            if (!connection.out.empty()) flush(connection);
        drop_closed(controller);
        if (stop_by_us && (controller.is_empty() || io::monotonic_us() > stop_by_us)) return;
    }
}

}  // namespace hushwire::control
