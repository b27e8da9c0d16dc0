// RTCP compounds (RFC 3550 section 6): what a party says is read, and what hushwire says is written. Nothing
// of one party's RTCP is passed on to another: each leg has reports of its own (docs/quality.md).
#pragma once
#include <optional>

#include "core/bytes.hpp"
#include "core/statistics.hpp"

namespace hushwire::rtcp {

inline constexpr std::size_t kMaxCompound = 1400;
/// A compound of ours is never longer: sender report with one block, one name, an extended report with both
/// of its blocks, a goodbye.
inline constexpr std::size_t kMaxWritten = 28 + 24 + 28 + 8 + 12 + 16 + 8;
inline constexpr std::size_t kNameSize = 16;

/// Section 6.4.1: the sender's clocks at one instant, and its counts.
struct SenderInfo {
    std::uint64_t ntp = 0;
    std::uint32_t timestamp = 0, packets = 0, octets = 0;
};

/// What a report says of a stream, with the receiver's word on the sender's last report.
struct Block : ReceptionReport {
    std::uint32_t last_sr = 0;              ///< middle 32 bits of its NTP time; 0: none came
    std::uint32_t delay_since_last_sr = 0;  ///< 1/65,536 s
};

/// How long ago a party's receiver reference time came (RFC 3611 section 4.5).
struct ReferenceDelay {
    std::uint32_t ssrc = 0;            ///< whose reference time
    std::uint32_t last_reference = 0;  ///< middle 32 bits of it
    std::uint32_t delay = 0;           ///< 1/65,536 s
};

/// What a party measured of our stream (RFC 3611 section 4.7), as far as it is made use of.
struct VoipMetrics {
    std::uint8_t loss_rate = 0, discard_rate = 0;  ///< of 256
    std::uint16_t round_trip_ms = 0;               ///< 0: it does not know
};

/// What a party's compound says that concerns us.
struct Heard {
    std::uint32_t ssrc = 0;  ///< of the sender report
    std::optional<SenderInfo> sender;
    std::optional<Block> about_us;  ///< the last block about our stream
    bool has_report = false;        ///< a sender or receiver report was there at all
    // Extended reports (RFC 3611)
    bool has_extended = false;
    std::uint32_t extended_ssrc = 0;           ///< who sent them
    std::optional<std::uint32_t> reference;    ///< middle 32 bits of the party's receiver reference time
    std::optional<ReferenceDelay> since_ours;  ///< the last block about our own reference time
    std::optional<VoipMetrics> metrics;        ///< the last block about our stream
};

/// True where every packet of the compound has a right version and length, and the first is a report
/// (section 6.1) or, with `may_be_reduced` (RFC 5506), any RTCP packet.
bool is_valid(ConstBytes compound, bool may_be_reduced);

/// `compound` is valid. Of extended reports the three blocks above are read; a block that does not fit ends
/// them. Goodbyes, names, feedback and application packets are passed over: a call ends by
/// signalling, never by RTCP.
Heard read(ConstBytes compound, std::uint32_t our_ssrc);

struct Compound {
    std::uint32_t ssrc = 0;
    std::optional<SenderInfo> sender;
    std::optional<Block> block;
    ConstBytes name;                         ///< CNAME, kNameSize characters
    std::optional<std::uint64_t> reference;  ///< our receiver reference time, NTP
    std::optional<ReferenceDelay> since_theirs;
    bool says_goodbye = false;
};

/// Writes the compound; `out` has kMaxWritten bytes. Returns its length.
std::size_t write(const Compound& compound, Bytes out);

/// 64 bits of NTP time (RFC 5905 section 6) of Unix microseconds.
std::uint64_t ntp_of(std::int64_t unix_us);
/// What reports carry of it.
inline std::uint32_t middle(std::uint64_t ntp) {
    return static_cast<std::uint32_t>(ntp >> 16);
}

}  // namespace hushwire::rtcp
