#include "core/leg.hpp"

#include <algorithm>
#include <utility>

namespace hushwire {
namespace {

constexpr std::int64_t kOldKeyUs = 2'000'000;
constexpr std::int64_t kSourceEventUs = 250'000;
constexpr std::int64_t kRestingFactor = 4;
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

Leg::Leg(unsigned number, Random random)
    : number_(number),
      ssrc_(random()),
      map_(static_cast<std::uint16_t>(random()), random()),
      random_(random),
      reporting_(random) {}

std::uint32_t Leg::set(const LegSettings& settings, std::int64_t now_us) {
    if (settings.remote_rtp != settings_.remote_rtp) is_heard_ = false;
    if (settings.ice) {
        if (ice_) {
            ice_->set(*settings.ice, now_us);
        } else {
            ice_ = std::make_unique<ice::Agent>(*settings.ice);
        }
        rtp_source_.follow_nomination();
        rtcp_source_.follow_nomination();
    } else {
        ice_.reset();
        handshake_from_.reset();
        rtp_source_.announce(settings.remote_rtp, settings.signalling_ip, settings.may_learn, now_us);
        rtcp_source_.announce(settings.remote_rtcp, settings.signalling_ip, settings.may_learn, now_us);
    }

    if (!settings.recv_key) {
        if (receiver_) key_run_ += kKeyRun;
        receiver_.reset();
        old_receiver_.reset();
    } else if (!receiver_ || !(receiver_->master() == *settings.recv_key)) {
        auto fresh = std::make_unique<srtp::Receiver>(*settings.recv_key, receiver_.get());
        old_receiver_ = std::move(receiver_);
        old_receiver_until_us_ = now_us + kOldKeyUs;
        receiver_ = std::move(fresh);
        key_run_ += kKeyRun;
    }
    if (!settings.send_key) {
        sender_.reset();
    } else if (!sender_ || !(sender_->master() == *settings.send_key)) {
        // A new key comes with a new SSRC: a receiver starts its rollover counter at 0 for it, whichever way
        // it reads the RFCs on re-keying, and a key that was used before and comes back never meets an index
        // again.
        sender_ = std::make_unique<srtp::Sender>(*settings.send_key);
        ssrc_ = random_();
        map_ = OutputMap(static_cast<std::uint16_t>(random_()), random_());
        packets_under_ssrc_ = octets_under_ssrc_ = 0;
    }
    if (settings.is_dtls && !settings.ice && !cookies_) cookies_ = std::make_unique<dtls::Cookies>(random_);
    settings_ = settings;
    has_formats_ = settings.formats.count != 0;
    event_types_.fill(0xff);
    std::size_t events = 0;
    const auto* noise = settings.formats.noise(settings.clock_rate);
    noise_type_ = noise ? noise->payload_type : 0xff;
    for (const auto& format : settings.formats.all())
        if (format.name == codec::Name::telephone_event && events < event_types_.size())
            event_types_[events++] = format.payload_type;
    settings_.send_key.reset();  // the session keys are made; each master key is kept once, for comparison
    settings_.recv_key.reset();
    settings_.ice.reset();
    is_set_ = true;
    set_us_ = now_us;
    is_timed_out_ = false;
    reporting_.begin(now_us);
    return ssrc_;
}

void Leg::count(srtp::Outcome outcome) {
    switch (outcome) {
        case srtp::Outcome::ok: break;
        case srtp::Outcome::malformed: counters.dropped_malformed++; break;
        case srtp::Outcome::replay: counters.dropped_replay++; break;
        case srtp::Outcome::bad_tag: counters.dropped_tag++; break;
    }
}

std::optional<Forward> Leg::answer_stun(Channel channel, const Address& from, Bytes buffer,
                                        std::size_t length, std::int64_t now_us) {
    // RTP and RTCP share the port where ICE is used, and a leg without ICE has nothing to answer with.
    if (!ice_ || channel != Channel::rtp) {
        counters.dropped_malformed++;
        return std::nullopt;
    }
    auto answer = ice_->receive(from, buffer, length, now_us);
    follow_ice(now_us);
    if (!answer) return std::nullopt;
    return Forward{number_, channel, from, buffer.first(answer)};
}

/// Sends to where the agent says, and tells what it has to tell.
void Leg::follow_ice(std::int64_t now_us) {
    // RFC 8445 section 12.1: before a pair is nominated, data may go over any valid one. Chromium takes up to
    // three seconds to nominate, and begins its handshake as soon as a check was answered. Not so when
    // consent for the nominated pair is lost: then the peer has to nominate again.
    rtp_source_.nominate(ice_->was_nominated() ? ice_->selected() : handshake_from_);
    auto news = ice_->take_news(now_us);
    if (!news) return;
    has_selection_event_ = *news == ice::News::selected;
    has_loss_event_ |= *news == ice::News::consent_lost;
}

Leg::DtlsTaken Leg::take_dtls(Channel channel, const Address& from, Bytes buffer, std::size_t length,
                              std::int64_t now_us) {
    if (!settings_.is_dtls || channel != Channel::rtp) {
        counters.dropped_malformed++;
        return {};
    }
    if (!ice_) return take_unchecked_dtls(from, buffer, length, now_us);
    // A ClientHello is not authenticated. Without this check whoever is first to send one would hold the
    // handshake that the party was to have ("ClientHello race").
    if (!ice_->has_checked(from, now_us)) {
        counters.dtls_refused++;
        return {};
    }
    if (!dtls_budget_.take(now_us)) {
        counters.dtls_limited++;
        return {};
    }
    counters.dtls_received++;
    is_heard_ = true;
    handshake_from_ = from;
    follow_ice(now_us);
    return {.is_to_pass = true};
}

void Leg::receive_early(Channel channel, const Address& from, ConstBytes datagram, std::int64_t now_us) {
    bool is_hello = channel == Channel::rtp && early_hello_ && dtls::is_client_hello(datagram);
    bool is_another = is_hello && !early_hello_->is_empty();
    bool is_kept = is_hello && early_hello_->keep(from, datagram, now_us);
    if (!is_kept || is_another) counters.dropped_disabled++;
}

std::unique_ptr<EarlyHello> Leg::take_early_hello(std::int64_t now_us) {
    auto early = std::move(early_hello_);
    if (!early || early->is_empty()) return nullptr;
    if (!early->is_over(now_us)) return early;
    counters.dropped_disabled++;
    return nullptr;
}

/// Without ICE an address proves nothing: a hello has to come back with the cookie that was sent there, and
/// what else comes counts only once a handshake is under way. Once there are keys, only they move the leg.
Leg::DtlsTaken Leg::take_unchecked_dtls(const Address& from, Bytes buffer, std::size_t length,
                                        std::int64_t now_us) {
    auto is_hello = dtls::is_client_hello(buffer.first(length));
    auto is_admitted =
        is_hello && !receiver_ ? rtp_source_.could_admit(from, now_us) : rtp_source_.is_known(from);
    if (!is_admitted || !(is_hello || has_handshake_)) {
        counters.dtls_refused++;
        return {};
    }
    if (is_hello) {
        auto hello = dtls::parse_client_hello(buffer.first(length));
        if (!hello || !cookies_->has_sent(*hello, from)) {
            counters.dtls_refused++;
            if (!hello || !cookie_budget_.take(now_us)) return {};
            auto size = cookies_->request(buffer, from);
            return {.answer = Forward{number_, Channel::rtp, from, buffer.first(size)}};
        }
    }
    auto& budget = is_hello ? hello_budget_ : receiver_ ? dtls_budget_ : handshake_budget_;
    if (!budget.take(now_us)) {
        counters.dtls_limited++;
        return {};
    }
    if (is_hello && !receiver_) (void)rtp_source_.admit(from, now_us);
    has_handshake_ = true;
    is_heard_ = true;  // found: what keeps it silent now is its handshake, not its port
    counters.dtls_received++;
    return {.is_to_pass = true};
}

std::optional<Forward> Leg::send_dtls(Bytes datagram) {
    const auto& to = rtp_source_.current();
    if (!is_set_ || !settings_.is_dtls || !to.is_sendable()) return std::nullopt;
    counters.dtls_sent++;
    has_handshake_ = true;
    return Forward{number_, Channel::rtp, to, datagram};
}

std::optional<Leg::Plain> Leg::open_rtp(const rtp::Header& header, const Address& from, Bytes packet,
                                        std::int64_t now_us) {
    if (!receiver_) {
        if (settings_.is_dtls) {
            counters.dropped_unkeyed++;
            return std::nullopt;
        }
        if (!rtp_source_.admit(from, now_us)) {
            counters.dropped_source++;
            return std::nullopt;
        }
        auto place = tracker_.place(header.ssrc, header.sequence);
        if (!place) {
            counters.dropped_replay++;
            return std::nullopt;
        }
        return Plain{packet.size(), place->index, key_run_ + place->run};
    }
    bool was_old = false;
    auto opened = open_with_either(*receiver_, old_receiver_.get(), was_old,
                                   [&](srtp::Receiver& r) { return r.open_rtp(packet, header.length); });
    if (opened.outcome != srtp::Outcome::ok) {
        count(opened.outcome);
        return std::nullopt;
    }
    if (opened.is_newest && !(from == rtp_source_.current())) rtp_source_.prove(from);
    return Plain{opened.length, opened.index, was_old ? key_run_ - kKeyRun : key_run_};
}

std::optional<std::size_t> Leg::open_rtcp(Channel channel, const Address& from, Bytes packet,
                                          std::int64_t now_us) {
    auto& source = channel == Channel::rtcp ? rtcp_source_ : rtp_source_;
    if (!receiver_) {
        if (settings_.is_dtls) {
            counters.dropped_unkeyed++;
            return std::nullopt;
        }
        // On a muxed port RTCP never teaches the source: only media does.
        bool is_admitted = channel == Channel::rtcp ? source.admit(from, now_us) : from == source.current();
        if (is_admitted) return packet.size();
        counters.dropped_source++;
        return std::nullopt;
    }
    bool was_old = false;
    auto opened = open_with_either(*receiver_, old_receiver_.get(), was_old,
                                   [&](srtp::Receiver& r) { return r.open_rtcp(packet); });
    if (opened.outcome != srtp::Outcome::ok) {
        count(opened.outcome);
        return std::nullopt;
    }
    if (channel == Channel::rtcp && opened.is_newest) source.prove(from);
    return opened.length;
}

bool Leg::proves(const rtp::Header& header, Bytes copy) {
    return is_set_ && receiver_ && receiver_->verifies_rtp(copy, header.length);
}

void Leg::note_media(std::int64_t now_us) {
    last_media_us_ = now_us;
    is_heard_ = true;
    is_timed_out_ = false;
    const auto& source = rtp_source_.current();
    if (has_media_ && source == reported_source_) return;
    has_media_ = true;
    if (source == reported_source_) return;  // nothing is nominated yet
    reported_source_ = source;
    is_source_untold_ = true;
    tell_source(now_us);
}

/// A party may send each packet from another port: the events about it must not crowd out those that matter.
void Leg::tell_source(std::int64_t now_us) {
    if (!is_source_untold_ || now_us < next_source_event_us_) return;
    is_source_untold_ = false;
    next_source_event_us_ = now_us + kSourceEventUs;
    has_source_event_ = true;
}

std::optional<Forward> Leg::send_rtp(StreamId source, const Outgoing& packet, Bytes buffer,
                                     std::size_t length, std::size_t header_length, std::int64_t now_us) {
    if (!is_keyed()) return std::nullopt;
    auto mapped = map_.map(source, packet.index, packet.timestamp, packet.clock_rate, now_us, packet.span);
    if (!mapped) return std::nullopt;
    rtp::rewrite(buffer, {.payload_type = packet.payload_type,
                          .has_marker = (packet.has_marker || mapped->is_new_run)
                                        && rtp::may_be_marked(packet.payload_type),
                          .sequence = static_cast<std::uint16_t>(mapped->index),
                          .timestamp = mapped->timestamp,
                          .ssrc = ssrc_});
    auto sent = length;
    if (sender_) {
        sent = sender_->protect_rtp(buffer, length, header_length, mapped->index);
        if (!sent) return std::nullopt;
    }
    counters.packets_sent++;
    counters.bytes_sent += sent;
    packets_under_ssrc_++;
    octets_under_ssrc_ += static_cast<std::uint32_t>(length - header_length);
    return Forward{number_, Channel::rtp, rtp_source_.current(), buffer.first(sent)};
}

std::optional<Forward> Leg::send_rtcp(Bytes buffer, std::size_t length) {
    auto channel = settings_.is_muxed ? Channel::rtp : Channel::rtcp;
    const auto& to = settings_.is_muxed ? rtp_source_.current() : rtcp_source_.current();
    // Reports go on while the media is held (RFC 3264 section 8.4).
    if (!is_set_ || !is_keyed() || !to.is_sendable()) return std::nullopt;
    if (channel == Channel::rtcp && !settings_.has_rtcp_port) return std::nullopt;
    if (sender_) length = sender_->protect_rtcp(buffer, length);
    if (!length) return std::nullopt;
    counters.rtcp_sent++;
    return Forward{number_, channel, to, buffer.first(length)};
}

void Leg::hear_rtcp(ConstBytes compound, std::int64_t now_us, std::int64_t unix_us) {
    // A tag that verified makes up for the plausibility that reduced-size packets lack (RFC 5506
    // section 4.2).
    if (!rtcp::is_valid(compound, receiver_ != nullptr)) {
        counters.dropped_malformed++;
        return;
    }
    counters.rtcp_received++;
    reporting_.hear(compound, sent(), counters.packets_received, now_us, unix_us);
}

std::optional<Forward> Leg::send_report(Bytes buffer, bool says_goodbye, std::int64_t now_us,
                                        std::int64_t unix_us) {
    if (says_goodbye && !reporting_.has_written() && !packets_under_ssrc_) return std::nullopt;
    auto length = reporting_.write(sent(), reception, now_us, unix_us, says_goodbye, buffer);
    return send_rtcp(buffer, length);
}

/// What the party speaks, as far as is known: its last packet's format, else the first agreed, else what the
/// clock and the static types say (RFC 3551 section 6).
quality::Coding Leg::coding() const {
    constexpr std::uint8_t kG722 = 9;
    const auto* format = settings_.formats.find(last_payload_type);
    if (!format || format->name > codec::Name::opus) format = settings_.formats.audio();
    auto name = format ? format->name : codec::Name::pcmu;
    if (name == codec::Name::opus || settings_.clock_rate == 48'000) return quality::kOpus;
    return name == codec::Name::g722 || last_payload_type == kG722 ? quality::kG722 : quality::kG711;
}

/// Whether the last packet was comfort noise: then nothing needs to follow (RFC 3389 section 4).
bool Leg::is_resting() const {
    constexpr std::uint8_t kComfortNoise = 13, kOldComfortNoise = 19;
    if (!has_media_) return false;
    const auto* format = settings_.formats.find(last_payload_type);
    return format ? format->name == codec::Name::comfort_noise
                  : last_payload_type == kComfortNoise || last_payload_type == kOldComfortNoise;
}

void Leg::assess_reception() {
    assessment_.take_reception(reception, reporting_, coding());
}

void Leg::assess_hearing(const Leg* from, bool is_relayed, std::int64_t now_us) {
    assessment_.take_hearing(reporting_, coding(), from ? &from->assessment_.uplink() : nullptr, is_relayed,
                             now_us);
}

void Leg::watch(bool has_listener, std::int64_t now_us) {
    bool is_open = is_sendable() && settings_.may_receive;
    SilenceWatch::View view{.is_expected = is_open && settings_.is_answered && has_listener,
                            .since_us = set_us_,
                            .last_media_us = has_media_ ? last_media_us_ : -1,
                            .may_pause = reception.has_paused() || is_resting(),
                            .meant_silence_us = reporting_.meant_silence_us(),
                            .is_deaf = reporting_.is_deaf(),
                            .counters = counters};
    if (auto cause = watch_.look(view, now_us)) {
        silence_ = *cause;
        has_silence_event_ = true;
    }
}

void Leg::tick(std::int64_t now_us) {
    if (!is_set_) return;
    tell_source(now_us);
    if (ice_) {
        ice_->tick(now_us);
        if (handshake_from_ && !ice_->has_checked(*handshake_from_, now_us)) handshake_from_.reset();
        follow_ice(now_us);
    }
    if (old_receiver_ && now_us > old_receiver_until_us_) old_receiver_.reset();
    auto timeout_us = std::int64_t{settings_.media_timeout_ms} * 1000;
    // Who said that it is silent need not repeat it (RFC 3389 section 4): it has longer.
    if (is_resting()) timeout_us *= kRestingFactor;
    if (timeout_us && settings_.may_receive && !is_timed_out_
        && now_us - std::max(last_media_us_, set_us_) > timeout_us) {
        is_timed_out_ = true;
        has_timeout_event_ = true;
    }
}

std::optional<LegEvent> Leg::take_event() {
    if (std::exchange(has_source_event_, false))
        return LegEvent{.kind = LegEvent::Kind::source, .leg = number_, .source = reported_source_};
    if (std::exchange(has_timeout_event_, false))
        return LegEvent{.kind = LegEvent::Kind::media_timeout, .leg = number_};
    if (std::exchange(has_silence_event_, false))
        return LegEvent{.kind = LegEvent::Kind::silence, .leg = number_, .cause = silence_};
    if (std::exchange(has_loss_event_, false))
        return LegEvent{.kind = LegEvent::Kind::consent_lost, .leg = number_};
    if (std::exchange(has_selection_event_, false))
        return LegEvent{
            .kind = LegEvent::Kind::ice_selected, .leg = number_, .source = rtp_source_.current()};
    return std::nullopt;
}

LegReport Leg::report(std::int64_t now_us) const {
    LegReport report{.counters = counters, .lost = reception.lost(), .jitter_us = reception.jitter_us()};
    if (has_media_)
        report.silent_ms =
            static_cast<std::uint64_t>(std::max<std::int64_t>(now_us - last_media_us_, 0)) / 1000;
    if (ice_) report.stun = ice_->counters();
    if (const auto& remote = reporting_.remote()) report.remote_lost = remote->lost;
    report.quality = assessment_.call();
    return report;
}

}  // namespace hushwire
