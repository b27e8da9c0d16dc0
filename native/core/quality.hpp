// How a connection sounds, by the E-model (ITU-T G.107): a rating R from delay, loss and codec, and the mean
// opinion score that people would give (narrow-band scale, conversational). All that is acoustic has
// G.107's default values, so a connection without impairment has R = 93.2 and MOS 4.41.
#pragma once
#include <cstdint>

namespace hushwire::quality {

/// What a codec costs by itself (Ie), how it stands loss (Bpl, the higher the better), and how far ahead it
/// looks.
struct Coding {
    double ie = 0, bpl = 25.1, look_ahead_ms = 0;
};
/// ITU-T G.113 appendix I: G.711 with concealment, random loss.
inline constexpr Coding kG711{0, 25.1, 0};
/// Wide-band codecs have no value on the narrow-band scale: no impairment by themselves is assumed, and a
/// resistance to loss below that of G.711 (G.722's sub-bands carry an error on) and at it (Opus).
inline constexpr Coding kG722{0, 15, 1.5}, kOpus{0, 25.1, 6.5};

struct Connection {
    double one_way_ms = 0;    ///< mouth to ear
    double loss_percent = 0;  ///< 0 .. 100
    double burst_ratio = 1;   ///< mean length of losses in a row, as a multiple of that of random loss
    Coding coding = kG711;
};

/// R of G.107 section 7.1: 0 .. 100, below 50 is not to be had. (Beyond the range that the model was made
/// for, the nearest end is given.)
double rating(const Connection& connection);
/// G.107 annex B: 1 .. 4.5.
double opinion(double rating);

/// What a listener waits for beside the network: packing 20 ms, looking ahead, and a play-out buffer that
/// holds twice the jitter (20 .. 200 ms).
double listening_delay_ms(const Coding& coding, double jitter_ms);

/// G.107 section 7.4 from counts: how many packets were lost, in how many rows, out of how many.
double burst_ratio(std::uint64_t lost, std::uint64_t bursts, std::uint64_t expected);

}  // namespace hushwire::quality
