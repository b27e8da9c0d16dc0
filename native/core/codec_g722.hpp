// G.722 (ITU-T G.722, 1988) at 64 kbit/s: two sub-bands of 4 kHz, each coded by ADPCM: 6 bits below, 2 above.
// 16 kHz audio, one byte for two samples; RTP counts 8,000 a second for it by an old mistake (RFC 3551
// section 4.5.2).
#pragma once
#include <array>

#include "core/codec.hpp"

namespace hushwire::codec::g722 {

/// State of one sub-band's adaptive predictor (section 3.6), in the Recommendation's names.
struct Band {
    int s = 0, sp = 0, sz = 0;
    std::array<int, 3> r{}, p{}, a{};
    std::array<int, 7> d{}, b{};
    int nb = 0, det = 0;

    /// Block 4: the predictor's next state from the quantised difference.
    void adapt(int difference);
};

class Decoder final : public codec::Decoder {
  public:
    Decoder();
    unsigned rate() const override { return 16'000; }
    std::size_t decode(ConstBytes payload, Samples out) override;
    std::size_t samples(ConstBytes payload) const override;

  private:
    Band low_, high_;
    std::array<int, 24> history_{};
};

class Encoder final : public codec::Encoder {
  public:
    Encoder();
    unsigned rate() const override { return 16'000; }
    /// An even number of samples.
    std::size_t encode(ConstSamples pcm, Bytes out) override;

  private:
    Band low_, high_;
    std::array<int, 24> history_{};
};

}  // namespace hushwire::codec::g722
