// Audio codecs as encoder and decoder objects: made when a leg is set, then free of allocation. Samples are
// 16-bit mono PCM.
#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "core/bytes.hpp"

namespace hushwire::codec {

using Samples = std::span<std::int16_t>;
using ConstSamples = std::span<const std::int16_t>;

enum class Name : std::uint8_t {
    pcmu = 1,
    pcma = 2,
    g722 = 3,
    opus = 4,
    comfort_noise = 5,    ///< RFC 3389
    telephone_event = 6,  ///< RFC 4733
};

/// One line of what was agreed for a leg.
struct Format {
    Name name = Name::pcmu;
    std::uint8_t payload_type = 0;
    std::uint8_t ptime_ms = 20;  ///< what the party wishes to receive
    bool wants_fec = false;  ///< useinbandfec (RFC 7587): the party can use in-band copies of lost packets
    bool may_pause = false;  ///< usedtx (RFC 7587): the party would like silence to be left out
    std::uint32_t clock_rate = 8000;  ///< of time stamps; 8,000 for G.722 too (RFC 3551 section 4.5.2)
    bool operator==(const Format&) const = default;

    bool is_audio() const { return name != Name::comfort_noise && name != Name::telephone_event; }
};

/// Samples per second that a codec carries at most: above it there is nothing to be heard.
unsigned bandwidth_rate(Name name);

inline constexpr unsigned kMaxPacketMs = 120;  ///< of audio in one packet (RFC 6716 section 3.2.5)
inline constexpr std::size_t kMaxPacketSamples = 48 * kMaxPacketMs;
inline constexpr std::size_t kMaxPayload = 1276;  ///< one Opus frame of 20 ms at its highest rate

class Decoder {
  public:
    virtual ~Decoder() = default;
    virtual unsigned rate() const = 0;
    /// The samples of one packet, written to the start of `out` (room for kMaxPacketMs); how many, 0 where
    /// the payload is none of this codec.
    virtual std::size_t decode(ConstBytes payload, Samples out) = 0;
    /// How many samples the payload would give, without decoding it; 0 where it is none of this codec.
    virtual std::size_t samples(ConstBytes payload) const = 0;
    /// The lost packet before `next` from the copy that `next` carries, `out.size()` samples; false where
    /// there is none.
    virtual bool recover(ConstBytes next, Samples out) {
        (void)next, (void)out;
        return false;
    }
    /// The codec's own guess of what was lost; false where it has none (see Concealer).
    virtual bool conceal(Samples out) {
        (void)out;
        return false;
    }
};

class Encoder {
  public:
    virtual ~Encoder() = default;
    virtual unsigned rate() const = 0;
    /// The payload of these samples, written to the start of `out`; its length, 0 where nothing is to be
    /// sent.
    virtual std::size_t encode(ConstSamples pcm, Bytes out) = 0;
    /// What the listener last reported as lost, in percent: how much is spent on in-band copies.
    virtual void expect_loss(unsigned percent) { (void)percent; }
};

/// `rate` is that of the samples wanted; codecs with one rate of their own ignore it. Nothing for formats
/// that are no audio.
std::unique_ptr<Decoder> make_decoder(const Format& format, unsigned rate);
std::unique_ptr<Encoder> make_encoder(const Format& format, unsigned rate);

}  // namespace hushwire::codec
