// Adaptive jitter buffer: packets of one RTP stream go in as they arrive, and come out in order, each when it
// is due. How long they wait follows what the network does: the 98th percentile of what the last five seconds
// of packets were later than the fastest of them. All in time, not in packets, so packet lengths may change.
// Pure; bounded; no allocation after construction.
#pragma once
#include <array>
#include <vector>

#include "core/rtp.hpp"

namespace hushwire {

class JitterBuffer {
  public:
    struct Options {
        std::uint32_t clock_rate = 8000;
        std::size_t max_payload = 1276;
        std::int64_t min_delay_us = 10'000;
        std::int64_t first_delay_us = 40'000;  ///< at least, until the stream is known
        std::int64_t max_delay_us = 200'000;
    };
    struct Counters {
        std::uint64_t taken = 0;
        std::uint64_t late = 0;       ///< came when their place had been played
        std::uint64_t discarded = 0;  ///< duplicates, oversize, and what was skipped to catch up
        std::uint64_t lost = 0;       ///< times that a gap had to be concealed with later packets there
        std::uint64_t resets = 0;     ///< streams begun anew
    };
    enum class Kind {
        packet,  ///< play `payload`, then say how long it was with `advance`
        lost,   ///< conceal up to `missing` (clock units), then `advance`; `payload` is the packet behind the
                ///< gap
        empty,  ///< nothing there yet: conceal, then `hold`
        silence,  ///< the source pauses, or has not begun, or is gone
    };
    struct Next {
        Kind kind = Kind::silence;
        ConstBytes payload;
        std::uint8_t payload_type = 0;
        std::uint32_t missing = 0;
        bool is_start = false;  ///< first packet after silence
    };

    explicit JitterBuffer(const Options& options);

    void put(const rtp::Header& header, ConstBytes payload, std::int64_t now_us);
    /// What to play now. Valid until the next call of anything.
    Next next(std::int64_t now_us);
    /// So much of the stream, in clock units, has been decoded or concealed.
    void advance(std::uint32_t clock_units);
    /// So long was concealed with nothing known to be lost: the delay grows by it, or a loss is found to be
    /// covered.
    void hold(std::int64_t us);
    /// The source said that it pauses (comfort noise, DTX): nothing more is expected until it speaks.
    void pause() { is_paused_ = true; }
    /// How much later than needed the next sample is played when `waiting_us` of decoded audio are before it;
    /// negative where it is played too early. 0 while silent.
    std::int64_t excess_us(std::int64_t now_us, std::int64_t waiting_us) const;
    std::int64_t target_us() const { return target_us_; }
    bool is_playing() const { return is_playing_; }
    const Counters& counters() const { return counters_; }
    const Options& options() const { return options_; }
    /// The packet that follows without a gap is here.
    bool has_next() const;
    void reset();
    void restart(std::uint32_t clock_rate) {
        options_.clock_rate = clock_rate;
        reset();
    }

  private:
    static constexpr std::size_t kSlots = 64;      ///< packets, a power of two
    static constexpr std::size_t kTransits = 256;  ///< packets remembered: 5 s at 20 ms
    struct Slot {
        bool is_used = false;
        std::int64_t sequence = 0, timestamp = 0;
        std::uint16_t size = 0;
        std::uint8_t payload_type = 0;
    };

    std::int64_t to_us(std::int64_t units) const { return units * 1'000'000 / options_.clock_rate; }
    std::int64_t delay_us(std::int64_t now_us, std::int64_t timestamp) const {
        return now_us - to_us(timestamp) - base_us_;
    }
    ConstBytes payload(const Slot& slot) const;
    Slot* find(std::int64_t sequence);
    Slot* first_after(std::int64_t sequence);
    void note_transit(std::int64_t transit_us);
    void learn();
    Next play(Slot& slot, bool is_start);
    Next begin(std::int64_t now_us);
    void fall_silent();

    Options options_;
    std::vector<std::byte> bytes_;
    std::array<Slot, kSlots> slots_{};
    std::size_t used_ = 0;
    // the stream as it arrives
    bool has_stream_ = false;
    std::uint32_t ssrc_ = 0;
    std::int64_t newest_ = 0, newest_timestamp_ = 0;
    // what the network does
    std::array<std::int64_t, kTransits> transits_{}, sorted_{};
    std::size_t transit_count_ = 0, since_learnt_ = 0;
    std::int64_t base_us_ = 0, target_us_;
    // the stream as it is played
    bool is_playing_ = false, is_paused_ = false, has_played_ = false;
    std::int64_t next_ = 0, next_timestamp_ = 0, held_us_ = 0;
    std::int64_t floor_ = 0;  ///< no number below it is played
    Counters counters_;
};

}  // namespace hushwire
