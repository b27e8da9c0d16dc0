// A network in virtual time around the pure cores: loss, duplicates, reordering, delay and jitter, and a
// limit to the size. What happens to the n-th datagram follows from the seed alone.
#pragma once
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "core/bytes.hpp"

namespace hushwire::test {

/// Fractions are of 1.
struct Impairment {
    double loss = 0, duplicate = 0, reorder = 0;
    std::int64_t delay_us = 0, jitter_us = 0;  ///< jitter: uniform on top of the delay
    std::int64_t held_us = 60'000;             ///< what is reordered comes this much later
    std::size_t mtu = 65'507;                  ///< of the UDP payload; larger ones are lost
};

/// One direction between two places.
class Wire {
  public:
    Wire(const Impairment& impairment, std::uint32_t seed) : impairment_(impairment), chance_(seed) {}

    void send(std::vector<std::byte> datagram, std::int64_t now_us) {
        sent++;
        // Each datagram draws as often, whatever becomes of it.
        auto fate = draw(), twin = draw(), held = draw(), late = draw(), again = draw();
        if (datagram.size() > impairment_.mtu || fate < impairment_.loss) {
            lost++;
            return;
        }
        auto at = now_us + impairment_.delay_us + jitter(late);
        if (held < impairment_.reorder) at += impairment_.held_us;
        if (twin < impairment_.duplicate) {
            doubled++;
            under_way_.emplace(now_us + impairment_.delay_us + jitter(again), datagram);
        }
        under_way_.emplace(at, std::move(datagram));
    }
    /// The next datagram that has arrived by now.
    std::optional<std::vector<std::byte>> receive(std::int64_t now_us) {
        if (under_way_.empty() || under_way_.begin()->first > now_us) return std::nullopt;
        auto datagram = std::move(under_way_.begin()->second);
        under_way_.erase(under_way_.begin());
        arrived++;
        return datagram;
    }
    bool is_empty() const { return under_way_.empty(); }

    std::uint64_t sent = 0, lost = 0, doubled = 0, arrived = 0;

  private:
    double draw() { return std::uniform_real_distribution<double>(0, 1)(chance_); }
    std::int64_t jitter(double draw) const {
        return static_cast<std::int64_t>(draw * static_cast<double>(impairment_.jitter_us));
    }

    Impairment impairment_;
    std::mt19937 chance_;
    std::multimap<std::int64_t, std::vector<std::byte>> under_way_;
};

}  // namespace hushwire::test
