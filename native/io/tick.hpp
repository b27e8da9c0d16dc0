// How long a worker sleeps between two looks at its sockets while there is traffic. Pure: time is an
// argument.
//
// A longer tick makes larger batches, which are cheaper, and every packet later. So the tick is as long as it
// takes to gather a batch that is worth it, within bounds: few calls make it long, many calls short. Very few
// calls cost next to nothing whatever a packet costs, and get a short one again (ADR 0029, ADR 0068).
#pragma once
#include <algorithm>
#include <cstdint>

namespace hushwire::io {

class Tick {
  public:
    static constexpr std::int64_t kShortestUs = 1000, kLongestUs = 6000, kVeryFewUs = 2500;
    static constexpr double kWantedPackets = 75;
    static constexpr double kVeryFewPerUs = 5000 / 1e6;  ///< 50 calls

    /// `fixed_us`: always so long; 0: as the traffic asks for.
    explicit Tick(std::int64_t fixed_us) : is_fixed_(fixed_us != 0), us_(fixed_us ? fixed_us : kVeryFewUs) {}

    std::int64_t us() const { return us_; }
    /// So many packets came since the last time.
    void note(std::uint64_t packets, std::int64_t now_us) {
        constexpr double kShare = 1.0 / 16;
        auto elapsed_us = now_us - noted_us_;
        if (is_fixed_ || elapsed_us <= 0) return;
        noted_us_ = now_us;
        per_us_ += (static_cast<double>(packets) / static_cast<double>(elapsed_us) - per_us_) * kShare;
        us_ = per_us_ < kVeryFewPerUs
                  ? kVeryFewUs
                  : std::clamp(static_cast<std::int64_t>(kWantedPackets / per_us_), kShortestUs, kLongestUs);
    }

  private:
    bool is_fixed_;
    std::int64_t us_, noted_us_ = 0;
    double per_us_ = 0;
};

}  // namespace hushwire::io
