#include "core/ice.hpp"

#include <algorithm>
#include <utility>

namespace hushwire::ice {
namespace {

bool is_ice_text(std::string_view text) {
    return std::ranges::all_of(text, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+'
               || c == '/';
    });
}

bool is_ufrag(std::string_view text) {
    return text.size() >= kMinUfrag && text.size() <= kMaxUfrag && is_ice_text(text);
}

/// FNV-1a. Nobody without the password can choose ids so that two meet.
std::uint32_t mark_of(const stun::TransactionId& id) {
    std::uint32_t mark = 2166136261U;
    for (auto b : id) mark = (mark ^ std::to_integer<std::uint32_t>(b)) * 16777619U;
    return mark ? mark : 1;
}

}  // namespace

bool Settings::is_valid() const {
    auto password = local_password.bytes();
    std::string_view text(reinterpret_cast<const char*>(password.data()), password.size());
    return is_ufrag(local_ufrag) && is_ufrag(remote_ufrag) && text.size() >= kMinPassword
           && is_ice_text(text);
}

Agent::Generation::Generation(const Settings& settings)
    : username(settings.local_ufrag + ':' + settings.remote_ufrag),
      key(stun::integrity_key(settings.local_password.bytes())) {}

Agent::Agent(const Settings& settings)
    : settings_(settings), current_(std::make_unique<Generation>(settings)) {}

void Agent::set(const Settings& settings, std::int64_t now_us) {
    if (settings == settings_) return;
    settings_ = settings;
    auto older = std::exchange(current_, std::make_unique<Generation>(settings));
    // Restarted again before the first restart was done: the pair in use is the one before both.
    if (older->is_nominated) previous_ = std::move(older);
    for (auto& peer : peers_) {
        peer.is_current = false;
        if (!previous_) peer.expires_us = std::min(peer.expires_us, now_us + kOldPeerUs);
    }
}

Agent::Generation* Agent::matching(std::string_view username) const {
    for (auto* generation : {current_.get(), previous_.get()})
        if (generation && generation->username == username) return generation;
    return nullptr;
}

Agent::Peer* Agent::find(const Address& address, std::int64_t now_us) {
    auto at = std::ranges::find_if(
        peers_, [&](const Peer& p) { return p.address == address && now_us <= p.expires_us; });
    return at == peers_.end() ? nullptr : &*at;
}

bool Agent::has_checked(const Address& from, std::int64_t now_us) const {
    if (selected_ && from == *selected_) return true;
    return std::ranges::any_of(peers_,
                               [&](const Peer& p) { return p.address == from && now_us <= p.expires_us; });
}

bool Agent::Seen::has(std::uint32_t mark) const {
    return std::ranges::find(marks_, mark) != marks_.end();
}

void Agent::Seen::add(std::uint32_t mark) {
    marks_[next_] = mark;
    next_ = (next_ + 1) % marks_.size();
}

/// Repetitions have a small budget of their own: whoever replays what it overheard, from forged addresses
/// even, must not use up what the peer's own checks need.
bool Agent::may_answer(bool is_repeated, Peer* peer, std::int64_t now_us) {
    if (is_repeated) return peer && repeats_.take(now_us);
    return (!peer || peer->answers.take(now_us)) && answers_.take(now_us);
}

std::size_t Agent::receive(const Address& from, Bytes buffer, std::size_t length, std::int64_t now_us) {
    counters_.received++;
    ConstBytes datagram = buffer.first(length);
    auto message = stun::parse(datagram);
    if (!message || message->method != stun::kBinding) {
        counters_.refused++;
        return 0;
    }
    // RFC 8445 section 11: an indication keeps a binding alive; nothing answers it, and it proves nothing.
    if (message->kind == stun::Class::indication) return 0;
    // We never ask, so no answer is for us; and ICE's checks have a fingerprint (section 7.1).
    if (message->kind != stun::Class::request || !message->has_fingerprint) {
        counters_.refused++;
        return 0;
    }
    // RFC 8489 section 9.1.3, in its order
    if (!message->integrity_at || !message->username)
        return refuse(buffer, *message, 400, "Bad Request", now_us);
    auto* generation = matching(*message->username);
    if (!generation || !stun::has_integrity(datagram, *message, generation->key))
        return refuse(buffer, *message, 401, "Unauthenticated", now_us);

    auto mark = mark_of(message->id);
    auto& seen = message->has_use_candidate ? seen_nominating_ : seen_other_;
    bool is_repeated = seen.has(mark);
    auto* peer = find(from, now_us);
    if (is_repeated) counters_.repeated++;
    if (!may_answer(is_repeated, peer, now_us)) {
        counters_.limited++;
        return 0;
    }
    counters_.answered++;
    if (!is_repeated) seen.add(mark);
    auto answer = buffer.first(stun::kMaxAnswer);
    if (message->unknown_count)  // section 6.3.1
        return stun::Writer(answer, stun::Class::error, stun::kBinding, message->id)
            .error(420, "Unknown Attribute")
            .unknown_attributes(std::span(message->unknown).first(message->unknown_count))
            .integrity(generation->key)
            .fingerprint();
    // RFC 8445 section 6.1.1: a lite agent is controlled, always. A peer that believes itself controlled is
    // told so and changes its role (section 7.3.1.1).
    if (message->controlled)
        return stun::Writer(answer, stun::Class::error, stun::kBinding, message->id)
            .error(487, "Role Conflict")
            .integrity(generation->key)
            .fingerprint();
    if (!is_repeated)
        accept(from, peer, *generation, message->has_use_candidate && message->controlling, now_us);
    return stun::Writer(answer, stun::Class::success, stun::kBinding, message->id)
        .mapped_address(from)
        .integrity(generation->key)
        .fingerprint();
}

/// A fresh, valid check: its source is proven; if it nominates, the source is the selected one
/// (section 7.3.2).
void Agent::accept(const Address& from, Peer* peer, Generation& generation, bool is_nominating,
                   std::int64_t now_us) {
    bool is_current = &generation == current_.get();
    if (!peer) {
        peer = &*std::ranges::min_element(peers_, {}, [&](const Peer& p) {
            bool is_in_use = selected_ && p.address == *selected_;
            return std::pair(is_in_use, p.expires_us);
        });
        *peer = Peer{};
        peer->address = from;
    }
    peer->expires_us = now_us + kConsentUs;
    peer->is_current |= is_current;
    if (is_nominating) {
        if (is_current && !generation.is_nominated) {
            generation.is_nominated = true;
            is_selection_untold_ = true;
            previous_.reset();  // the restart is done; packets on their way over the old pair still count
            for (auto& p : peers_)
                if (!p.is_current) p.expires_us = std::min(p.expires_us, now_us + kOldPeerUs);
        }
        if (selected_ != from) is_selection_untold_ = true;
        selected_ = from;
        was_nominated_ = true;
    }
    if (selected_ == from) consent_until_us_ = now_us + kConsentUs;
}

std::size_t Agent::refuse(Bytes buffer, const stun::Message& message, std::uint16_t code,
                          std::string_view reason, std::int64_t now_us) {
    counters_.refused++;
    if (!refusals_.take(now_us)) return 0;
    return stun::Writer(buffer.first(stun::kMaxAnswer), stun::Class::error, stun::kBinding, message.id)
        .error(code, reason)
        .fingerprint();
}

void Agent::tick(std::int64_t now_us) {
    if (!selected_ || now_us <= consent_until_us_) return;
    selected_.reset();
    is_selection_untold_ = false;
    is_loss_untold_ = true;
}

bool Agent::has_news(std::int64_t now_us) const {
    return is_loss_untold_ || (is_selection_untold_ && now_us >= next_news_us_);
}

std::optional<News> Agent::take_news(std::int64_t now_us) {
    if (!has_news(now_us)) return std::nullopt;
    if (std::exchange(is_loss_untold_, false)) return News::consent_lost;
    is_selection_untold_ = false;
    next_news_us_ = now_us + kNewsUs;
    return News::selected;
}

}  // namespace hushwire::ice
