// A bridge joins the legs of a call: packets go in with where they came from, and come out changed in place
// with where they are to go. What a leg hears is relayed as it arrives where that is one other leg, and made
// by the clock (Playout) where it is not. Pure: no sockets, no clock, no allocation per packet. One thread
// owns a bridge.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "core/keypad.hpp"
#include "core/leg.hpp"
#include "core/mixer.hpp"
#include "core/playout.hpp"

namespace hushwire {

enum class Mode : std::uint8_t { relay = 0, echo = 1 };

/// What is played to a leg, the topmost first: keys are heard over all else, a beep over a sound that goes on
/// below it, and all of them instead of the mix or of what is relayed.
enum class Layer : std::uint8_t { keys = 0, beep = 1, sound = 2, mix = 3 };

/// Sees each plain packet as it arrived, before anything is re-numbered.
class Tap {
  public:
    virtual ~Tap() = default;
    virtual void packet(unsigned leg, ConstBytes plain, std::int64_t now_us) = 0;
};

/// Takes the datagrams of DTLS handshakes.
class DtlsSink {
  public:
    virtual ~DtlsSink() = default;
    virtual void dtls(unsigned leg, ConstBytes datagram) = 0;
};

class alignas(kLine) Bridge {
  public:
    using Random = Leg::Random;
    /// Room that `receive` and `produce` need.
    static constexpr std::size_t kBuffer = 2048;
    /// 0 the agent, 1 the other party, further ones listen in or confer.
    static constexpr unsigned kMaxLegs = 16;

    /// `unix_offset_us` on top of the monotonic time given makes Unix time, for the clocks of sender reports.
    Bridge(Mode mode, Random random, std::int64_t unix_offset_us = 0);

    Mode mode() const { return mode_; }
    void open_leg(unsigned leg);
    void close_leg(unsigned leg, std::int64_t now_us);
    /// A leg on its way from one bridge to another.
    struct Moving {
        std::unique_ptr<Leg> leg;
        std::unique_ptr<Keypad> keypad;
    };
    /// Takes a leg out; what was played to it ends. What it has to tell is told by its next bridge.
    Moving take_leg(unsigned leg, std::int64_t now_us);
    /// Puts a leg of another bridge in the place of one that is not there.
    void put_leg(unsigned leg, Moving moving, std::int64_t now_us);
    bool has_leg(unsigned leg) const { return leg < kMaxLegs && legs_[leg]; }
    std::uint32_t set_leg(unsigned leg, const LegSettings& settings, std::int64_t now_us);
    std::uint32_t ssrc(unsigned leg) const { return legs_[leg]->ssrc(); }
    Leg& leg(unsigned leg) { return *legs_[leg]; }
    void set_tap(Tap* tap) { tap_ = tap; }
    void set_dtls_sink(DtlsSink* sink) { dtls_sink_ = sink; }
    /// A datagram of a handshake on its way down; nothing where the leg has nowhere to send it.
    std::optional<Forward> send_dtls(unsigned leg, Bytes datagram) {
        return has_leg(leg) ? legs_[leg]->send_dtls(datagram) : std::nullopt;
    }
    /// While it is set no digit is told; who records sees to that there.
    void set_sensitive(bool is_sensitive) { is_sensitive_ = is_sensitive; }
    bool is_sensitive() const { return is_sensitive_; }

    /// The legs that this one hears, a bit each. At first: 0 and 1 each other (in echo mode each itself),
    /// further ones nobody. Of one leg that shares a codec, packets are relayed (to one listener); all else
    /// is decoded, mixed and coded anew.
    void set_hears(unsigned leg, std::uint16_t legs, std::int64_t now_us);
    std::uint16_t hears(unsigned leg) const { return hears_[leg]; }
    /// Whose packets the tap sees, a bit each; at first those of legs 0 and 1.
    void set_recorded(std::uint16_t legs) { recorded_ = legs; }
    std::uint16_t recorded() const { return recorded_; }
    /// From now on the leg gets what `player` makes until that has ended, instead of what it hears. What was
    /// played on that layer before ends, and that is told as `end`.
    void play(unsigned leg, std::unique_ptr<Playout> player, Layer layer = Layer::sound,
              PlayEnd end = PlayEnd::replaced);
    void stop_playing(unsigned leg, Layer layer = Layer::sound) {
        play(leg, nullptr, layer, PlayEnd::stopped);
    }
    bool is_playing(unsigned leg, Layer layer = Layer::sound) const { return playing(leg, layer) != nullptr; }
    /// What the controller called what is played on the layer; nothing where nothing is.
    std::optional<std::uint32_t> playback(unsigned leg, Layer layer) const;
    /// What the leg hears is made by the mixer.
    bool is_mixed(unsigned leg) const { return playing(leg, Layer::mix) != nullptr; }

    enum class Pressed : std::uint8_t { ok, unable, full };
    /// Presses keys towards a leg, behind those that are still being pressed; all of them or none.
    Pressed press(unsigned leg, std::span<const dtmf::Key> keys, std::int64_t now_us);
    /// Looks for keys in the sound of a leg, or no more; false where its codec can't be read.
    bool listen_for_tones(unsigned leg, bool is_on);
    /// Heeds whether a leg speaks, or no more (`report`); false where its codec can't be read.
    bool listen_for_speech(unsigned leg, bool is_on, std::int64_t now_us);

    /// One datagram of `length` bytes at the start of `buffer` (kBuffer bytes). The result lies in `buffer`
    /// too.
    std::optional<Forward> receive(unsigned leg, Channel channel, const Address& from, Bytes buffer,
                                   std::size_t length, std::int64_t now_us);
    /// What came for a leg a moment before it was stated; to be called once it is. The result lies in
    /// `buffer`.
    std::optional<Forward> receive_early(unsigned leg, Bytes buffer, std::int64_t now_us);
    // The memory that a packet of this leg will take, asked for in three steps (Leg::fetch); each step needs
    // what the one before asked for.
    void fetch() const {
        prefetch_up_to(this, &legs_[2]);
        prefetch(keypads_.data());
    }
    void fetch_legs(unsigned leg) const {
        legs_[leg]->fetch_receiver();
        if (const auto* out = listener(leg)) out->fetch_output();
        prefetch(keypads_[leg].get());
    }
    void fetch_sender(unsigned leg) const {
        if (const auto* out = listener(leg)) out->fetch_sender();
    }
    /// Before `tick`.
    void fetch_legs() const {
        for (const auto& leg : legs_)
            if (leg) leg->fetch_for_turn();
    }
    /// When `produce` has something next; kNever where nothing is made by the clock.
    std::int64_t due_us() const { return due_us_; }
    /// One datagram that is due; to be called until there is none.
    std::optional<Forward> produce(std::int64_t now_us, Bytes buffer);
    /// One report (RTCP) that is due; to be asked after `tick` until there is none.
    std::optional<Forward> report_due(std::int64_t now_us, Bytes buffer);
    /// The goodbye of a leg that is about to end.
    std::optional<Forward> goodbye(unsigned leg, std::int64_t now_us, Bytes buffer);
    /// What the socket refused to send after all.
    void unsent(unsigned leg) {
        if (legs_[leg]) legs_[leg]->counters.dropped_unsent++;
    }
    /// To be called about ten times a second.
    void tick(std::int64_t now_us);
    std::optional<LegEvent> take_event();
    /// Ends the running interval of the legs' quality early, for a last `report`.
    void assess(std::int64_t now_us);
    LegReport report(unsigned leg, std::int64_t now_us) const;

  private:
    std::optional<Forward> receive_rtp(Leg& in, const Address& from, Bytes buffer, std::size_t length,
                                       std::int64_t now_us);
    void receive_rtcp(Leg& in, Channel channel, const Address& from, Bytes buffer, std::size_t length,
                      std::int64_t now_us);
    void hear_keys(unsigned leg, std::int64_t now_us);
    std::optional<Forward> relay(Leg& in, const rtp::Header& header, const Leg::Plain& plain, Bytes buffer,
                                 std::int64_t now_us);
    Playout* playing(unsigned leg, Layer layer) const {
        return playouts_[leg][static_cast<std::size_t>(layer)].get();
    }
    /// The topmost layer that makes what the leg gets now; nothing where it is relayed to.
    std::optional<Layer> heard_layer(unsigned leg) const;
    void settle(std::int64_t now_us);
    std::optional<Forward> produce(unsigned number, Layer layer, std::int64_t now_us, Bytes buffer);
    /// The leg that hears this one and nothing else, if there is one.
    Leg* listener(const Leg& in) const { return listener(in.number()); }
    Leg* listener(unsigned in) const {
        auto to = relay_to_[in];
        return to == kNobody ? nullptr : legs_[to].get();
    }
    bool is_heard(unsigned leg) const;
    std::uint16_t hears_at_first(unsigned leg) const;
    void tell_quality();
    void set_mix(unsigned leg, std::unique_ptr<Playout> mix) { play(leg, std::move(mix), Layer::mix); }
    void arrange(std::int64_t now_us);
    void rearrange();
    void find_due();

    static constexpr std::uint8_t kNobody = 0xff;
    // Touched by each packet: see `fetch`.
    Mode mode_;
    bool has_event_ = false, is_sensitive_ = false;
    std::array<std::uint8_t, kMaxLegs> relay_to_;
    std::uint16_t recorded_ = 3;
    std::int64_t due_us_ = kNever;
    Tap* tap_ = nullptr;
    std::unique_ptr<Mixer> mixer_;  // there while anything has to be mixed or transcoded
    std::array<std::unique_ptr<Leg>, kMaxLegs> legs_;
    std::array<std::unique_ptr<Keypad>, kMaxLegs> keypads_;  // of the legs that agreed on codecs

    Random random_;
    std::array<std::uint16_t, kMaxLegs> hears_{}, sources_{};  // as asked for; of those, who is there
    std::array<std::array<std::unique_ptr<Playout>, 4>, kMaxLegs> playouts_;  // [leg][layer]
    // Grows with each playout of a leg: its streams are told apart.
    std::array<std::uint32_t, kMaxLegs> playout_runs_{};
    std::vector<LegEvent> ended_;  // what was played
    std::vector<LegEvent> keys_;
    std::int64_t unix_offset_us_;
    std::int64_t assess_due_us_ = 0, assessed_us_ = 0;
    std::shared_ptr<const std::vector<AssessedLeg>> untold_quality_;
    DtlsSink* dtls_sink_ = nullptr;
};

}  // namespace hushwire
