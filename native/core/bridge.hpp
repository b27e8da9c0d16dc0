// A bridge joins two legs (or echoes one): packets go in with where they came from, and come out changed in
// place with where they are to go. Pure: no sockets, no clock, no allocation per packet. One thread owns a
// bridge.
#pragma once
#include <array>
#include <memory>
#include <optional>

#include "core/address.hpp"
#include "core/rtp.hpp"
#include "core/sequence.hpp"
#include "core/source.hpp"
#include "core/srtp.hpp"
#include "core/statistics.hpp"

namespace hushwire {

enum class Mode : std::uint8_t { relay = 0, echo = 1 };
enum class Channel : std::uint8_t { rtp = 0, rtcp = 1 };

/// Everything that signalling knows of a leg; always stated as a whole.
struct LegSettings {
    Address remote_rtp, remote_rtcp;
    bool is_muxed = false;
    std::optional<srtp::MasterKey> send_key, recv_key;
    std::optional<Ip> signalling_ip;
    bool may_learn = true, may_send = true, may_receive = true;
    std::array<std::uint8_t, 128> payload_types = identity();  ///< received here -> sent on the other leg
    std::uint32_t media_timeout_ms = 30'000;
    std::uint32_t clock_rate = 8000;

    static std::array<std::uint8_t, 128> identity() {
        std::array<std::uint8_t, 128> map{};
        for (std::size_t i = 0; i < map.size(); i++) map[i] = static_cast<std::uint8_t>(i);
        return map;
    }
};

/// Sees each plain packet as it arrived, before anything is re-numbered.
class Tap {
  public:
    virtual ~Tap() = default;
    virtual void packet(unsigned leg, ConstBytes plain, std::int64_t now_us) = 0;
};

struct Forward {
    unsigned leg = 0;
    Channel channel = Channel::rtp;
    Address to;
    Bytes data;
};

struct LegEvent {
    enum class Kind { source, media_timeout } kind = Kind::source;
    unsigned leg = 0;
    Address source;
};

class Bridge {
  public:
    using Random = std::uint32_t (*)();
    /// Room that `receive` needs behind a datagram.
    static constexpr std::size_t kBuffer = 2048;

    Bridge(Mode mode, Random random);

    Mode mode() const { return mode_; }
    void open_leg(unsigned leg);
    bool has_leg(unsigned leg) const { return leg < legs_.size() && legs_[leg]; }
    /// Returns the SSRC that hushwire sends with on the leg, new where the send key is new.
    std::uint32_t set_leg(unsigned leg, const LegSettings& settings, std::int64_t now_us);
    std::uint32_t ssrc(unsigned leg) const { return legs_[leg]->ssrc; }
    void set_tap(Tap* tap) { tap_ = tap; }

    /// One datagram of `length` bytes at the start of `buffer` (kBuffer bytes). The result lies in `buffer`
    /// too.
    std::optional<Forward> receive(unsigned leg, Channel channel, const Address& from, Bytes buffer,
                                   std::size_t length, std::int64_t now_us);
    /// What the socket refused to send after all.
    void unsent(unsigned leg) { legs_[leg]->counters.dropped_unsent++; }
    /// To be called about ten times a second.
    void tick(std::int64_t now_us);
    std::optional<LegEvent> take_event();
    LegReport report(unsigned leg, std::int64_t now_us) const;

  private:
    struct Leg {
        Leg(unsigned number, Random random);
        unsigned number;
        LegSettings settings;
        bool is_set = false;
        // in
        SourceGate rtp_source, rtcp_source;
        std::unique_ptr<srtp::Receiver> receiver, old_receiver;
        std::int64_t old_receiver_until_us = 0;
        std::uint32_t key_run =
            0;  // grows by kKeyRun with each change of keying, so that no two keys' indexes are compared
        SequenceTracker tracker;
        Reception reception;
        std::int64_t set_us = 0, last_media_us = 0;
        bool has_media = false, is_timed_out = false;
        bool has_source_event = false, has_timeout_event = false;
        Address reported_source;
        bool is_source_untold = false;
        std::int64_t next_source_event_us = 0;
        std::optional<std::uint32_t> remote_lost;
        // out
        std::uint32_t ssrc;
        OutputMap map;
        std::unique_ptr<srtp::Sender> sender;
        std::uint32_t packets_under_ssrc = 0, octets_under_ssrc = 0;  // for the sender reports that pass
        std::array<char, 16> canonical_name{};
        Counters counters;
    };
    struct Plain {
        std::size_t length = 0;
        std::uint64_t index = 0;
        std::uint32_t run = 0;
    };

    std::optional<Forward> receive_rtp(Leg& in, const Address& from, Bytes buffer, std::size_t length,
                                       std::int64_t now_us);
    std::optional<Forward> receive_rtcp(Leg& in, Channel channel, const Address& from, Bytes buffer,
                                        std::size_t length, std::int64_t now_us);
    std::optional<Plain> open(Leg& in, const rtp::Header& header, const Address& from, Bytes packet,
                              std::int64_t now_us);
    std::optional<std::size_t> open_rtcp(Leg& in, Channel channel, const Address& from, Bytes packet,
                                         std::int64_t now_us);
    std::optional<Forward> send_rtp(Leg& in, Leg& out, const rtp::Header& header, const Plain& plain,
                                    Bytes buffer, std::int64_t now_us);
    void note_media(Leg& in, std::int64_t now_us);
    void tell_source(Leg& leg, std::int64_t now_us);
    Leg* other(const Leg& in) { return legs_[mode_ == Mode::echo ? in.number : 1 - in.number].get(); }
    static void count(Counters& counters, srtp::Outcome outcome);

    Mode mode_;
    Random random_;
    std::array<std::unique_ptr<Leg>, 2> legs_;
    Tap* tap_ = nullptr;
    bool has_event_ = false;
};

}  // namespace hushwire
