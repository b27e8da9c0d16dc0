// What a leg hears by the clock and not by the arrival of somebody's packets: a prompt, or a mix.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>

#include "core/leg.hpp"

namespace hushwire {

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

/// Makes the packets of one leg's stream. One thread; pure; no allocation in `make`.
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
    /// What was made last could not be sent: the leg is not set, or may not be sent to.
    virtual void unsent(std::int64_t now_us) { (void)now_us; }
    /// Nothing of it was made yet, or nothing since a pause: `begin_at` puts the first packet off, so that it
    /// keeps its distance from the last one of whatever was heard before.
    virtual bool is_beginning() const { return false; }
    virtual void begin_at(std::int64_t at_us) { (void)at_us; }
    /// Nothing is made until `due_us`, and the leg hears meanwhile what it would hear without this.
    virtual bool is_pausing() const { return false; }
    /// The last packet was made, before the end or before a pause; its time lasts until `due_us`, and `make`
    /// makes nothing more.
    virtual bool is_over() const { return false; }
    /// What is told when it has ended; nothing where nobody wants to know.
    struct Told {
        std::uint32_t playback = 0;
        std::uint32_t sent_ms = 0;
    };
    virtual std::optional<Told> told() const { return std::nullopt; }
};

}  // namespace hushwire
