#include "core/bridge.hpp"

#include <algorithm>
#include <bit>
#include <utility>

#include "core/packet_kind.hpp"

namespace hushwire {
namespace {

constexpr std::uint8_t kByTheClock = 0xff;  // the origin of streams that no leg sent; one less for each layer
constexpr Layer kLayers[] = {Layer::keys, Layer::beep, Layer::sound, Layer::mix};

std::uint16_t bit(unsigned leg) {
    return static_cast<std::uint16_t>(1U << leg);
}

}  // namespace

Bridge::Bridge(Mode mode, Random random, std::int64_t unix_offset_us)
    : mode_(mode), random_(random), unix_offset_us_(unix_offset_us) {
    relay_to_.fill(kNobody);
    for (unsigned leg = 0; leg < kMaxLegs; leg++) hears_[leg] = hears_at_first(leg);
    rearrange();
}

std::uint16_t Bridge::hears_at_first(unsigned leg) const {
    if (leg > 1) return 0;
    return bit(mode_ == Mode::echo ? leg : 1 - leg);
}

void Bridge::open_leg(unsigned leg) {
    legs_[leg] = std::make_unique<Leg>(leg, random_);
}

void Bridge::close_leg(unsigned leg, std::int64_t now_us) {
    (void)take_leg(leg, now_us);
}

Bridge::Moving Bridge::take_leg(unsigned leg, std::int64_t now_us) {
    for (auto layer : kLayers) play(leg, nullptr, layer, PlayEnd::leg_closed);
    Moving moving{std::move(legs_[leg]), std::move(keypads_[leg])};
    hears_[leg] = hears_at_first(leg);  // whoever has the number next
    arrange(now_us);
    return moving;
}

void Bridge::put_leg(unsigned leg, Moving moving, std::int64_t now_us) {
    moving.leg->move_to(leg);
    has_event_ |= moving.leg->has_event();
    legs_[leg] = std::move(moving.leg);
    keypads_[leg] = std::move(moving.keypad);
    arrange(now_us);
}

std::uint32_t Bridge::set_leg(unsigned leg, const LegSettings& settings, std::int64_t now_us) {
    if (settings.formats.count && !keypads_[leg]) keypads_[leg] = std::make_unique<Keypad>();
    if (keypads_[leg]) keypads_[leg]->agree(settings.formats);
    auto ssrc = legs_[leg]->set(settings, now_us);
    arrange(now_us);
    return ssrc;
}

void Bridge::set_hears(unsigned leg, std::uint16_t legs, std::int64_t now_us) {
    hears_[leg] = legs;
    arrange(now_us);
}

/// Who of those that a leg is to hear is there, and whether that can be relayed or has to be made.
void Bridge::arrange(std::int64_t now_us) {
    std::uint16_t live = 0, relayed = 0;
    for (unsigned leg = 0; leg < kMaxLegs; leg++)
        if (legs_[leg] && legs_[leg]->is_set()) live = static_cast<std::uint16_t>(live | bit(leg));
    std::array<Mixer::Seat, kMaxLegs> seats;
    bool is_mixing = false;
    for (unsigned leg = 0; leg < kMaxLegs; leg++) {
        sources_[leg] = hears_[leg] & live;
        if (live & bit(leg)) seats[leg].formats = legs_[leg]->settings().formats;
    }
    for (unsigned leg = 0; leg < kMaxLegs; leg++) {
        auto sources = sources_[leg];
        if (!(live & bit(leg)) || !sources) continue;
        if (std::has_single_bit(sources)) {
            const auto& theirs = seats[static_cast<unsigned>(std::countr_zero(sources))].formats;
            const auto& mine = seats[leg].formats;
            bool is_as_it_is = !mine.audio() || !theirs.audio() || mine.shares_audio(theirs);
            if (is_as_it_is && !(relayed & sources)) {
                relayed = static_cast<std::uint16_t>(relayed | sources);
                continue;
            }
        }
        if (!seats[leg].formats.audio()) continue;
        for (unsigned source = 0; source < kMaxLegs; source++)
            if ((sources & bit(source)) && seats[source].formats.audio())
                seats[leg].hears = static_cast<std::uint16_t>(seats[leg].hears | bit(source));
        is_mixing |= seats[leg].hears != 0;
    }
    if (is_mixing && !mixer_) mixer_ = std::make_unique<Mixer>(now_us);
    auto fresh = mixer_ ? mixer_->arrange(seats, now_us) : std::uint16_t{0};
    for (unsigned leg = 0; leg < kMaxLegs; leg++) {
        if (!seats[leg].hears) {
            if (is_mixed(leg)) set_mix(leg, nullptr);
        } else if (!is_mixed(leg) || (fresh & bit(leg))) {
            set_mix(leg, mixer_->listen(leg));
        }
    }
    if (!is_mixing) mixer_.reset();
    rearrange();
}

void Bridge::play(unsigned leg, std::unique_ptr<Playout> player, Layer layer, PlayEnd end) {
    auto& place = playouts_[leg][static_cast<std::size_t>(layer)];
    if (place)
        if (auto told = place->told()) {
            ended_.push_back({.kind = LegEvent::Kind::play_ended,
                              .leg = leg,
                              .playback = told->playback,
                              .sent_ms = told->sent_ms,
                              .end = end});
            has_event_ = true;
        }
    place = std::move(player);
    playout_runs_[leg]++;
    rearrange();
}

std::optional<std::uint32_t> Bridge::playback(unsigned leg, Layer layer) const {
    const auto* player = playing(leg, layer);
    auto told = player ? player->told() : std::nullopt;
    if (!told) return std::nullopt;
    return told->playback;
}

std::optional<Layer> Bridge::heard_layer(unsigned leg) const {
    for (auto layer : kLayers)
        if (const auto* player = playing(leg, layer); player && !player->is_pausing()) return layer;
    return std::nullopt;
}

/// Who is relayed to whom, and when something is due next.
void Bridge::rearrange() {
    relay_to_.fill(kNobody);
    for (unsigned leg = 0; leg < kMaxLegs; leg++) {
        if (heard_layer(leg) || !std::has_single_bit(sources_[leg])) continue;
        auto source = static_cast<unsigned>(std::countr_zero(sources_[leg]));
        if (relay_to_[source] == kNobody) relay_to_[source] = static_cast<std::uint8_t>(leg);
    }
    find_due();
}

void Bridge::find_due() {
    due_us_ = kNever;
    for (unsigned leg = 0; leg < kMaxLegs; leg++)
        for (auto layer : kLayers)
            if (const auto* made = playing(leg, layer)) due_us_ = std::min(due_us_, made->due_us());
}

std::optional<Forward> Bridge::receive(unsigned number, Channel channel, const Address& from, Bytes buffer,
                                       std::size_t length, std::int64_t now_us) {
    Leg& leg = *legs_[number];
    if (!leg.is_set()) {
        leg.receive_early(channel, from, buffer.first(length), now_us);
        return std::nullopt;
    }
    if (length > rtp::kMaxPacket) {
        leg.counters.dropped_malformed++;
        return std::nullopt;
    }
    switch (packet_kind(buffer.first(length))) {
        case PacketKind::media: break;
        case PacketKind::stun: {
            auto answer = leg.answer_stun(channel, from, buffer, length, now_us);
            has_event_ |= leg.has_event();
            return answer;
        }
        case PacketKind::dtls: {
            auto taken = leg.take_dtls(channel, from, buffer, length, now_us);
            if (taken.is_to_pass && dtls_sink_) dtls_sink_->dtls(number, buffer.first(length));
            return taken.answer;
        }
        case PacketKind::other: leg.counters.dropped_malformed++; return std::nullopt;
    }
    if (!leg.admits_media(channel, from, now_us)) return std::nullopt;
    bool is_rtcp = channel == Channel::rtcp || rtp::looks_like_rtcp(buffer.first(length));
    if (is_rtcp && channel == Channel::rtp
        && !leg.settings().is_muxed) {  // RFC 3551 section 6 keeps these types free for RTCP
        leg.counters.dropped_malformed++;
        return std::nullopt;
    }
    if (!is_rtcp) return receive_rtp(leg, from, buffer, length, now_us);
    receive_rtcp(leg, channel, from, buffer, length, now_us);
    return std::nullopt;
}

std::optional<Forward> Bridge::receive_early(unsigned leg, Bytes buffer, std::int64_t now_us) {
    auto early = legs_[leg]->take_early_hello(now_us);
    if (!early) return std::nullopt;
    auto hello = early->hello();
    std::ranges::copy(hello, buffer.begin());
    return receive(leg, Channel::rtp, early->from(), buffer, hello.size(), now_us);
}

std::optional<Forward> Bridge::receive_rtp(Leg& in, const Address& from, Bytes buffer, std::size_t length,
                                           std::int64_t now_us) {
    auto header = rtp::parse(buffer.first(length));
    if (!header) {
        in.counters.dropped_malformed++;
        return std::nullopt;
    }
    auto plain = in.open_rtp(*header, from, buffer.first(length), now_us);
    if (!plain || !in.is_within_allowance(now_us)) return std::nullopt;
    if (!rtp::has_valid_padding(*header, buffer.first(plain->length))) {
        in.counters.dropped_malformed++;
        return std::nullopt;
    }
    in.note_media(now_us);
    has_event_ |= in.has_event();
    if (!in.settings().may_receive) {
        in.counters.dropped_disabled++;
        return std::nullopt;
    }
    in.last_payload_type = header->payload_type;
    in.counters.packets_received++;
    in.counters.bytes_received += length;
    in.reception.received({header->ssrc, plain->run}, plain->index, header->timestamp,
                          in.settings().clock_rate, now_us);
    if (tap_ && (recorded_ & bit(in.number())))
        tap_->packet(in.number(), buffer.first(plain->length), now_us);
    if (auto* keypad = keypads_[in.number()].get()) {
        auto payload = buffer.subspan(header->length, plain->length - header->length);
        if (in.is_event(header->payload_type)) {
            keypad->event(*header, payload, in.settings().clock_rate, now_us);
            hear_keys(in.number(), now_us);
        } else if (keypad->is_listening()) {
            keypad->sound(*header, payload, now_us);
            hear_keys(in.number(), now_us);
        }
    }
    if (mixer_) mixer_->heard(in.number(), *header, buffer.first(plain->length), now_us);
    if (due_us_ <= now_us) settle(now_us);
    return relay(in, *header, *plain, buffer, now_us);
}

std::optional<Forward> Bridge::relay(Leg& in, const rtp::Header& header, const Leg::Plain& plain,
                                     Bytes buffer, std::int64_t now_us) {
    Leg* out = listener(in);
    if (!out || !out->is_sendable()) {
        if (!mixer_ || !mixer_->has_voice(in.number())) in.counters.dropped_unsent++;
        return std::nullopt;
    }
    // Who did not agree on telephone-events gets tones instead (hear_keys); who did not agree on comfort
    // noise gets none (RFC 3389 section 5.1).
    const auto& agreed = out->settings().formats;
    auto type = header.payload_type;
    if (out->has_formats()
        && ((in.is_event(type) && !agreed.event(in.settings().clock_rate))
            || (in.is_noise(type) && !agreed.noise(in.settings().clock_rate)))) {
        in.counters.dropped_unsent++;
        return std::nullopt;
    }
    Outgoing packet{.index = plain.index,
                    .timestamp = header.timestamp,
                    .clock_rate = in.settings().clock_rate,
                    .payload_type = in.settings().payload_types[header.payload_type],
                    .has_marker = header.has_marker};
    // What one party's header extensions say (levels, positions, identities) was never agreed with the other.
    auto offset = rtp::strip(buffer, header);
    auto forward = out->send_rtp({header.ssrc, plain.run, static_cast<std::uint8_t>(in.number())}, packet,
                                 buffer.subspan(offset), plain.length - offset, rtp::kFixedHeader, now_us);
    if (!forward) in.counters.dropped_replay++;
    return forward;
}

std::optional<Forward> Bridge::produce(std::int64_t now_us, Bytes buffer) {
    // In the order of time, not of legs: listeners to one mix go step by step.
    while (due_us_ <= now_us)
        for (unsigned number = 0; number < kMaxLegs; number++)
            for (auto layer : kLayers)
                if (const auto* source = playing(number, layer); source && source->due_us() <= due_us_)
                    if (auto forward = produce(number, layer, now_us, buffer)) return forward;
    return std::nullopt;
}

/// What is over by now makes way for a packet that arrives at the same moment.
void Bridge::settle(std::int64_t now_us) {
    std::array<std::byte, rtp::kFixedHeader + rtp::kMaxPayload> nothing;
    for (unsigned number = 0; number < kMaxLegs; number++)
        for (auto layer : kLayers)
            if (const auto* source = playing(number, layer);
                source && source->is_over() && source->due_us() <= now_us)
                (void)produce(number, layer, now_us, nothing);
}

/// The packet of one layer that is due; it is sent where no higher layer is heard.
std::optional<Forward> Bridge::produce(unsigned number, Layer layer, std::int64_t now_us, Bytes buffer) {
    auto* source = playing(number, layer);
    bool was_pausing = source->is_pausing();
    if (source->is_beginning() && legs_[number] && legs_[number]->map().free_us() > now_us) {
        source->begin_at(legs_[number]->map().free_us());
        rearrange();
        return std::nullopt;
    }
    auto heard = heard_layer(number);
    bool is_heard = !heard || *heard >= layer;
    rtp::begin(buffer);
    auto made = source->make(now_us, buffer.subspan(rtp::kFixedHeader, rtp::kMaxPayload));
    auto* leg = legs_[number].get();
    std::optional<Forward> forward;
    if (made.length && is_heard) {
        if (leg && leg->is_sendable())
            forward = leg->send_rtp({0, playout_runs_[number],
                                     static_cast<std::uint8_t>(kByTheClock - static_cast<unsigned>(layer))},
                                    made.packet, buffer, rtp::kFixedHeader + made.length, rtp::kFixedHeader,
                                    now_us);
        if (!forward) source->unsent(now_us);
    }
    if (layer != Layer::mix && source->due_us() == kNever) {
        play(number, nullptr, layer, PlayEnd::finished);
    } else if (was_pausing != source->is_pausing()) {
        rearrange();
    } else {
        find_due();
    }
    return forward;
}

/// RTCP ends here: what a party says is for hushwire, and the other party gets reports of hushwire's own.
void Bridge::receive_rtcp(Leg& in, Channel channel, const Address& from, Bytes buffer, std::size_t length,
                          std::int64_t now_us) {
    auto plain = in.open_rtcp(channel, from, buffer.first(length), now_us);
    if (!plain || !in.is_within_rtcp_allowance(now_us)) return;
    in.hear_rtcp(buffer.first(*plain), now_us, now_us + unix_offset_us_);
    if (const auto& remote = in.reporting().remote(); mixer_ && remote && remote->at_us == now_us)
        mixer_->expect_loss(in.number(), (remote->fraction_lost * 100U + 255) / 256);
}

std::optional<Forward> Bridge::report_due(std::int64_t now_us, Bytes buffer) {
    for (auto& leg : legs_)
        if (leg && leg->report_due_us() <= now_us)
            if (auto forward = leg->send_report(buffer, false, now_us, now_us + unix_offset_us_))
                return forward;
    return std::nullopt;
}

std::optional<Forward> Bridge::goodbye(unsigned leg, std::int64_t now_us, Bytes buffer) {
    if (!has_leg(leg)) return std::nullopt;
    return legs_[leg]->send_report(buffer, true, now_us, now_us + unix_offset_us_);
}

bool Bridge::is_heard(unsigned number) const {
    for (unsigned leg = 0; leg < kMaxLegs; leg++)
        if ((hears_[leg] & bit(number)) && legs_[leg] && legs_[leg]->is_sendable()) return true;
    return false;
}

void Bridge::assess(std::int64_t now_us) {
    constexpr std::int64_t kLeastUs = 1'000'000;  // less than a second says nothing
    if (now_us - assessed_us_ < kLeastUs) return;
    assessed_us_ = now_us;
    for (auto& leg : legs_)
        if (leg) leg->assess_reception();
    for (unsigned number = 0; number < kMaxLegs; number++) {
        auto* leg = legs_[number].get();
        if (!leg) continue;
        const Leg* from = nullptr;
        if (std::has_single_bit(hears_[number]))
            from = legs_[static_cast<unsigned>(std::countr_zero(hears_[number]))].get();
        leg->assess_hearing(from, !heard_layer(number), now_us);
    }
}

void Bridge::tell_quality() {
    auto quality = std::make_shared<std::vector<AssessedLeg>>();
    for (auto& leg : legs_)
        if (leg && leg->assessment().has_latest())
            quality->push_back({leg->number(), leg->assessment().latest()});
    if (quality->empty()) return;
    untold_quality_ = std::move(quality);
    has_event_ = true;
}

/// Keys of a leg: to be told, and pressed towards who hears the leg but takes no events.
void Bridge::hear_keys(unsigned number, std::int64_t now_us) {
    while (auto heard = keypads_[number]->take()) {
        if (!is_sensitive_) {
            keys_.push_back({.kind = LegEvent::Kind::key,
                             .leg = number,
                             .digit = heard->key.digit,
                             .held_ms = heard->key.duration_ms,
                             .was_tones = heard->was_tones});
            has_event_ = true;
        }
        if (heard->was_tones) continue;  // who hears the leg hears them
        auto held_ms = static_cast<std::uint16_t>(std::clamp<std::uint32_t>(heard->key.duration_ms, 50, 500));
        for (unsigned leg = 0; leg < kMaxLegs; leg++) {
            if (!legs_[leg] || !(hears_[leg] & bit(number))) continue;
            const auto& agreed = legs_[leg]->settings().formats;
            if (agreed.count && !agreed.event(legs_[number]->settings().clock_rate))
                press(leg, std::array{dtmf::Key{heard->key.digit, held_ms, 50}}, now_us);
        }
    }
}

Bridge::Pressed Bridge::press(unsigned leg, std::span<const dtmf::Key> keys, std::int64_t now_us) {
    if (auto* keying = static_cast<dtmf::Keying*>(playing(leg, Layer::keys)))
        return keying->add(keys) ? Pressed::ok : Pressed::full;
    auto keying = keypads_[leg] ? keypads_[leg]->keying(now_us) : nullptr;
    if (!keying) return Pressed::unable;
    if (!keying->add(keys)) return Pressed::full;
    play(leg, std::move(keying), Layer::keys);
    return Pressed::ok;
}

bool Bridge::listen_for_tones(unsigned leg, bool is_on) {
    return keypads_[leg] ? keypads_[leg]->listen_for_tones(is_on) : !is_on;
}

bool Bridge::listen_for_speech(unsigned leg, bool is_on, std::int64_t now_us) {
    return keypads_[leg] ? keypads_[leg]->listen_for_speech(is_on, now_us) : !is_on;
}

void Bridge::tick(std::int64_t now_us) {
    for (unsigned leg = 0; leg < kMaxLegs; leg++) {
        if (!keypads_[leg]) continue;
        keypads_[leg]->tick(now_us);
        hear_keys(leg, now_us);
    }
    for (auto& leg : legs_) {
        if (!leg) continue;
        leg->tick(now_us);
        leg->watch(is_heard(leg->number()), now_us);
        has_event_ |= leg->has_event();
    }
    if (!assess_due_us_) {
        assessed_us_ = now_us;
        assess_due_us_ = now_us + Assessment::kIntervalUs;
    }
    if (now_us < assess_due_us_) return;
    assess_due_us_ = now_us + Assessment::kIntervalUs;
    assess(now_us);
    tell_quality();
}

std::optional<LegEvent> Bridge::take_event() {
    if (!has_event_) return std::nullopt;
    if (!ended_.empty()) {
        auto event = ended_.front();
        ended_.erase(ended_.begin());
        return event;
    }
    if (!keys_.empty()) {
        auto event = keys_.front();
        keys_.erase(keys_.begin());
        return event;
    }
    for (auto& leg : legs_)
        if (leg)
            if (auto event = leg->take_event()) return event;
    if (untold_quality_)
        return LegEvent{.kind = LegEvent::Kind::quality, .quality = std::exchange(untold_quality_, nullptr)};
    has_event_ = false;
    return std::nullopt;
}

LegReport Bridge::report(unsigned leg, std::int64_t now_us) const {
    auto report = legs_[leg]->report(now_us);
    if (mixer_) report.voice = mixer_->report(leg);
    if (keypads_[leg]) report.speech = keypads_[leg]->speech(now_us);
    return report;
}

}  // namespace hushwire
