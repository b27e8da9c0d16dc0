// What a leg hears by the clock and not by the arrival of somebody's packets: a prompt, or a mix.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>

#include "core/leg.hpp"

namespace hushwire {

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

/// Makes the packets of one leg's stream. One thread; pure; no allocation in `make` or `heard`.
class Playout {
  public:
    struct Made {
        Outgoing packet;
        std::size_t length = 0;  ///< bytes of payload written; 0: nothing is sent this time
    };

    virtual ~Playout() = default;
    /// When the next packet is due; kNever where it has ended.
    virtual std::int64_t due_us() const = 0;
    /// The packet that is due: its payload into `payload`. Moves `due_us` on.
    virtual Made make(std::int64_t now_us, Bytes payload) = 0;
    /// A plain packet of a leg that this one hears.
    virtual void heard(unsigned leg, const rtp::Header& header, std::uint64_t index, ConstBytes plain,
                       std::int64_t now_us) {
        (void)leg, (void)header, (void)index, (void)plain, (void)now_us;
    }
};

}  // namespace hushwire
