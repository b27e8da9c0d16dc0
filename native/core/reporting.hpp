// A leg's RTCP, both ways: when a report is due and what it says (RFC 3550 sections 6.2 to 6.4), and what the
// party's own reports tell: round trip, its losses and jitter, whether it hears us at all. Pure; one thread.
#pragma once
#include <array>
#include <limits>
#include <optional>

#include "core/prefetch.hpp"
#include "core/rtcp.hpp"

namespace hushwire {

/// What hushwire sends on the leg, as of its last packet.
struct SentStream {
    std::uint32_t ssrc = 0;
    std::uint32_t packets = 0, octets = 0;  ///< under this SSRC; octets of payload
    std::uint32_t last_timestamp = 0;
    std::int64_t last_us = 0;
    std::uint32_t clock_rate = 8000;
};

/// What the party says of the stream that it receives from hushwire.
struct RemoteView {
    std::uint8_t fraction_lost = 0;  ///< of 256
    std::uint32_t lost = 0;          ///< all in all, never below 0
    std::uint32_t jitter_us = 0;
    std::int64_t at_us = 0;  ///< when it was said
};

class Reporting {
  public:
    using Random = std::uint32_t (*)();
    static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

    explicit Reporting(Random random);

    /// The leg can be reported to from now on; said again, it changes nothing.
    void begin(std::int64_t now_us);
    std::int64_t due_us() const { return due_us_; }
    /// Asks for the memory of what can be asked here without a compound.
    void fetch() const { prefetch(this, 3 * sizeof(std::int64_t)); }

    /// Writes the compound that is due (`out` has rtcp::kMaxWritten bytes) and arms the next. Returns its
    /// length.
    std::size_t write(const SentStream& sent, Reception& reception, std::int64_t now_us, std::int64_t unix_us,
                      bool says_goodbye, Bytes out);
    /// Whether anything was ever sent, so that a goodbye is due at the end (section 6.3.7).
    bool has_written() const { return has_written_; }

    /// A valid compound of the party. `received` counts its RTP packets taken in so far.
    void hear(ConstBytes compound, const SentStream& sent, std::uint64_t received, std::int64_t now_us,
              std::int64_t unix_us);

    const std::optional<std::uint32_t>& round_trip_us() const { return round_trip_us_; }
    const std::optional<RemoteView>& remote() const { return remote_; }
    /// When the party last said itself that it sends no more than what came: a silence that it means.
    std::int64_t meant_silence_us() const { return meant_silence_us_; }
    /// The party reports, and does not hear what is being sent to it.
    bool is_deaf() const { return is_deaf_; }

  private:
    void arm(std::int64_t now_us, bool is_first);
    std::uint32_t timestamp_now(const SentStream& sent, std::int64_t now_us);
    void hear_block(const rtcp::Block& block, const SentStream& sent, std::int64_t now_us,
                    std::int64_t unix_us);
    void hear_sender(const rtcp::Heard& heard, std::uint64_t received, std::int64_t now_us);
    void judge_hearing(const rtcp::Heard& heard, const SentStream& sent);
    void hear_extended(const rtcp::Heard& heard, std::int64_t now_us, std::int64_t unix_us);
    bool note_trip(std::uint32_t last_sent, std::uint32_t delay, std::int64_t unix_us);
    void follow(const SentStream& sent);

    // What each turn by the clock asks for.
    std::int64_t due_us_ = kNever;
    std::int64_t meant_silence_us_ = -1;
    bool is_deaf_ = false;

    Random random_;
    std::array<std::byte, rtcp::kNameSize> name_{};
    bool has_written_ = false;
    // our reports
    std::uint32_t ssrc_ = 0;  // that the following is about
    std::uint32_t packets_at_report_ = 0, packets_at_report_before_ = 0;
    std::uint32_t report_timestamp_ = 0;
    std::int64_t report_us_ = -1;
    struct SentReport {
        std::uint32_t middle = 0;
    };
    std::array<SentReport, 8> sent_reports_{};
    std::size_t next_sent_report_ = 0;
    // the party's reports
    std::uint32_t heard_ssrc_ = 0, heard_middle_ = 0, heard_packets_ = 0;
    std::uint64_t received_at_heard_ = 0;
    std::int64_t heard_us_ = -1;
    std::optional<std::uint32_t> round_trip_us_;
    bool has_measured_trip_ = false;  // else it is the party's word
    // the party's extended reports
    bool speaks_extended_ = false;
    std::optional<rtcp::ReferenceDelay> their_reference_;
    std::int64_t their_reference_us_ = 0;
    std::optional<RemoteView> remote_;
    std::uint32_t lost_before_ = 0, lost_under_ssrc_ = 0;
    // hearing
    std::optional<std::uint32_t> heard_highest_;
    std::uint32_t packets_at_hearing_ = 0;
    unsigned reports_without_block_ = 0;
};

}  // namespace hushwire
