// What is played where nothing is to be decoded: speech goes on for a moment in its own pitch (in the manner
// of G.711 appendix I, without its delay), and silence sounds like the line's own silence. Pure; no
// allocation after construction.
#pragma once
#include <vector>

#include "core/codec.hpp"

namespace hushwire {

/// The distance, in samples, after which the end of `pcm` repeats itself best; between 5 and 15 ms.
/// `likeness` is the normalised correlation at it.
struct Pitch {
    std::size_t lag = 0;
    double likeness = 0;
};
Pitch find_pitch(codec::ConstSamples pcm, unsigned rate);
inline constexpr unsigned kPitchWindowMs = 45;  ///< how much `find_pitch` looks at, at most

class Concealer {
  public:
    explicit Concealer(unsigned rate);

    /// What was just played as it was decoded. The first samples after a concealment are blended in place.
    void good(codec::Samples pcm);
    /// Goes on with what was played; fades from 10 ms on, silent after 60 ms.
    void conceal(codec::Samples out);
    bool is_concealing() const { return concealed_ > 0; }
    /// The rest is silence: nothing of what was played goes on.
    void forget();

  private:
    std::int16_t next();
    void remember(codec::ConstSamples pcm);
    void begin();

    unsigned rate_;
    std::vector<std::int16_t> history_;  ///< the last kPitchWindowMs
    std::vector<std::int16_t> cycle_;    ///< the waveform that is repeated
    std::size_t period_ = 0, cycle_length_ = 0, at_ = 0;
    std::size_t concealed_ = 0;
    double step_ = 0;  ///< between what was played and where the cycle begins; fades within 1 ms
};

/// Noise at the level of the line's own, or as a comfort noise payload says (RFC 3389).
class ComfortNoise {
  public:
    static constexpr std::size_t kMaxOrder = 10;

    explicit ComfortNoise(unsigned rate) : rate_(rate) {}
    /// Played audio, in frames of about 20 ms: the quietest of late is the background.
    void observe(codec::ConstSamples pcm);
    /// A payload of RFC 3389: level, then reflection coefficients.
    void describe(ConstBytes payload);
    void fill(codec::Samples out);
    /// A level below the loudest that samples can have (dBov), for what there is no other word of.
    double level_dbov() const;

  private:
    double noise();

    unsigned rate_;
    std::uint32_t seed_ = 0x2545'f491;
    bool is_described_ = false;
    double floor_ = 0, candidate_ = 1e12, described_ = 0;  ///< mean squares
    unsigned frames_ = 0;
    std::size_t order_ = 0;
    std::array<double, kMaxOrder> reflection_{}, lattice_{};
    double last_ = 0;
};

/// Mean square of samples.
double power(codec::ConstSamples pcm);

}  // namespace hushwire
