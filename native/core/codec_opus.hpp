// Opus (RFC 6716, RTP by RFC 7587) through libopus, whose state lies in memory taken once, at construction.
#pragma once
#include <vector>

#include "core/codec.hpp"

struct OpusDecoder;
struct OpusEncoder;

namespace hushwire::codec::opus {

/// Mono of any rate that Opus knows: 8, 12, 16, 24 or 48 kHz, however the stream was encoded.
class Decoder final : public codec::Decoder {
  public:
    explicit Decoder(unsigned rate);
    unsigned rate() const override { return rate_; }
    std::size_t decode(ConstBytes payload, Samples out) override;
    std::size_t samples(ConstBytes payload) const override;
    bool recover(ConstBytes next, Samples out) override;
    bool conceal(Samples out) override;

  private:
    OpusDecoder* state() { return reinterpret_cast<OpusDecoder*>(memory_.data()); }

    unsigned rate_;
    std::vector<std::max_align_t> memory_;
};

class Encoder final : public codec::Encoder {
  public:
    /// DTX only where the party asked for it: a stream with gaps hides a dead source.
    Encoder(unsigned rate, bool with_fec, bool with_dtx);
    unsigned rate() const override { return rate_; }
    std::size_t encode(ConstSamples pcm, Bytes out) override;
    void expect_loss(unsigned percent) override;

  private:
    OpusEncoder* state() { return reinterpret_cast<OpusEncoder*>(memory_.data()); }

    unsigned rate_, loss_percent_ = 0;
    std::vector<std::max_align_t> memory_;
};

}  // namespace hushwire::codec::opus
