// Which leg a datagram on a shared port belongs to. Pure: no sockets, no clock; what the packets' side calls
// never allocates.
//
// A leg is found by the address that its packets were proven to come from. Until then, or where that fails,
// the datagram names candidates: the legs whose party announced this address, those that sent with its SSRC
// before, and at most eight pending ones whose signalling comes from this IP address; the caller tries their
// keys and says which one it was (`settle`). STUN finds its leg by the user name that we gave out. A leg of
// plain RTP can't be proven, so it owns the address that its SDP announced, alone.
#pragma once
#include <array>
#include <optional>
#include <vector>

#include "core/address.hpp"
#include "core/hash.hpp"
#include "core/seat_table.hpp"

namespace hushwire {

/// How the party's packets are known.
enum class FoundBy : std::uint8_t {
    address = 1,  ///< the announced address, which no other leg may have
    key = 2,      ///< the SRTP tag verifies under the leg's key
    name = 3,     ///< ICE: a binding request with the leg's user name and password
};

class Demux {
  public:
    static constexpr unsigned kMaxPending = 8;      ///< legs of one signalling address that are not found yet
    static constexpr unsigned kMaxCandidates = 24;  ///< by announced address, SSRC, signalling address

    struct Candidates {
        std::array<Seat, kMaxCandidates> seats{};
        unsigned count = 0;
        const Seat* begin() const { return seats.data(); }
        const Seat* end() const { return seats.data() + count; }
    };

    explicit Demux(const HashKey& key);

    // The control side.
    /// A seat for a leg; nothing where eight legs of that signalling address are
    /// pending already (they could not be told apart at a bounded price). May allocate.
    std::optional<Seat> add(FoundBy way, const std::optional<Ip>& signalling);
    /// What signalling says of the party; false, and nothing changed, where another leg owns that address.
    /// `has_key`: the leg's packets can be proven.
    bool announce(Seat seat, const Address& remote, bool has_key);
    /// False where the address can't be announced as above. For asking before anything else is changed.
    bool may_announce(Seat seat, const Address& remote, bool has_key) const;
    /// STUN with this local user name fragment (RFC 8445 section 5.3) is for the leg; a new name replaces the
    /// old.
    void name(Seat seat, ConstBytes fragment);
    void remove(Seat seat);
    std::size_t size() const { return seats_.size() - free_.size(); }

    // The packets' side.
    /// Whose packets come from here; kNoSeat where nobody's were proven to.
    Seat find(const Address& from) const { return by_address_.find(from); }
    void fetch(const Address& from) const { by_address_.fetch(from); }
    /// Who may be meant by an RTP packet from here, without the seat that was tried already.
    Candidates candidates(const Address& from, std::uint32_t ssrc, Seat tried) const;
    /// The leg with this local user name fragment.
    Seat named(ConstBytes fragment) const;
    /// The leg's packets are proven to come from here. An address that another leg holds goes over to this
    /// one only where `may_take_over`; false where it stays. A leg keeps its last four addresses.
    bool settle(Seat seat, const Address& from, bool may_take_over);
    /// The leg sends with this SSRC: where its address changes it is tried first.
    void note_ssrc(Seat seat, std::uint32_t ssrc);
    bool is_pending(Seat seat) const { return seats_[seat].pending_at.has_value(); }

  private:
    static constexpr std::size_t kAddresses = 4, kSsrcs = 2, kMaxPerKey = 8;

    struct Place {
        bool is_used = false;
        FoundBy way = FoundBy::address;
        std::optional<Ip> pending_at;      // in by_signalling_ under this
        std::optional<Address> owned;      // in by_address_, never given away while announced
        std::optional<Address> announced;  // in by_announced_
        std::array<std::optional<Address>, kAddresses> proven;  // in by_address_, newest at `next_proven` - 1
        std::size_t next_proven = 0;
        std::array<std::optional<std::uint32_t>, kSsrcs> ssrcs;
        std::size_t next_ssrc = 0;
        std::optional<std::uint64_t> name;
    };

    bool owns(Seat seat, const Address& address) const { return seats_[seat].owned == address; }
    void forget_address(Seat seat, Address address);
    void no_longer_pending(Seat seat);

    HashKey key_;
    std::vector<Place> seats_;
    std::vector<Seat> free_;
    SeatTable<Address> by_address_, by_announced_;
    SeatTable<std::uint32_t> by_ssrc_;
    SeatTable<Ip> by_signalling_;
    SeatTable<std::uint64_t> by_name_;
};

/// The part of a STUN message's USERNAME before the colon (RFC 8445 section 7.2.2: the receiver's fragment),
/// or nothing where there is none. Nothing is verified here.
std::optional<ConstBytes> stun_name(ConstBytes packet);

}  // namespace hushwire
