// Where a leg's packets may come from, and where to send. The rule that keeps strangers out of a call:
// SRTP moves only with a verified tag; plain RTP is the announced address, or once, early, from an announced
// network; with ICE it is what the peer nominated.
#pragma once
#include <cstdint>
#include <optional>
#include <utility>

#include "core/address.hpp"

namespace hushwire {

class SourceGate {
  public:
    static constexpr std::int64_t kLearnWindowUs = 3'000'000;

    /// What signalling said. Said again unchanged, a source found before stays, and no new window opens.
    void announce(const Address& announced, std::optional<Ip> signalling, bool may_learn,
                  std::int64_t now_us) {
        may_learn_ = may_learn;
        signalling_ = signalling;
        if (std::exchange(is_nominated_only_, false)) is_announced_ = false;
        if (announced == announced_ && is_announced_) return;
        announced_ = current_ = announced;
        is_announced_ = true;
        is_settled_ = false;
        opened_us_ = now_us;
    }

    /// ICE (instead of `announce`): from now on nothing but `nominate` moves the source.
    void follow_nomination() {
        if (std::exchange(is_nominated_only_, true)) return;
        current_ = {};
    }
    /// The remote side of the selected pair; nothing: there is none, or consent is lost.
    void nominate(const std::optional<Address>& pair) { current_ = pair.value_or(Address{}); }

    /// Is this the announced address, or where we send to? Learns nothing.
    bool is_known(const Address& from) const { return from == current_ || from == announced_; }

    /// Would `admit` take a packet from here? Learns nothing.
    bool could_admit(const Address& from, std::int64_t now_us) const {
        if (is_nominated_only_) return true;  // the agent's checks have let it in
        if (!is_announced_) return false;
        if (from == announced_) return true;
        if (is_settled_) return from == current_;
        if (!may_learn_ || now_us - opened_us_ > kLearnWindowUs) return false;
        return from.ip == announced_.ip || (signalling_ && from.ip == *signalling_);
    }

    /// Plain RTP: may a packet from here be taken? Learns as far as allowed.
    bool admit(const Address& from, std::int64_t now_us) {
        if (!could_admit(from, now_us)) return false;
        if (is_nominated_only_) return true;
        current_ = from;
        is_settled_ = true;
        return true;
    }

    /// SRTP: the newest verified packet came from here.
    void prove(const Address& from) {
        if (may_learn_ && !is_nominated_only_) current_ = from;
    }

    const Address& current() const { return current_; }

  private:
    Address announced_, current_;
    std::optional<Ip> signalling_;
    std::int64_t opened_us_ = 0;
    bool may_learn_ = false, is_announced_ = false, is_settled_ = false;
    bool is_nominated_only_ = false;
};

}  // namespace hushwire
