#include "io/ports.hpp"

#include <stdexcept>
#include <utility>

namespace hushwire::io {

std::vector<std::vector<Fd>> bind_shared(const Ip& ip, std::uint16_t low, std::uint16_t high,
                                         std::size_t workers, std::size_t each) {
    std::vector<std::vector<Fd>> dealt(workers);
    std::size_t next = 0;
    auto deal = [&](std::uint16_t port) {
        auto fd = bind_udp(ip, port);
        if (!fd) return;
        enlarge_buffers(fd->get());
        dealt[next++ % workers].push_back(std::move(*fd));
    };
    if (low)
        for (std::uint32_t port = low; port <= high; port++) deal(static_cast<std::uint16_t>(port));
    else
        for (std::size_t i = 0; i < each * workers; i++) deal(0);
    if (next < workers)
        throw std::runtime_error("--shared-ports holds too few free ports: each worker needs one");
    return dealt;
}

PortPool::PortPool(const Ip& ip, std::uint16_t low, std::uint16_t high,
                   const std::function<std::uint32_t()>& random)
    : ip_(ip) {
    for (std::uint32_t port = low + (low & 1U); port + 1 <= high; port += 2)
        free_.push_back(static_cast<std::uint16_t>(port));
    for (std::size_t i = free_.size(); i > 1; i--) std::swap(free_[i - 1], free_[random() % i]);
}

std::optional<PortPair> PortPool::take() {
    for (std::size_t tries = free_.size(); tries > 0; tries--) {
        auto port = free_.front();
        free_.pop_front();
        auto rtp = bind_udp(ip_, port);
        auto rtcp = rtp ? bind_udp(ip_, static_cast<std::uint16_t>(port + 1)) : std::nullopt;
        if (rtcp) return PortPair{port, std::move(*rtp), std::move(*rtcp)};
        free_.push_back(port);  // another program has it
    }
    return std::nullopt;
}

}  // namespace hushwire::io
