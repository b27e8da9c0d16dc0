// Polyphase conversion between 8, 16 and 48 kHz: a linear-phase low-pass (Kaiser window) that passes up to
// 0.425 of the lower rate flat and holds what would fold back 60 dB down. Delay: 3 ms at 8 kHz.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "core/codec.hpp"

namespace hushwire {

class Resampler {
  public:
    /// One of the rates is a whole multiple of the other; equal rates copy. `max_input` samples at most are
    /// given at once.
    Resampler(unsigned from, unsigned to, std::size_t max_input);

    /// All of `in` (a whole multiple of what gives one sample out); returns how many were written to `out`.
    std::size_t run(codec::ConstSamples in, codec::Samples out);

  private:
    static constexpr std::size_t kTaps = 48;  ///< per phase, at the lower rate
    struct Filter {
        unsigned factor = 1;
        std::vector<std::int16_t> taps;  ///< up: [phase][tap]; down: one row; newest sample last
    };
    static const Filter& filter(unsigned factor, bool is_up);

    unsigned up_ = 1, down_ = 1;
    const Filter* filter_ = nullptr;
    std::size_t memory_ = 0;          ///< samples kept from before
    std::vector<std::int16_t> line_;  ///< memory_ old samples, then the new ones
};

}  // namespace hushwire
