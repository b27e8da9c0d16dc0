// A bound on how often something happens: `rate_per_s` in the long run, `burst` at once. Time is an argument.
#pragma once
#include <algorithm>
#include <cstdint>

namespace hushwire {

class TokenBucket {
  public:
    constexpr TokenBucket(std::int64_t rate_per_s, std::int64_t burst)
        : cost_us_(1'000'000 / rate_per_s), full_us_(cost_us_ * burst) {}

    /// Takes one token if there is one.
    bool take(std::int64_t now_us) {
        // GCRA: `full_at_us_` is when the bucket would be full again. Before its first use a bucket is full.
        auto start = std::max(full_at_us_, now_us);
        if (start + cost_us_ - now_us > full_us_) return false;
        full_at_us_ = start + cost_us_;
        return true;
    }

  private:
    std::int64_t cost_us_, full_us_;
    std::int64_t full_at_us_ = 0;
};

}  // namespace hushwire
