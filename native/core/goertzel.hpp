// Digits heard as tones in speech: Goertzel filters at the eight frequencies of ITU-T Q.23, with the
// tolerances of Q.24. Pure; nothing is allocated.
#pragma once
#include <array>
#include <complex>
#include <cstdint>
#include <optional>
#include <span>

#include "core/dtmf.hpp"

namespace hushwire::dtmf {

/// Fed with 16-bit samples at 8 kHz. A digit is told at its end. Q.24: tones of 40 ms and more are taken,
/// those below 23 ms are not; a break of under 10 ms joins; frequencies within 1.5 % are taken, those off
/// by 3.5 % are not; either tone may be the stronger, by 8 dB (low) or 4 dB (high).
///
/// A block is too short to tell 697 Hz from 721: how far a tone is off is read from how far its phase has
/// turned from one block to the next.
class ToneDetector {
  public:
    void samples(std::span<const std::int16_t> pcm);
    std::optional<Digit> take();

  private:
    static constexpr std::size_t kBlock = 102, kTones = 8;  // 12.75 ms: the main lobes of neighbours part
    struct Filter {
        float first = 0, second = 0;
    };

    using Turned =
        std::array<std::complex<float>, kTones>;  // angle: phase at the end of a block; norm: power

    void end_block();
    std::uint8_t heard_in_block(const Turned& now) const;
    Turned turned() const;
    bool is_in_tune(std::uint8_t heard, const Turned& now) const;

    std::array<Filter, kTones> filters_{};
    std::array<Filter, 4> harmonics_{};  // of the high tones
    float energy_ = 0, energy_before_ = 0;
    Turned before_{};
    std::size_t filled_ = 0;
    std::uint8_t last_ = 0xff, digit_ = 0xff;  // event codes; 0xff none
    unsigned same_ = 0, other_ = 0, blocks_ = 0;
    std::array<Digit, 4> digits_{};
    std::size_t first_ = 0, waiting_ = 0;
};

/// The two tones of a digit, -7 dBm0 low and -5 dBm0 high, with soft edges.
class ToneGenerator {
  public:
    ToneGenerator(char digit, std::uint32_t duration_ms, unsigned rate = 8000);
    /// Writes samples to the start of `out`; how many, less than its size at the end.
    std::size_t samples(std::span<std::int16_t> out);
    bool is_over() const { return at_ == total_; }

  private:
    double low_ = 0, high_ = 0;  // radians per sample
    std::uint32_t at_ = 0, total_, edge_;
};

}  // namespace hushwire::dtmf
