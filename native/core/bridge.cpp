#include "core/bridge.hpp"

#include <algorithm>

#include "core/rtcp.hpp"

namespace hushwire {
namespace {

constexpr std::int64_t kOldKeyUs = 2'000'000;
constexpr std::int64_t kSourceEventUs = 250'000;
constexpr std::uint32_t kKeyRun = 1 << 20;  // room for a plain stream's restarts between two keyings

/// The receiver's verdict, by the new key first, by the old one for a short time after a re-keying.
template <typename Open>
srtp::Opened open_with_either(srtp::Receiver& receiver, srtp::Receiver* old, bool& was_old, Open open) {
    auto opened = open(receiver);
    was_old = false;
    if (old && opened.outcome == srtp::Outcome::bad_tag) {
        auto second = open(*old);
        if (second.outcome == srtp::Outcome::ok || second.outcome == srtp::Outcome::replay) {
            was_old = true;
            return second;
        }
    }
    return opened;
}

}  // namespace

Bridge::Leg::Leg(unsigned n, Random random)
    : number(n), ssrc(random()), map(static_cast<std::uint16_t>(random()), random()) {
    static constexpr char digits[] = "0123456789abcdef";
    for (auto& c : canonical_name) c = digits[random() & 15];
}

Bridge::Bridge(Mode mode, Random random) : mode_(mode), random_(random) {}

void Bridge::open_leg(unsigned leg) {
    legs_[leg] = std::make_unique<Leg>(leg, random_);
}

std::uint32_t Bridge::set_leg(unsigned number, const LegSettings& settings, std::int64_t now_us) {
    Leg& leg = *legs_[number];
    leg.rtp_source.announce(settings.remote_rtp, settings.signalling_ip, settings.may_learn, now_us);
    leg.rtcp_source.announce(settings.remote_rtcp, settings.signalling_ip, settings.may_learn, now_us);

    if (!settings.recv_key) {
        if (leg.receiver) leg.key_run += kKeyRun;
        leg.receiver.reset();
        leg.old_receiver.reset();
    } else if (!leg.receiver || !(leg.receiver->master() == *settings.recv_key)) {
        auto fresh = std::make_unique<srtp::Receiver>(*settings.recv_key, leg.receiver.get());
        leg.old_receiver = std::move(leg.receiver);
        leg.old_receiver_until_us = now_us + kOldKeyUs;
        leg.receiver = std::move(fresh);
        leg.key_run += kKeyRun;
    }
    if (!settings.send_key) {
        leg.sender.reset();
    } else if (!leg.sender || !(leg.sender->master() == *settings.send_key)) {
        // A new key comes with a new SSRC: a receiver starts its rollover counter at 0 for it, whichever way
        // it reads the RFCs on re-keying, and a key that was used before and comes back never meets an index
        // again.
        leg.sender = std::make_unique<srtp::Sender>(*settings.send_key);
        leg.ssrc = random_();
        leg.map = OutputMap(static_cast<std::uint16_t>(random_()), random_());
        leg.packets_under_ssrc = leg.octets_under_ssrc = 0;
    }
    leg.settings = settings;
    leg.settings.send_key.reset();  // the session keys are made; each master key is kept once, for comparison
    leg.settings.recv_key.reset();
    leg.is_set = true;
    leg.set_us = now_us;
    leg.is_timed_out = false;
    return leg.ssrc;
}

void Bridge::count(Counters& counters, srtp::Outcome outcome) {
    switch (outcome) {
        case srtp::Outcome::ok: break;
        case srtp::Outcome::malformed: counters.dropped_malformed++; break;
        case srtp::Outcome::replay: counters.dropped_replay++; break;
        case srtp::Outcome::bad_tag: counters.dropped_tag++; break;
    }
}

std::optional<Forward> Bridge::receive(unsigned number, Channel channel, const Address& from, Bytes buffer,
                                       std::size_t length, std::int64_t now_us) {
    Leg& leg = *legs_[number];
    if (!leg.is_set) {
        leg.counters.dropped_disabled++;
        return std::nullopt;
    }
    if (length > rtp::kMaxPacket) {
        leg.counters.dropped_malformed++;
        return std::nullopt;
    }
    bool is_rtcp = channel == Channel::rtcp || rtp::looks_like_rtcp(buffer.first(length));
    if (is_rtcp && channel == Channel::rtp
        && !leg.settings.is_muxed) {  // RFC 3551 section 6 keeps these types free for RTCP
        leg.counters.dropped_malformed++;
        return std::nullopt;
    }
    return is_rtcp ? receive_rtcp(leg, channel, from, buffer, length, now_us)
                   : receive_rtp(leg, from, buffer, length, now_us);
}

std::optional<Bridge::Plain> Bridge::open(Leg& in, const rtp::Header& header, const Address& from,
                                          Bytes packet, std::int64_t now_us) {
    if (!in.receiver) {
        if (!in.rtp_source.admit(from, now_us)) {
            in.counters.dropped_source++;
            return std::nullopt;
        }
        auto place = in.tracker.place(header.ssrc, header.sequence);
        if (!place) {
            in.counters.dropped_replay++;
            return std::nullopt;
        }
        return Plain{packet.size(), place->index, in.key_run + place->run};
    }
    bool was_old = false;
    auto opened = open_with_either(*in.receiver, in.old_receiver.get(), was_old,
                                   [&](srtp::Receiver& r) { return r.open_rtp(packet, header.length); });
    if (opened.outcome != srtp::Outcome::ok) {
        count(in.counters, opened.outcome);
        return std::nullopt;
    }
    if (opened.is_newest && !(from == in.rtp_source.current())) in.rtp_source.prove(from);
    return Plain{opened.length, opened.index, was_old ? in.key_run - kKeyRun : in.key_run};
}

void Bridge::note_media(Leg& in, std::int64_t now_us) {
    in.last_media_us = now_us;
    in.is_timed_out = false;
    const auto& source = in.rtp_source.current();
    if (in.has_media && source == in.reported_source) return;
    in.has_media = true;
    in.reported_source = source;
    in.is_source_untold = true;
    tell_source(in, now_us);
}

/// A party may send each packet from another port: the events about it must not crowd out those that matter.
void Bridge::tell_source(Leg& leg, std::int64_t now_us) {
    if (!leg.is_source_untold || now_us < leg.next_source_event_us) return;
    leg.is_source_untold = false;
    leg.next_source_event_us = now_us + kSourceEventUs;
    leg.has_source_event = has_event_ = true;
}

std::optional<Forward> Bridge::receive_rtp(Leg& in, const Address& from, Bytes buffer, std::size_t length,
                                           std::int64_t now_us) {
    auto header = rtp::parse(buffer.first(length));
    if (!header) {
        in.counters.dropped_malformed++;
        return std::nullopt;
    }
    auto plain = open(in, *header, from, buffer.first(length), now_us);
    if (!plain) return std::nullopt;
    if (!rtp::has_valid_padding(*header, buffer.first(plain->length))) {
        in.counters.dropped_malformed++;
        return std::nullopt;
    }
    note_media(in, now_us);
    if (!in.settings.may_receive) {
        in.counters.dropped_disabled++;
        return std::nullopt;
    }
    in.counters.packets_received++;
    in.counters.bytes_received += length;
    in.reception.received({header->ssrc, plain->run}, plain->index, header->timestamp, in.settings.clock_rate,
                          now_us);
    if (tap_) tap_->packet(in.number, buffer.first(plain->length), now_us);
    Leg* out = other(in);
    if (!out || !out->is_set || !out->settings.may_send || !out->rtp_source.current().is_sendable()) {
        in.counters.dropped_unsent++;
        return std::nullopt;
    }
    return send_rtp(in, *out, *header, *plain, buffer, now_us);
}

std::optional<Forward> Bridge::send_rtp(Leg& in, Leg& out, const rtp::Header& header, const Plain& plain,
                                        Bytes buffer, std::int64_t now_us) {
    auto mapped =
        out.map.map({header.ssrc, plain.run}, plain.index, header.timestamp, in.settings.clock_rate, now_us);
    if (!mapped) {
        in.counters.dropped_replay++;
        return std::nullopt;
    }
    rtp::rewrite(buffer, {.payload_type = in.settings.payload_types[header.payload_type],
                          .has_marker = header.has_marker || mapped->is_new_run,
                          .sequence = static_cast<std::uint16_t>(mapped->index),
                          .timestamp = mapped->timestamp,
                          .ssrc = out.ssrc});
    auto length = plain.length;
    if (out.sender) {
        length = out.sender->protect_rtp(buffer, plain.length, header.length, mapped->index);
        if (!length) {
            in.counters.dropped_replay++;
            return std::nullopt;
        }
    }
    out.counters.packets_sent++;
    out.counters.bytes_sent += length;
    out.packets_under_ssrc++;
    out.octets_under_ssrc += static_cast<std::uint32_t>(plain.length - header.length);
    return Forward{out.number, Channel::rtp, out.rtp_source.current(), buffer.first(length)};
}

std::optional<std::size_t> Bridge::open_rtcp(Leg& in, Channel channel, const Address& from, Bytes packet,
                                             std::int64_t now_us) {
    auto& source = channel == Channel::rtcp ? in.rtcp_source : in.rtp_source;
    if (!in.receiver) {
        // On a muxed port RTCP never teaches the source: only media does.
        bool is_admitted = channel == Channel::rtcp ? source.admit(from, now_us) : from == source.current();
        if (is_admitted) return packet.size();
        in.counters.dropped_source++;
        return std::nullopt;
    }
    bool was_old = false;
    auto opened = open_with_either(*in.receiver, in.old_receiver.get(), was_old,
                                   [&](srtp::Receiver& r) { return r.open_rtcp(packet); });
    if (opened.outcome != srtp::Outcome::ok) {
        count(in.counters, opened.outcome);
        return std::nullopt;
    }
    if (channel == Channel::rtcp && opened.is_newest) source.prove(from);
    return opened.length;
}

std::optional<Forward> Bridge::receive_rtcp(Leg& in, Channel channel, const Address& from, Bytes buffer,
                                            std::size_t length, std::int64_t now_us) {
    auto plain = open_rtcp(in, channel, from, buffer.first(length), now_us);
    if (!plain) return std::nullopt;
    if (!rtcp::is_valid(buffer.first(*plain))) {
        in.counters.dropped_malformed++;
        return std::nullopt;
    }
    in.counters.rtcp_received++;
    Leg* out = other(in);
    if (!out || !out->is_set) return std::nullopt;
    std::array<std::byte, rtcp::kMaxTranslated> translated;
    rtcp::View view{.out_ssrc = out->ssrc,
                    .forward = &out->map,
                    .packets_sent = out->packets_under_ssrc,
                    .octets_sent = out->octets_under_ssrc,
                    .reported_ssrc = in.ssrc,
                    .backward = mode_ == Mode::echo ? nullptr : &in.map,
                    .canonical_name = as_bytes({out->canonical_name.data(), out->canonical_name.size()})};
    auto result = rtcp::translate(buffer.first(*plain), view, translated);
    if (result.reported_lost) in.remote_lost = result.reported_lost;
    auto to_channel = out->settings.is_muxed ? Channel::rtp : Channel::rtcp;
    const auto& to = out->settings.is_muxed ? out->rtp_source.current() : out->rtcp_source.current();
    if (!result.length || !out->settings.may_send || !to.is_sendable()) return std::nullopt;
    std::memcpy(buffer.data(), translated.data(), result.length);
    auto size = result.length;
    if (out->sender) size = out->sender->protect_rtcp(buffer, result.length);
    if (!size) return std::nullopt;
    out->counters.rtcp_sent++;
    return Forward{out->number, to_channel, to, buffer.first(size)};
}

void Bridge::tick(std::int64_t now_us) {
    for (auto& leg : legs_) {
        if (!leg || !leg->is_set) continue;
        tell_source(*leg, now_us);
        if (leg->old_receiver && now_us > leg->old_receiver_until_us) leg->old_receiver.reset();
        auto timeout_us = std::int64_t{leg->settings.media_timeout_ms} * 1000;
        if (timeout_us && leg->settings.may_receive && !leg->is_timed_out
            && now_us - std::max(leg->last_media_us, leg->set_us) > timeout_us) {
            leg->is_timed_out = true;
            leg->has_timeout_event = has_event_ = true;
        }
    }
}

std::optional<LegEvent> Bridge::take_event() {
    if (!has_event_) return std::nullopt;
    for (auto& leg : legs_) {
        if (!leg) continue;
        if (leg->has_source_event) {
            leg->has_source_event = false;
            return LegEvent{LegEvent::Kind::source, leg->number, leg->reported_source};
        }
        if (leg->has_timeout_event) {
            leg->has_timeout_event = false;
            return LegEvent{LegEvent::Kind::media_timeout, leg->number, {}};
        }
    }
    has_event_ = false;
    return std::nullopt;
}

LegReport Bridge::report(unsigned number, std::int64_t now_us) const {
    const Leg& leg = *legs_[number];
    LegReport report{
        .counters = leg.counters, .lost = leg.reception.lost(), .jitter_us = leg.reception.jitter_us()};
    if (leg.has_media)
        report.silent_ms =
            static_cast<std::uint64_t>(std::max<std::int64_t>(now_us - leg.last_media_us, 0)) / 1000;
    report.remote_lost = leg.remote_lost;
    return report;
}

}  // namespace hushwire
