// RTCP on its way through (RFC 3550 section 6): reports pass with the SSRCs, sequences and time stamps that
// hushwire owns; names, goodbyes and application packets of one party stay hidden from the other.
#pragma once
#include <optional>

#include "core/bytes.hpp"
#include "core/sequence.hpp"

namespace hushwire::rtcp {

inline constexpr std::size_t kMaxCompound = 1400;
/// A translated compound packet is never longer: one report with 31 blocks, and one name.
inline constexpr std::size_t kMaxTranslated = 28 + 31 * 24 + 28;

struct View {
    std::uint32_t out_ssrc = 0;                       ///< what hushwire sends the other party as
    const OutputMap* forward = nullptr;               ///< from the sender of this packet to the other party
    std::uint32_t packets_sent = 0, octets_sent = 0;  ///< by hushwire under out_ssrc, octets of payload
    std::uint32_t reported_ssrc = 0;  ///< what hushwire sends this party as: its report blocks are about that
    const OutputMap* backward =
        nullptr;  ///< from the other party to the sender of this packet; null: drop report blocks
    ConstBytes canonical_name;  ///< 16 characters
};

struct Translated {
    std::size_t length = 0;                      ///< 0: nothing is to be passed on
    std::optional<std::uint32_t> reported_lost;  ///< cumulative loss that the party reports of our stream
};

/// True where every packet of the compound has a right version and length, and the first is a report
/// (section 6.1).
bool is_valid(ConstBytes compound);

/// `compound` is valid; `out` has kMaxTranslated bytes.
Translated translate(ConstBytes compound, const View& view, Bytes out);

}  // namespace hushwire::rtcp
