// One party of a bridge: what comes from it is let in here (source, tag, replay), and what goes to it leaves
// here under an SSRC, sequence and index that are hushwire's own. Pure: no sockets, no clock, no allocation
// per packet.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "core/address.hpp"
#include "core/assessment.hpp"
#include "core/budget.hpp"
#include "core/dtls_cookie.hpp"
#include "core/early_hello.hpp"
#include "core/formats.hpp"
#include "core/ice.hpp"
#include "core/prefetch.hpp"
#include "core/reporting.hpp"
#include "core/rtp.hpp"
#include "core/sequence.hpp"
#include "core/source.hpp"
#include "core/srtp.hpp"
#include "core/statistics.hpp"
#include "core/token_bucket.hpp"
#include "core/watch.hpp"

namespace hushwire {

enum class Channel : std::uint8_t { rtp = 0, rtcp = 1 };

/// Everything that signalling knows of a leg; always stated as a whole.
struct LegSettings {
    // What each packet asks for, together.
    bool may_send = true, may_receive = true, may_learn = true;
    bool is_muxed = false;
    bool is_dtls = false;       ///< keys come by a handshake: never plain, in either direction
    bool has_rtcp_port = true;  ///< beside that of RTP: else there are reports where `is_muxed` only
    bool is_answered = false;   ///< the party has taken the call: not to hear it is a fault from now on
    std::uint32_t clock_rate = 8000;
    Allowance allowance{400, 200};  ///< packets taken from the party: voice is 50 a second
    std::array<std::uint8_t, 128> payload_types = identity();  ///< received here -> sent on the other leg
    Formats formats;  ///< none: packets of the leg are relayed as they are, and never decoded

    Address remote_rtp, remote_rtcp;
    std::optional<srtp::MasterKey> send_key, recv_key;
    std::optional<ice::Settings> ice;  ///< then the remote addresses are not used
    std::optional<Ip> signalling_ip;
    std::uint32_t media_timeout_ms = 30'000;
    /// Compounds of RTCP, apart from those: a party sends one in some seconds, one that asks for feedback a
    /// few a second. On a plain leg whoever forges the party's address may use this up, and no speech is lost
    /// by it.
    Allowance rtcp_allowance{10, 20};

    static std::array<std::uint8_t, 128> identity() {
        std::array<std::uint8_t, 128> map{};
        for (std::size_t i = 0; i < map.size(); i++) map[i] = static_cast<std::uint8_t>(i);
        return map;
    }
};

/// A datagram to be sent.
struct Forward {
    unsigned leg = 0;
    Channel channel = Channel::rtp;
    Address to;
    Bytes data;
};

/// Why something is not played to a leg any more.
enum class PlayEnd : std::uint8_t { finished = 1, stopped = 2, replaced = 3, leg_closed = 4 };

/// How a leg sounded in the last interval.
struct AssessedLeg {
    unsigned leg = 0;
    LegQuality quality;
};

struct LegEvent {
    /// `unheard`: on a shared port nothing was found to be this leg's, two seconds after it should have been.
    /// `ambiguous`: its packets come from an address that another live leg of that port has.
    enum class Kind {
        source,
        media_timeout,
        ice_selected,
        consent_lost,
        play_ended,
        unheard,
        ambiguous,
        key,
        silence,
        quality,  ///< about all legs
    } kind = Kind::source;
    unsigned leg = 0;
    Address source;
    std::uint32_t playback = 0,
                  sent_ms = 0;  ///< play_ended: the controller's name for it, and how much was sent
    PlayEnd end = PlayEnd::finished;
    char digit = 0;  ///< key: which, for how long, and whether it was heard as tones
    std::uint32_t held_ms = 0;
    bool was_tones = false;
    SilenceCause cause = SilenceCause::over;
    std::shared_ptr<const std::vector<AssessedLeg>> quality;
};

/// One leg as reported to the controller.
struct LegReport {
    Counters counters;
    std::uint64_t lost = 0;
    std::uint32_t jitter_us = 0;
    std::optional<std::uint64_t> silent_ms;
    std::optional<std::uint32_t> remote_lost;
    std::optional<StunCounters> stun;  ///< of a leg with ICE
    CallQuality quality;
    std::optional<VoiceReport> voice;    ///< while the leg is decoded
    std::optional<SpeechReport> speech;  ///< while its speech is heeded
};

/// A packet of RTP that is to leave on a leg: its place in the stream of its source, not yet in that of the
/// leg.
struct Outgoing {
    std::uint64_t index = 0;      ///< extended sequence number within the source
    std::uint32_t timestamp = 0;  ///< of the source's clock
    std::uint32_t clock_rate = 8000;
    std::uint8_t payload_type = 0;
    bool has_marker = false;
    std::uint32_t span = 0;  ///< how far the packet reaches beyond `timestamp` (telephone-events keep
                             ///< theirs): a source that follows begins there
};

class alignas(kLine) Leg {
  public:
    using Random = std::uint32_t (*)();

    Leg(unsigned number, Random random);

    unsigned number() const { return number_; }
    /// The leg goes into another bridge under this number. All that it is goes with it: keys, indexes, its
    /// stream, where its party is.
    void move_to(unsigned number) {
        number_ = number;
        map_.begin_anew();
    }
    /// Returns the SSRC that hushwire sends with, new where the send key is new.
    std::uint32_t set(const LegSettings& settings, std::int64_t now_us);
    bool is_set() const { return is_set_; }
    /// A payload type that was agreed to be telephone-event.
    bool is_event(std::uint8_t payload_type) const {
        return payload_type == event_types_[0] || payload_type == event_types_[1];
    }
    /// A payload type that was agreed to be comfort noise.
    bool is_noise(std::uint8_t payload_type) const { return payload_type == noise_type_; }
    const LegSettings& settings() const { return settings_; }
    /// What the leg speaks was agreed; else its packets are relayed as they are.
    bool has_formats() const { return has_formats_; }

    // In
    /// The answer to a STUN datagram, written into `buffer`; nothing where none is due.
    std::optional<Forward> answer_stun(Channel channel, const Address& from, Bytes buffer, std::size_t length,
                                       std::int64_t now_us);
    struct DtlsTaken {
        bool is_to_pass = false;        ///< up: from strangers nothing is, and of a flood only some
        std::optional<Forward> answer;  ///< to a ClientHello that proves nothing yet, written into `buffer`
    };
    DtlsTaken take_dtls(Channel channel, const Address& from, Bytes buffer, std::size_t length,
                        std::int64_t now_us);
    /// A datagram that came before the leg was stated: dropped, but for the newest ClientHello.
    void receive_early(Channel channel, const Address& from, ConstBytes datagram, std::int64_t now_us);
    /// That hello, once the leg is stated; null where there is none that is young enough. It is no longer
    /// kept.
    std::unique_ptr<EarlyHello> take_early_hello(std::int64_t now_us);
    /// With ICE: did a valid check come from where this packet of media does?
    bool admits_media(Channel channel, const Address& from, std::int64_t now_us) {
        if (!ice_ || (channel == Channel::rtp && ice_->has_checked(from, now_us))) return true;
        counters.dropped_unchecked++;
        return false;
    }
    struct Plain {
        std::size_t length = 0;
        std::uint64_t index = 0;
        std::uint32_t run = 0;
    };
    /// The plain packet in the place of `packet`, or nothing where it is not to be taken (which is counted).
    std::optional<Plain> open_rtp(const rtp::Header& header, const Address& from, Bytes packet,
                                  std::int64_t now_us);
    /// The length of the plain compound.
    std::optional<std::size_t> open_rtcp(Channel channel, const Address& from, Bytes packet,
                                         std::int64_t now_us);
    /// Whether the packet's tag verifies under the leg's key; nothing changes but the copy.
    bool proves(const rtp::Header& header, Bytes copy);
    /// Whether this address is proven to be the party's: a valid check came from here, or without ICE the
    /// last media.
    bool is_known_at(const Address& from, std::int64_t now_us) const {
        return ice_ ? ice_->has_checked(from, now_us) : has_media_ && rtp_source_.current() == from;
    }
    /// Since when (of SET_LEG) media should come from this remote and never did; nothing where it came, or
    /// none is wanted.
    std::optional<std::int64_t> unheard_since_us() const {
        if (!is_set_ || is_heard_ || !settings_.may_receive) return std::nullopt;
        return set_us_;
    }
    std::int64_t last_media_us() const { return last_media_us_; }
    /// One packet more of the party's; false where it sends more than its allowance (which is counted). An
    /// echo of an echo ends here.
    bool is_within_allowance(std::int64_t now_us) {
        if (budget_.take(now_us, settings_.allowance)) return true;
        counters.dropped_budget++;
        return false;
    }
    /// The same of its RTCP.
    bool is_within_rtcp_allowance(std::int64_t now_us) {
        if (rtcp_budget_.take(now_us, settings_.rtcp_allowance)) return true;
        counters.dropped_rtcp_budget++;
        return false;
    }
    /// A packet of media was taken: the party lives, and this is where it sends from.
    void note_media(std::int64_t now_us);

    /// Where its packets come from, as far as known, and where is sent to.
    const Address& source() const { return rtp_source_.current(); }

    // Out
    bool is_sendable() const {
        return is_set_ && settings_.may_send && is_keyed() && rtp_source_.current().is_sendable();
    }
    /// A datagram of a handshake, to where the party is now; nothing where that is not known, or consent is
    /// lost.
    std::optional<Forward> send_dtls(Bytes datagram);
    /// Sends the RTP packet at the start of `buffer` (`length` bytes of which `header_length` are header;
    /// kMaxTag bytes of room behind), re-numbered and protected in place. Nothing where its index would be
    /// used twice.
    std::optional<Forward> send_rtp(StreamId source, const Outgoing& packet, Bytes buffer, std::size_t length,
                                    std::size_t header_length, std::int64_t now_us);
    /// Sends the RTCP compound at the start of `buffer`; nothing where the leg has no place for it or all
    /// indexes are used.
    std::optional<Forward> send_rtcp(Bytes buffer, std::size_t length);
    std::uint32_t ssrc() const { return ssrc_; }
    const OutputMap& map() const { return map_; }
    SentStream sent() const {
        return {ssrc_,          packets_under_ssrc_, octets_under_ssrc_, map_.last_timestamp(),
                map_.last_us(), settings_.clock_rate};
    }

    // Reports (RTCP)
    /// A plain, valid or invalid, compound of the party.
    void hear_rtcp(ConstBytes compound, std::int64_t now_us, std::int64_t unix_us);
    const Reporting& reporting() const { return reporting_; }
    std::int64_t report_due_us() const { return reporting_.due_us(); }
    /// The report that is due, or the goodbye of a leg that ends, written into `buffer`.
    std::optional<Forward> send_report(Bytes buffer, bool says_goodbye, std::int64_t now_us,
                                       std::int64_t unix_us);

    // How it sounds
    /// Ends an interval of what comes from the party; then, once all legs have, of what it hears.
    void assess_reception();
    void assess_hearing(const Leg* from, bool is_relayed, std::int64_t now_us);
    const Assessment& assessment() const { return assessment_; }
    /// Whether anybody is to hear this leg, and does not; `has_listener`: somebody else would.
    void watch(bool has_listener, std::int64_t now_us);

    // By the clock, and what is to be told
    void tick(std::int64_t now_us);
    bool has_event() const {
        return has_source_event_ || has_timeout_event_ || has_selection_event_ || has_loss_event_
               || has_silence_event_;
    }
    std::optional<LegEvent> take_event();
    LegReport report(std::int64_t now_us) const;

    // With a thousand calls nothing of a leg is in the cache when its next packet comes, 20 ms later: who
    // reads packets in batches asks for all of it ahead, step by step. No step changes anything.
    /// What a packet of the party takes.
    void fetch() const {
        prefetch_up_to(&reception, &counters);
        fetch_for_both();
    }
    /// What its turn by the clock takes.
    void fetch_for_turn() const {
        fetch();
        prefetch_up_to(&set_us_, &reporting_);
        reporting_.fetch();
        prefetch(&settings_.media_timeout_ms);
    }
    /// What a packet to the party takes.
    void fetch_output() const {
        prefetch_up_to(&number_, &old_receiver_);
        fetch_for_both();
    }
    /// Once that is there.
    void fetch_receiver() const {
        if (receiver_) receiver_->fetch();
    }
    void fetch_sender() const {
        if (sender_) sender_->fetch();
    }

    // What each packet touches comes first, and what is asked for together lies together.
    Reception reception;

  private:
    SequenceTracker tracker_;
    std::int64_t last_media_us_ = 0;

    alignas(kLine) unsigned number_;  // from here on in both directions
    bool is_set_ = false;
    bool has_media_ = false, is_heard_ = false, is_timed_out_ = false;
    bool has_source_event_ = false, has_timeout_event_ = false, has_silence_event_ = false;
    bool has_selection_event_ = false, has_loss_event_ = false;
    bool is_source_untold_ = false;
    bool has_formats_ = false;
    std::array<std::uint8_t, 2> event_types_{0xff, 0xff};
    std::uint8_t noise_type_ = 0xff;
    std::uint32_t key_run_ =
        0;  // grows by kKeyRun with each change of keying: no two keys' indexes are ever compared
    std::uint32_t ssrc_;
    std::uint32_t packets_under_ssrc_ = 0, octets_under_ssrc_ = 0;  // for the sender reports
    std::unique_ptr<ice::Agent> ice_;
    std::unique_ptr<srtp::Receiver> receiver_;
    std::unique_ptr<srtp::Sender> sender_;
    SourceGate rtp_source_;
    OutputMap map_;

    std::unique_ptr<srtp::Receiver> old_receiver_;  // from here on of the party's packets again
    Budget budget_, rtcp_budget_;
    Address reported_source_;

  public:
    std::uint8_t last_payload_type = 0;  ///< that was taken in
    alignas(kLine) Counters counters;    // of which the first line counts packets

  private:
    alignas(kLine) LegSettings settings_;

    quality::Coding coding() const;
    bool is_resting() const;
    void tell_source(std::int64_t now_us);
    void follow_ice(std::int64_t now_us);
    DtlsTaken take_unchecked_dtls(const Address& from, Bytes buffer, std::size_t length, std::int64_t now_us);
    bool is_keyed() const { return sender_ || !settings_.is_dtls; }
    void count(srtp::Outcome outcome);
    void fetch_for_both() const {
        prefetch(&counters);
        prefetch(&settings_);
    }

    Random random_;
    // in
    SourceGate rtcp_source_;
    std::optional<Address> handshake_from_;  // the checked address that the last datagram of DTLS came from
    TokenBucket dtls_budget_{40, 80};        // a handshake takes some 20 datagrams, retransmissions included
    std::unique_ptr<EarlyHello> early_hello_ = std::make_unique<EarlyHello>();  // until the leg is stated
    // Without ICE whoever forges the party's address comes as far as these: apart from hellos with a cookie,
    // and generous until there are keys, so that the party's own datagrams come through a flood.
    std::unique_ptr<dtls::Cookies> cookies_;
    bool has_handshake_ = false;  // a proven hello of the party, or something of ours, was passed on
    TokenBucket cookie_budget_{4'000, 1'000}, hello_budget_{20, 40}, handshake_budget_{200, 400};
    std::int64_t old_receiver_until_us_ = 0;
    // how it goes; up to the reports it is looked at in each turn
    alignas(kLine) std::int64_t set_us_ = 0;
    std::int64_t next_source_event_us_ = 0;
    SilenceWatch watch_;
    SilenceCause silence_ = SilenceCause::over;
    Reporting reporting_;
    Assessment assessment_;
};

}  // namespace hushwire
