#include "core/demux.hpp"

#include <algorithm>

#include "core/stun.hpp"

namespace hushwire {

Demux::Demux(const HashKey& key)
    : key_(key), by_address_(key), by_announced_(key), by_ssrc_(key), by_signalling_(key), by_name_(key) {}

std::optional<Seat> Demux::add(FoundBy way, const std::optional<Ip>& signalling) {
    bool is_pending = way == FoundBy::key && signalling;
    if (is_pending && by_signalling_.count(*signalling) >= kMaxPending) return std::nullopt;
    if (free_.empty()) {
        free_.push_back(static_cast<Seat>(seats_.size()));
        seats_.emplace_back();
        auto legs = seats_.size();
        by_address_.reserve(legs * (kAddresses + 1));
        by_announced_.reserve(legs);
        by_ssrc_.reserve(legs * kSsrcs);
        by_signalling_.reserve(legs);
        by_name_.reserve(legs);
    }
    auto seat = free_.back();
    free_.pop_back();
    auto& place = seats_[seat];
    place.is_used = true;
    place.way = way;
    if (is_pending) {
        place.pending_at = *signalling;
        by_signalling_.insert(*signalling, seat);
    }
    return seat;
}

bool Demux::may_announce(Seat seat, const Address& remote, bool has_key) const {
    if (!remote.is_sendable()) return true;
    const auto& place = seats_[seat];
    if (place.way == FoundBy::name || (place.way == FoundBy::key && has_key)) return true;
    auto holder = find(remote);
    return holder == kNoSeat || holder == seat;
}

bool Demux::announce(Seat seat, const Address& remote, bool has_key) {
    if (!may_announce(seat, remote, has_key)) return false;
    auto& place = seats_[seat];
    if (place.way == FoundBy::name) return true;
    if (place.announced) by_announced_.erase(*place.announced, seat);
    place.announced.reset();
    if (place.owned && place.owned != remote) forget_address(seat, *place.owned);
    bool must_own = place.way == FoundBy::address || !has_key;
    if (!must_own && place.owned) forget_address(seat, *place.owned);
    if (!remote.is_sendable()) return true;
    if (must_own) {
        if (find(remote) != seat) by_address_.insert(remote, seat);
        for (auto& proven : place.proven)
            if (proven == remote) proven.reset();
        place.owned = remote;
        no_longer_pending(seat);
    } else if (by_announced_.count(remote) < kMaxPerKey) {
        by_announced_.insert(remote, seat);
        place.announced = remote;
    }
    return true;
}

void Demux::name(Seat seat, ConstBytes fragment) {
    auto& place = seats_[seat];
    if (place.name) by_name_.erase(*place.name, seat);
    place.name = key_(fragment);
    by_name_.insert(*place.name, seat);
}

void Demux::remove(Seat seat) {
    auto& place = seats_[seat];
    if (!place.is_used) return;
    no_longer_pending(seat);
    if (place.owned) forget_address(seat, *place.owned);
    for (auto proven : place.proven)
        if (proven) forget_address(seat, *proven);
    if (place.announced) by_announced_.erase(*place.announced, seat);
    for (auto ssrc : place.ssrcs)
        if (ssrc) by_ssrc_.erase(*ssrc, seat);
    if (place.name) by_name_.erase(*place.name, seat);
    place = {};
    free_.push_back(seat);
}

Demux::Candidates Demux::candidates(const Address& from, std::uint32_t ssrc, Seat tried) const {
    Candidates found;
    auto add = [&](Seat seat) {
        // What is known to be somebody's by name alone is never tried: ICE comes first (RFC 8445).
        bool is_new = seat != tried && std::find(found.begin(), found.end(), seat) == found.end();
        if (is_new && seats_[seat].way != FoundBy::name) found.seats[found.count++] = seat;
        return found.count < kMaxCandidates;
    };
    by_announced_.each(from, add);
    by_ssrc_.each(ssrc, add);
    by_signalling_.each(from.ip, add);
    return found;
}

Seat Demux::named(ConstBytes fragment) const {
    return by_name_.size() ? by_name_.find(key_(fragment)) : kNoSeat;
}

bool Demux::settle(Seat seat, const Address& from, bool may_take_over) {
    auto holder = find(from);
    if (holder == seat) {
        no_longer_pending(seat);
        return true;
    }
    if (holder != kNoSeat) {
        if (!may_take_over || owns(holder, from)) return false;
        forget_address(holder, from);
    }
    auto& place = seats_[seat];
    auto& oldest = place.proven[place.next_proven];
    place.next_proven = (place.next_proven + 1) % kAddresses;
    if (oldest) forget_address(seat, *oldest);
    if (!by_address_.insert(from, seat)) return false;
    oldest = from;
    no_longer_pending(seat);
    return true;
}

void Demux::note_ssrc(Seat seat, std::uint32_t ssrc) {
    auto& place = seats_[seat];
    if (std::ranges::find(place.ssrcs, std::optional(ssrc)) != place.ssrcs.end()) return;
    if (by_ssrc_.count(ssrc) >= kMaxPerKey) return;
    auto& oldest = place.ssrcs[place.next_ssrc];
    place.next_ssrc = (place.next_ssrc + 1) % kSsrcs;
    if (oldest) by_ssrc_.erase(*oldest, seat);
    oldest.reset();
    if (by_ssrc_.insert(ssrc, seat)) oldest = ssrc;
}

void Demux::forget_address(Seat seat, Address address) {
    by_address_.erase(address, seat);
    auto& place = seats_[seat];
    if (place.owned == address) place.owned.reset();
    for (auto& proven : place.proven)
        if (proven == address) proven.reset();
}

void Demux::no_longer_pending(Seat seat) {
    auto& place = seats_[seat];
    if (!place.pending_at) return;
    by_signalling_.erase(*place.pending_at, seat);
    place.pending_at.reset();
}

std::optional<ConstBytes> stun_name(ConstBytes packet) {
    auto name = stun::peek_local_ufrag(packet);
    return name ? std::optional(as_bytes(*name)) : std::nullopt;
}

}  // namespace hushwire
