// Brings sums of several voices back into 16 bits without clipping: the gain falls before a peak comes (5 ms
// of look-ahead) and rises again slowly. Pure; no allocation after construction.
#pragma once
#include <span>
#include <vector>

#include "core/codec.hpp"

namespace hushwire {

class Limiter {
  public:
    explicit Limiter(unsigned rate);
    /// A whole number of 5 ms blocks; `out` is 5 ms behind `sums`.
    void run(std::span<const std::int32_t> sums, codec::Samples out);

  private:
    std::size_t block_;
    std::vector<std::int32_t> waiting_;
    float gain_ = 1, bound_ = 1;  ///< at the end of what was given out; what the waiting block allows
};

}  // namespace hushwire
