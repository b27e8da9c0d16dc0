// What a leg counts. Reception statistics after RFC 3550 appendices A.3 and A.8.
#pragma once
#include <cstdint>
#include <optional>

#include "core/sequence.hpp"

namespace hushwire {

struct Counters {
    std::uint64_t packets_received = 0, bytes_received = 0, packets_sent = 0, bytes_sent = 0;
    std::uint64_t dropped_replay = 0, dropped_tag = 0, dropped_source = 0, dropped_malformed = 0;
    std::uint64_t dropped_disabled = 0;  ///< the leg is not to be listened to
    std::uint64_t dropped_unsent = 0;    ///< taken in on this leg, but the other could not send it
    std::uint64_t dropped_budget = 0;    ///< above the leg's allowance of packets
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

class Reception {
  public:
    /// `index` is the extended sequence number within the stream.
    void received(StreamId stream, std::uint64_t index, std::uint32_t timestamp, std::uint32_t clock_rate,
                  std::int64_t now_us) {
        if (!is_running_ || stream != stream_) {
            expected_before_ += is_running_ ? expected_in_run() : 0;
            stream_ = stream;
            base_ = highest_ = index;
            is_running_ = true;
            has_transit_ = false;
        }
        if (index > highest_) highest_ = index;
        if (index < base_) base_ = index;
        received_++;
        auto arrival = static_cast<std::uint32_t>(now_us * clock_rate / 1'000'000);
        auto transit = arrival - timestamp;
        if (has_transit_
            && timestamp != last_timestamp_) {  // packets of one DTMF event share their time stamp
            auto difference = static_cast<std::int32_t>(transit - last_transit_);
            auto magnitude =
                difference < 0 ? -static_cast<double>(difference) : static_cast<double>(difference);
            jitter_ += (magnitude - jitter_) / 16;  // A.8
        }
        if (!has_transit_ || timestamp != last_timestamp_) last_transit_ = transit;
        has_transit_ = true;
        last_timestamp_ = timestamp;
        clock_rate_ = clock_rate;
    }
    std::uint64_t lost() const {
        auto expected = expected_before_ + (is_running_ ? expected_in_run() : 0);
        return expected > received_ ? expected - received_ : 0;
    }
    std::uint32_t jitter_us() const { return static_cast<std::uint32_t>(jitter_ * 1e6 / clock_rate_); }

  private:
    std::uint64_t expected_in_run() const { return highest_ - base_ + 1; }

    std::uint64_t base_ = 0, highest_ = 0, received_ = 0, expected_before_ = 0;
    StreamId stream_{};
    std::uint32_t last_transit_ = 0, last_timestamp_ = 0, clock_rate_ = 8000;
    double jitter_ = 0;
    bool is_running_ = false, has_transit_ = false;
};

/// One leg as reported to the controller.
struct LegReport {
    Counters counters;
    std::uint64_t lost = 0;
    std::uint32_t jitter_us = 0;
    std::optional<std::uint64_t> silent_ms;
    std::optional<std::uint32_t> remote_lost;
    std::optional<StunCounters> stun;  ///< of a leg with ICE
};

}  // namespace hushwire
