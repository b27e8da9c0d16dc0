// Pairs of ports: RTP on an even one, RTCP on the odd one above (RFC 3550 section 11). Owned by the control
// thread.
#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "io/udp.hpp"

namespace hushwire::io {

struct PortPair {
    std::uint16_t rtp_port = 0;
    Fd rtp, rtcp;
    std::uint16_t rtcp_port() const { return static_cast<std::uint16_t>(rtp_port + 1); }
};

/// Sockets for shared ports, dealt out to so many workers: those of [low, high] that are free, or with low 0
/// `each` of any port for every worker. Throws std::runtime_error where a worker would have none.
std::vector<std::vector<Fd>> bind_shared(const Ip& ip, std::uint16_t low, std::uint16_t high,
                                         std::size_t workers, std::size_t each);

class PortPool {
  public:
    /// Uses the pairs within [low, high]; `random` shuffles them, so that the next port can't be guessed.
    PortPool(const Ip& ip, std::uint16_t low, std::uint16_t high,
             const std::function<std::uint32_t()>& random);
    std::optional<PortPair> take();
    /// Used last of all next time: late packets of the old call find nobody.
    void give_back(std::uint16_t rtp_port) { free_.push_back(rtp_port); }

  private:
    Ip ip_;
    std::deque<std::uint16_t> free_;
};

}  // namespace hushwire::io
