// The part of an SRTP index that is not sent: guessed from the 16 bits that are (RFC 3711 section 3.3.1 and
// appendix A).
#pragma once
#include <cstdint>
#include <optional>

namespace hushwire::srtp {

/// The rollover counter that makes the index nearest to the highest one seen. Nothing where that would lie
/// before the stream's beginning, or beyond its last index (2^48 - 1), after which the key is used up.
inline std::optional<std::uint32_t> guess_rollover(std::uint64_t highest, std::uint16_t sequence) {
    auto rollover = static_cast<std::uint32_t>(highest >> 16);
    int last = static_cast<std::uint16_t>(highest);
    if (last < 0x8000) {
        if (sequence - last > 0x8000) {
            if (rollover == 0) return std::nullopt;
            return rollover - 1;
        }
    } else if (last - 0x8000 > sequence) {
        if (rollover == UINT32_MAX) return std::nullopt;
        return rollover + 1;
    }
    return rollover;
}

}  // namespace hushwire::srtp
