// Sequence numbers: making 16 bits into a count that only grows (plain RTP), and mapping what comes in to
// what goes out.
#pragma once
#include <cstdint>
#include <optional>

#include "core/replay.hpp"

namespace hushwire {

/// Which stream a packet belongs to: hushwire's count of keyings and restarts grows where the SSRC alone does
/// not tell. `origin` is the leg that it comes from, or what else makes packets.
struct StreamId {
    std::uint32_t ssrc = 0;
    std::uint32_t run = 0;
    std::uint8_t origin = 0;
    bool operator==(const StreamId&) const = default;
};

/// Follows the sequence of a plain RTP stream (RFC 3550 appendix A.1) and refuses what it has seen.
class SequenceTracker {
  public:
    struct Place {
        std::uint64_t index = 0;  ///< cycles * 2^16 + sequence
        std::uint32_t run =
            0;  ///< grows when the sender begins anew: another SSRC, or a jump that two packets confirm
    };
    /// Nothing for a duplicate, something too old, or the first packet of an unconfirmed jump.
    std::optional<Place> place(std::uint32_t ssrc, std::uint16_t sequence);

  private:
    Place begin(std::uint32_t ssrc, std::uint16_t sequence);

    ReplayWindow window_;
    std::uint32_t ssrc_ = 0, run_ = 0;
    std::uint32_t expected_after_jump_ = 0x10000;  // no sequence number equals it
};

/// The sequence and time stamps of the stream that hushwire sends on a leg. Gaps and order of the input are
/// kept, and no index is ever given twice, whatever the input does: each new run of input continues above the
/// highest index given.
class OutputMap {
  public:
    struct Mapped {
        std::uint64_t index = 0;
        std::uint32_t timestamp = 0;
        bool is_new_run = false;
    };

    /// The first index is below 2^15, so that no receiver can take the rollover counter for 1 (RFC 3711
    /// section 3.3.1).
    OutputMap(std::uint16_t first_sequence, std::uint32_t first_timestamp)
        : next_(first_sequence & 0x3fff), last_timestamp_(first_timestamp) {}

    /// `span`: how far the packet reaches beyond its time stamp (RFC 4733 section 2.5.1.1).
    /// Nothing where the packet belongs before the present run's beginning (late under an old key, or from
    /// before an SSRC's return).
    std::optional<Mapped> map(StreamId source, std::uint64_t index, std::uint32_t timestamp,
                              std::uint32_t clock_rate, std::int64_t now_us, std::uint32_t span = 0);

    /// Whatever comes next is another source's: the leg is in another bridge, whose sources are named anew.
    void begin_anew() { is_running_ = false; }

    /// When a packet of another source may follow without running into the time of the last one,
    /// microseconds.
    std::int64_t free_us() const { return has_sent_ ? last_us_ + kMinStepUs : 0; }

    /// Of the newest packet given, and when that was (for sender reports).
    std::uint32_t last_timestamp() const { return last_timestamp_; }
    std::int64_t last_us() const { return last_us_; }

  private:
    static constexpr std::int64_t kMinStepUs = 20'000;  // between the packets of two sources
    static constexpr std::uint64_t kMaxGap = 3000;      // RFC 3550 A.1 MAX_DROPOUT: one minute of packets

    bool is_running_ = false, has_sent_ = false;
    StreamId source_{};
    std::uint64_t base_in_ = 0, base_out_ = 0;
    std::uint64_t next_;  // one above the highest index given
    std::uint32_t timestamp_offset_ = 0;
    std::uint32_t last_timestamp_;
    std::int64_t last_us_ = 0;
};

}  // namespace hushwire
