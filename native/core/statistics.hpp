// What a leg counts. Reception statistics after RFC 3550 appendices A.3 and A.8; the report block about a
// stream (section 6.4.1); and how its losses lie, in rows or alone (for G.107's burst ratio).
#pragma once
#include <algorithm>
#include <cstdint>
#include <optional>

#include "core/sequence.hpp"

namespace hushwire {

struct Counters {
    std::uint64_t packets_received = 0, bytes_received = 0, packets_sent = 0, bytes_sent = 0;
    std::uint64_t dropped_replay = 0, dropped_tag = 0, dropped_source = 0, dropped_malformed = 0;
    std::uint64_t dropped_disabled = 0;     ///< the leg is not to be listened to
    std::uint64_t dropped_unsent = 0;       ///< taken in on this leg, but the other could not send it
    std::uint64_t dropped_budget = 0;       ///< above the leg's allowance of packets
    std::uint64_t dropped_rtcp_budget = 0;  ///< above its allowance of RTCP
    std::uint64_t rtcp_received = 0, rtcp_sent = 0;
    std::uint64_t dropped_unchecked = 0;  ///< media from an address without a valid ICE check
    std::uint64_t dropped_unkeyed = 0;    ///< media on a DTLS leg before its keys came
    std::uint64_t dtls_received = 0, dtls_sent = 0;
    std::uint64_t dtls_refused = 0;  ///< from an address that may not begin a handshake (yet)
    std::uint64_t dtls_limited = 0;  ///< more than is passed up
};

/// What an ICE agent counts.
struct StunCounters {
    std::uint64_t received = 0;  ///< datagrams that look like STUN
    std::uint64_t answered = 0;
    std::uint64_t refused = 0;   ///< malformed, no fingerprint, foreign name, wrong password
    std::uint64_t limited = 0;   ///< more than are answered
    std::uint64_t repeated = 0;  ///< transaction ids that came before: retransmitted or replayed
};

/// What a receiver says of a stream, in the units of the wire.
struct ReceptionReport {
    std::uint32_t ssrc = 0;
    std::uint8_t fraction_lost = 0;  ///< of 256, since the report before
    std::int32_t cumulative_lost = 0;
    std::uint32_t highest = 0;  ///< extended sequence
    std::uint32_t jitter = 0;   ///< units of the RTP clock
};

class Reception {
  public:
    /// Counts over all streams of the leg.
    struct Totals {
        std::uint64_t expected = 0, received = 0;
        std::uint64_t settled_lost = 0,
                      bursts = 0;  ///< behind the last 64 packets, where nothing comes any more
        std::uint64_t lost() const { return expected > received ? expected - received : 0; }
    };

    /// One packet that is neither a duplicate nor refused. `index` is the extended sequence number within the
    /// stream.
    void received(StreamId stream, std::uint64_t index, std::uint32_t timestamp, std::uint32_t clock_rate,
                  std::int64_t now_us) {
        bool is_next = index == highest_ + 1;
        if (!is_running_ || stream != stream_) {
            begin(stream, index);
        } else if (index > highest_) {
            advance(index - highest_);
            highest_ = index;
        } else {
            if (highest_ - index < kWindow) seen_ |= std::uint64_t{1} << (highest_ - index);
            if (index < base_) base_ = index;
        }
        received_++;
        follow_jitter(timestamp, clock_rate, now_us, is_next);
    }

    Totals totals() const {
        return {expected_before_ + (is_running_ ? highest_ - base_ + 1 : 0), received_, settled_lost_,
                bursts_};
    }
    std::uint64_t lost() const { return totals().lost(); }
    std::uint32_t jitter_us() const { return static_cast<std::uint32_t>(jitter_ * 1e6 / clock_rate_); }
    /// True once the sender has left out packets while nothing was to be said (a jump of its clock without
    /// one in sequence): its silence says nothing about the network.
    bool has_paused() const { return has_paused_; }

    /// About the present stream; nothing where none came since the last report (section 6.4). The interval of
    /// the fraction ends here.
    std::optional<ReceptionReport> take_report();

  private:
    static constexpr unsigned kWindow = 64;

    void begin(StreamId stream, std::uint64_t index);
    /// The window moves on: what falls out of it has come or is lost.
    void advance(std::uint64_t steps) {
        if (steps == 1) {
            settle((seen_ >> (kWindow - 1)) != 0);
            seen_ = seen_ << 1 | 1;
        } else {
            advance_far(steps);
        }
    }
    void settle(bool has_come) {
        if (!has_come) {
            settled_lost_++;
            bursts_ += was_settled_come_;
        }
        was_settled_come_ = has_come;
    }
    void advance_far(std::uint64_t steps);
    void follow_jitter(std::uint32_t timestamp, std::uint32_t clock_rate, std::int64_t now_us, bool is_next) {
        auto arrival = static_cast<std::uint32_t>(now_us * clock_rate / 1'000'000);
        auto transit = arrival - timestamp;
        auto step = timestamp - last_timestamp_;
        if (step == 0 && has_transit_) return;  // packets of one DTMF event share their time stamp
        if (has_transit_) {
            auto difference = static_cast<std::int32_t>(transit - last_transit_);
            auto magnitude =
                difference < 0 ? -static_cast<double>(difference) : static_cast<double>(difference);
            // A clock that was set anew is no jitter.
            if (magnitude < clock_rate) jitter_ += (magnitude - jitter_) / 16;  // A.8
            has_paused_ |= is_next && step > clock_rate / kPauseShare && step < clock_rate * kMaxPauseS;
        }
        last_transit_ = transit;
        has_transit_ = true;
        last_timestamp_ = timestamp;
        clock_rate_ = clock_rate;
    }

    /// No packet of a voice party is longer than a fifth of a second.
    static constexpr std::uint32_t kPauseShare = 5, kMaxPauseS = 600;

    std::uint64_t base_ = 0, highest_ = 0, received_ = 0, expected_before_ = 0;
    std::uint64_t received_before_ = 0;  // when the present stream began
    std::uint64_t reported_expected_ = 0,
                  reported_received_ = 0;  // of the present stream, in the report before
    std::uint64_t settled_lost_ = 0, bursts_ = 0;
    std::uint64_t seen_ = ~std::uint64_t{0};  // bit n: highest - n has come
    StreamId stream_{};
    std::uint32_t last_transit_ = 0, last_timestamp_ = 0, clock_rate_ = 8000;
    double jitter_ = 0;
    bool is_running_ = false, has_transit_ = false, was_settled_come_ = true, has_paused_ = false;
};

/// What became of a leg's packets where they were decoded.
struct VoiceReport {
    std::uint64_t concealed_ms = 0, recovered_ms = 0;  ///< guessed; taken from in-band copies
    std::uint64_t late = 0;
    std::int64_t delay_us = 0;  ///< the jitter buffer's target
};

/// So much speech was heard, and so long ago the last of it (or since it is listened, where there was none).
struct SpeechReport {
    std::uint64_t speech_ms = 0, quiet_ms = 0;
};

}  // namespace hushwire
