// The ICE-lite agent of one leg (RFC 8445 sections 2.5, 5.3, 6.1.1, 7.3; consent: RFC 7675): it answers
// connectivity checks, and knows from where media may come and where it may go. It never asks, so the other
// side is the controlling one and nominates. Pure: no sockets, no clock, no allocation per packet; one
// thread.
//
// A check counts once: a transaction id that was seen before may be answered, but proves, moves and refreshes
// nothing. An eavesdropper can send a whole check again from an address of its own; it can't make a new one.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/statistics.hpp"
#include "core/stun.hpp"
#include "core/token_bucket.hpp"

namespace hushwire::ice {

inline constexpr std::size_t kMinUfrag = 4, kMaxUfrag = 256, kMinPassword = 22, kMaxPassword = 256;
/// RFC 7675 section 5.1: with no valid check for so long, nothing more is sent.
inline constexpr std::int64_t kConsentUs = 30'000'000;

/// Both user fragments and the own password (RFC 8445 section 5.3). The peer's password would only be needed
/// for checks of our own.
struct Settings {
    std::string local_ufrag, remote_ufrag;
    Secret<kMaxPassword> local_password;

    bool operator==(const Settings&) const = default;
    /// Lengths and characters of RFC 8839 section 5.4.
    bool is_valid() const;
};

enum class News : std::uint8_t { selected, consent_lost };

class Agent {
  public:
    explicit Agent(const Settings& settings);

    /// Other credentials are an ICE restart (section 2.4): the selected pair goes on under the old ones until
    /// the peer nominates under the new.
    void set(const Settings& settings, std::int64_t now_us);

    /// A datagram of `length` bytes at the start of `buffer`, which has room for stun::kMaxAnswer. Returns
    /// the length of the answer, written into `buffer`, or 0.
    std::size_t receive(const Address& from, Bytes buffer, std::size_t length, std::int64_t now_us);

    /// Did a valid check come from here, recently enough? Only then media from here is heard.
    bool has_checked(const Address& from, std::int64_t now_us) const;
    /// Where to send: the remote side of the nominated pair, while there is consent.
    const std::optional<Address>& selected() const { return selected_; }
    /// Has the peer ever nominated? From then on only it says where to send.
    bool was_nominated() const { return was_nominated_; }

    /// To be called about ten times a second.
    void tick(std::int64_t now_us);
    bool has_news(std::int64_t now_us) const;
    std::optional<News> take_news(std::int64_t now_us);
    const StunCounters& counters() const { return counters_; }

  private:
    struct Generation {  ///< one set of credentials
        explicit Generation(const Settings& settings);
        std::string username;
        stun::IntegrityKey key;
        bool is_nominated = false;
    };
    struct Peer {  ///< an address that a valid check came from
        Address address;
        std::int64_t expires_us = 0;
        bool is_current = false;       ///< checked under the newest credentials
        TokenBucket answers{50, 100};  ///< a browser in a hurry asks 21 times a second
    };
    static constexpr std::size_t kMaxPeers = 8;
    static constexpr std::int64_t kOldPeerUs = 2'000'000, kNewsUs = 250'000;

    class Seen {  ///< the newest transaction ids
      public:
        bool has(std::uint32_t mark) const;
        void add(std::uint32_t mark);

      private:
        std::array<std::uint32_t, 512> marks_{};  // 0 is none
        std::size_t next_ = 0;
    };

    Generation* matching(std::string_view username) const;
    Peer* find(const Address& address, std::int64_t now_us);
    bool may_answer(bool is_repeated, Peer* peer, std::int64_t now_us);
    void accept(const Address& from, Peer* peer, Generation& generation, bool is_nominating,
                std::int64_t now_us);
    std::size_t refuse(Bytes buffer, const stun::Message& message, std::uint16_t code,
                       std::string_view reason, std::int64_t now_us);

    Settings settings_;
    std::unique_ptr<Generation> current_, previous_;
    std::array<Peer, kMaxPeers> peers_{};
    std::optional<Address> selected_;
    std::int64_t consent_until_us_ = 0, next_news_us_ = 0;
    bool was_nominated_ = false, is_selection_untold_ = false, is_loss_untold_ = false;
    // Apart, so that what keeps consent never pushes out the few nominations of an agent that nominates once.
    Seen seen_nominating_, seen_other_;
    TokenBucket answers_{200, 400}, repeats_{20, 40}, refusals_{5, 10};
    StunCounters counters_;
};

}  // namespace hushwire::ice
