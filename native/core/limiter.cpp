#include "core/limiter.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace hushwire {
namespace {

constexpr float kCeiling = 29'204;  // -1 dBFS
constexpr float kRelease = 1.02F;   // per block of 5 ms: about 35 dB a second

}  // namespace

Limiter::Limiter(unsigned rate) : block_(rate / 200), waiting_(block_) {}

void Limiter::run(std::span<const std::int32_t> sums, codec::Samples out) {
    for (std::size_t at = 0; at + block_ <= sums.size(); at += block_) {
        auto coming = sums.subspan(at, block_);
        std::int32_t peak = 0;
        for (auto s : coming) peak = std::max(peak, std::abs(s));
        float coming_bound = static_cast<float>(peak) > kCeiling ? kCeiling / static_cast<float>(peak) : 1;
        // Both ends of the ramp over the waiting block are within what that block allows, so all of it is.
        float end = std::min({gain_ * kRelease, bound_, coming_bound, 1.0F});
        float gain = gain_, step = (end - gain_) / static_cast<float>(block_);
        for (std::size_t i = 0; i < block_; i++) {
            gain += step;
            out[at + i] = static_cast<std::int16_t>(std::lrintf(static_cast<float>(waiting_[i]) * gain));
        }
        gain_ = end;
        bound_ = coming_bound;
        std::ranges::copy(coming, waiting_.begin());
    }
}

}  // namespace hushwire
