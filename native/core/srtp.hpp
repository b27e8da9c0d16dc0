// SRTP and SRTCP for one direction of one leg (RFC 3711, RFC 7714). Tags are always checked, replays always
// refused, and the sender refuses to protect an index twice. No clock, no sockets; one thread.
#pragma once
#include <array>
#include <cstdint>

#include "core/bytes.hpp"
#include "core/prefetch.hpp"
#include "core/replay.hpp"
#include "core/srtp_transform.hpp"

namespace hushwire::srtp {

enum class Outcome : std::uint8_t { ok, malformed, replay, bad_tag };

struct Opened {
    Outcome outcome = Outcome::malformed;
    std::size_t length = 0;   ///< of the plain packet
    std::uint64_t index = 0;  ///< RTP: rollover counter * 2^16 + sequence; RTCP: the SRTCP index
    bool is_newest = false;   ///< no packet of this stream with a higher index came before
};

class alignas(kLine) Receiver {
  public:
    /// `previous` (may be null) tells the rollover counters of streams that go on after a re-keying
    /// (section 3.3.1).
    Receiver(const MasterKey& master, const Receiver* previous);

    /// Opens in place; a packet that is not `ok` stays as it was. `header_length` as `rtp::parse` found it.
    Opened open_rtp(Bytes packet, std::size_t header_length);
    Opened open_rtcp(Bytes packet);
    /// Whether the tag verifies, and nothing else: no replay window moves, no stream begins. The copy is
    /// opened in place.
    bool verifies_rtp(Bytes copy, std::size_t header_length);
    const MasterKey& master() const { return master_; }
    /// Asks for the memory that a packet of RTP takes (core/prefetch.hpp).
    void fetch() const {
        prefetch(this, sizeof master_ + sizeof rtp_);
        prefetch(streams_.data(), sizeof streams_[0]);
    }

  private:
    struct Stream {
        std::uint32_t ssrc = 0;
        bool is_used = false;
        std::uint32_t hinted_rollover = 0;
        ReplayWindow rtp;
        ReplayWindow rtcp;
    };
    // Forgetting a stream would let its packets be replayed, so further streams are refused instead.
    static constexpr std::size_t kMaxStreams = 12;

    Stream* find(std::uint32_t ssrc);
    Stream* add(std::uint32_t ssrc);
    bool is_full() const { return streams_.back().is_used; }
    std::optional<std::uint32_t> open_first(Bytes packet, std::size_t header_length);

    MasterKey master_;
    Transform rtp_, rtcp_;
    std::array<Stream, kMaxStreams> streams_{};
    std::array<std::pair<std::uint32_t, std::uint32_t>, kMaxStreams> hints_{};  // ssrc, rollover counter
    std::size_t hint_count_ = 0;
};

class alignas(kLine) Sender {
  public:
    explicit Sender(const MasterKey& master);

    /// Protects in place; `buffer` has room for kMaxTag bytes after `length`. Returns the new length, or 0
    /// where the index was used before (then nothing was done).
    std::size_t protect_rtp(Bytes buffer, std::size_t length, std::size_t header_length, std::uint64_t index);
    /// Likewise; needs kMaxRtcpTrailer bytes of room. 0 when all 2^31 indexes are used up.
    std::size_t protect_rtcp(Bytes buffer, std::size_t length);
    const MasterKey& master() const { return master_; }
    void fetch() const {
        prefetch(this, sizeof master_ + sizeof rtp_);
        prefetch(&used_, sizeof used_);
    }

  private:
    MasterKey master_;
    Transform rtp_, rtcp_;
    ReplayWindow used_;
    std::uint32_t next_rtcp_index_ = 0;
};

}  // namespace hushwire::srtp
