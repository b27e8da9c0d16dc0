// G.711 (ITU-T G.711, as computed by the ITU's own G.191 software): mu-law and A-law, one byte a sample at
// 8 kHz.
#pragma once
#include "core/codec.hpp"

namespace hushwire::codec::g711 {

enum class Law : std::uint8_t { mu, a };

/// Samples are taken as 16-bit: the law's 14 (mu) or 13 (A) bits are their upper ones.
std::uint8_t compress(Law law, std::int16_t sample);
std::int16_t expand(Law law, std::uint8_t code);

class Decoder final : public codec::Decoder {
  public:
    explicit Decoder(Law law) : law_(law) {}
    unsigned rate() const override { return 8000; }
    std::size_t decode(ConstBytes payload, Samples out) override;
    std::size_t samples(ConstBytes payload) const override;

  private:
    Law law_;
};

class Encoder final : public codec::Encoder {
  public:
    explicit Encoder(Law law) : law_(law) {}
    unsigned rate() const override { return 8000; }
    std::size_t encode(ConstSamples pcm, Bytes out) override;

  private:
    Law law_;
};

}  // namespace hushwire::codec::g711
