// The control socket: connections, frames in and out, one poll loop that the whole control thread runs in.
#pragma once
#include <poll.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "control/controller.hpp"
#include "io/fd.hpp"

namespace hushwire::control {

/// Makes the listening socket with mode 0600. Removes a dead one in its place; throws std::runtime_error with
/// one clear sentence where a live program answers there, or the path can't be used.
io::Fd listen_at(const std::string& path);

class Server final : public Outlet {
  public:
    Server(io::Fd listener, io::Mailbox& mailbox, int stop_fd);
    ~Server() override;

    void send(ConnectionId to, const std::vector<std::byte>& frame) override;
    void offer(ConnectionId to, const std::vector<std::byte>& frame) override;
    void close(ConnectionId connection) override;

    /// Runs until `stop_fd` is readable and all bridges are closed (at most 10 s later).
    void run(Controller& controller);

  private:
    static constexpr std::size_t kMaxConnections = 16, kAcceptAtOnce = 256;
    static constexpr std::size_t kMaxUnsent = 64 << 20;  // a controller that does not read is closed

    static constexpr std::size_t kMuchUnsent = 1 << 20;  // then what may get lost gets lost

    struct Connection {
        io::Fd fd;
        std::vector<std::byte> in, out;
        bool is_closing = false;
    };

    void accept_all(Controller& controller);
    void make_room(const Controller& controller);
    void read_from(ConnectionId id, Controller& controller);
    bool take_frames(ConnectionId id, Controller& controller);
    void flush(Connection& connection);
    void drop_closed(Controller& controller);

    io::Fd listener_;
    io::Mailbox& mailbox_;
    int stop_fd_;
    std::map<ConnectionId, Connection> connections_;
    ConnectionId next_id_ = 1;
};

}  // namespace hushwire::control
