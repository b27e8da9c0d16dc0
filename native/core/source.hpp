// Where a leg's packets may come from, and where to send. The rule that keeps strangers out of a call:
// SRTP moves only with a verified tag; plain RTP is the announced address, or once, early, from an announced
// network.
#pragma once
#include <cstdint>
#include <optional>

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
        if (announced == announced_ && is_announced_) return;
        announced_ = current_ = announced;
        is_announced_ = true;
        is_settled_ = false;
        opened_us_ = now_us;
    }

    /// Plain RTP: may a packet from here be taken? Learns as far as allowed.
    bool admit(const Address& from, std::int64_t now_us) {
        if (!is_announced_) return false;
        if (from == announced_) {
            current_ = announced_;
            is_settled_ = true;
            return true;
        }
        if (is_settled_) return from == current_;
        if (!may_learn_ || now_us - opened_us_ > kLearnWindowUs) return false;
        if (from.ip != announced_.ip && !(signalling_ && from.ip == *signalling_)) return false;
        current_ = from;
        is_settled_ = true;
        return true;
    }

    /// SRTP: the newest verified packet came from here.
    void prove(const Address& from) {
        if (may_learn_) current_ = from;
    }

    const Address& current() const { return current_; }

  private:
    Address announced_, current_;
    std::optional<Ip> signalling_;
    std::int64_t opened_us_ = 0;
    bool may_learn_ = false, is_announced_ = false, is_settled_ = false;
};

}  // namespace hushwire
