#include "control/leg_fields.hpp"

#include <algorithm>

namespace hushwire::control {
namespace {

struct Wrong {
    std::string_view message;
};

std::variant<std::optional<srtp::MasterKey>, Wrong> master_key(const Fields& fields, Tag suite_tag,
                                                               Tag key_tag) {
    auto key = fields.find(key_tag);
    if (!key && !fields.has(suite_tag)) return std::nullopt;
    auto suite = srtp::suite_from(fields.integer<std::uint8_t>(suite_tag));
    if (!key || !suite) return Wrong{"a key needs a known suite, and a suite a key"};
    srtp::MasterKey master{*suite, Secret<46>(*key)};
    if (!master.has_right_size()) return Wrong{"the key's length does not fit its suite"};
    return master;
}

std::optional<bool> flag(const Fields& fields, Tag tag, bool absent) {
    auto value = fields.integer<std::uint8_t>(tag, absent ? 1 : 0);
    if (value > 1) return std::nullopt;
    return value == 1;
}

std::variant<std::optional<ice::Settings>, Wrong> ice_settings(const Fields& fields) {
    auto local = fields.find(Tag::ice_local_ufrag), password = fields.find(Tag::ice_local_password),
         remote = fields.find(Tag::ice_remote_ufrag);
    if (!local && !password && !remote) return std::nullopt;
    if (!local || !password || !remote) return Wrong{"ICE needs both fragments and the local password"};
    auto text = [](ConstBytes raw) {
        return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
    };
    ice::Settings ice{text(*local), text(*remote), Secret<ice::kMaxPassword>(*password)};
    if (!ice.is_valid()) return Wrong{"an ICE fragment or password is not made of ICE's characters"};
    return ice;
}

std::optional<Ip> usable_ip(ConstBytes raw, bool is_v4) {
    auto ip = Ip::from(raw);
    if (!ip || ip->is_multicast_or_broadcast()) return std::nullopt;
    if (ip->is_v4() != is_v4 && !ip->is_unspecified()) return std::nullopt;
    return ip;
}

/// CODEC: u8 payload type, u8 codec, u8 packet time in ms, u8 flags, u32 clock rate.
std::variant<Formats, Wrong> formats(const Fields& fields) {
    Formats out;
    for (const auto& field : fields.all()) {
        if (field.tag != Tag::codec) continue;
        ByteReader reader(field.value);
        auto type = *reader.integer<std::uint8_t>(), name = *reader.integer<std::uint8_t>();
        auto ptime_ms = *reader.integer<std::uint8_t>(), flags = *reader.integer<std::uint8_t>();
        auto clock_rate = *reader.integer<std::uint32_t>();
        if (out.count == Formats::kMax) return Wrong{"too many codecs"};
        if (type > 127 || out.find(type))
            return Wrong{"a codec's payload type is above 127, or stands twice"};
        codec::Format format{.name = codec::Name{name},
                             .payload_type = type,
                             .ptime_ms = ptime_ms,
                             .wants_fec = (flags & 1) != 0,
                             .may_pause = (flags & 2) != 0,
                             .clock_rate = clock_rate};
        bool is_event = format.name == codec::Name::telephone_event;
        auto own_clock = format.name == codec::Name::opus ? 48'000U : 8000U;
        if (name < 1 || name > static_cast<std::uint8_t>(codec::Name::telephone_event))
            return Wrong{"unknown codec"};
        if (ptime_ms < 10 || ptime_ms > codec::kMaxPacketMs) return Wrong{"a packet time is out of range"};
        if (flags > 3) return Wrong{"unknown flags of a codec"};
        if (is_event ? clock_rate < 8000 || clock_rate > 48'000 : clock_rate != own_clock)
            return Wrong{"a codec has another clock rate"};
        out.list[out.count++] = format;
    }
    return out;
}

template <typename T>
void put(FrameWriter& out, Tag tag, const std::optional<T>& value) {
    if (value) out.put(tag, *value);
}

/// All but JITTER_US, which LEG_STATS has of the whole call anyway.
void put_quality(FrameWriter& out, const LegQuality& quality) {
    put(out, Tag::round_trip_us, quality.round_trip_us);
    put(out, Tag::loss_received, quality.loss_received);
    put(out, Tag::loss_reported, quality.loss_reported);
    put(out, Tag::remote_jitter_us, quality.remote_jitter_us);
    put(out, Tag::mos_received, quality.mos_received);
    put(out, Tag::mos_heard, quality.mos_heard);
    out.put(Tag::burst_ratio, quality.burst_ratio);
}

}  // namespace

std::variant<std::optional<io::SharedWish>, Refusal> shared_wish(const Fields& fields, bool is_v4) {
    auto invalid = [](std::string_view message) { return Refusal{Status::invalid, message}; };
    auto ports = fields.integer<std::uint8_t>(Tag::ports);
    if (ports > static_cast<unsigned>(FoundBy::name)) return invalid("PORTS is not 0, 1, 2 or 3");
    if (fields.has(Tag::remote_ip) != fields.has(Tag::remote_port))
        return invalid("the remote address needs its port, and the port its address");
    io::SharedWish wish;
    if (auto raw = fields.find(Tag::signalling_ip)) {
        wish.signalling = Ip::from(*raw);
        if (!wish.signalling) return invalid("the signalling address is neither 4 nor 16 bytes");
    }
    if (auto raw = fields.find(Tag::remote_ip)) {
        auto ip = usable_ip(*raw, is_v4);
        if (!ip) return invalid("the remote address can't be sent to from here");
        wish.remote = Address{*ip, fields.integer<std::uint16_t>(Tag::remote_port)};
    }
    if (!ports) return std::nullopt;
    wish.way = static_cast<FoundBy>(ports);
    return wish;
}

std::variant<LegSettings, Refusal> leg_settings(const Fields& fields, bool is_v4) {
    auto invalid = [](std::string_view message) { return Refusal{Status::invalid, message}; };
    LegSettings out;
    auto ip = usable_ip(*fields.find(Tag::remote_ip), is_v4);
    if (!ip) return invalid("the remote address can't be sent to from here");
    auto mux = flag(fields, Tag::rtcp_mux, false), learn = flag(fields, Tag::learn, true);
    auto send = flag(fields, Tag::send, true), receive = flag(fields, Tag::receive, true);
    auto answered = flag(fields, Tag::answered, false);
    if (!mux || !learn || !send || !receive || !answered) return invalid("a flag is neither 0 nor 1");
    out.is_muxed = *mux;
    out.may_learn = *learn;
    out.may_send = *send;
    out.may_receive = *receive;
    out.is_answered = *answered;
    auto port = fields.integer<std::uint16_t>(Tag::remote_port);
    auto next = static_cast<std::uint16_t>(port == 0 || port == 0xffff ? 0 : port + 1);
    out.remote_rtp = {*ip, port};
    out.remote_rtcp = {*ip, fields.integer<std::uint16_t>(Tag::remote_rtcp_port, *mux ? port : next)};

    for (auto [suite, key, target] : {std::tuple{Tag::send_suite, Tag::send_key, &out.send_key},
                                      std::tuple{Tag::recv_suite, Tag::recv_key, &out.recv_key}}) {
        auto master = master_key(fields, suite, key);
        if (const auto* wrong = std::get_if<Wrong>(&master)) return invalid(wrong->message);
        *target = std::get<0>(master);
    }
    if (out.send_key.has_value() != out.recv_key.has_value())
        return invalid("SRTP needs a key for each direction");
    // With one key for both directions, two streams could meet at the same SSRC and index (RFC 3711
    // section 9.1).
    if (out.send_key && out.send_key->key_and_salt == out.recv_key->key_and_salt)
        return invalid("the two directions share a key");

    auto ice = ice_settings(fields);
    if (const auto* wrong = std::get_if<Wrong>(&ice)) return invalid(wrong->message);
    out.ice = std::move(std::get<0>(ice));
    if (out.ice && !out.is_muxed) return invalid("ICE needs RTCP on the port of RTP");
    auto keying = fields.integer<std::uint8_t>(Tag::keying);
    if (keying > 1) return invalid("the keying is not known");
    out.is_dtls = keying == 1;

    if (auto raw = fields.find(Tag::signalling_ip)) {
        out.signalling_ip = Ip::from(*raw);
        if (!out.signalling_ip) return invalid("the signalling address is neither 4 nor 16 bytes");
        if (out.signalling_ip->is_unspecified()) out.signalling_ip.reset();
    }
    if (auto pairs = fields.find(Tag::payload_types)) {
        if (pairs->size() % 2) return invalid("payload types come in pairs");
        for (std::size_t i = 0; i < pairs->size(); i += 2) {
            auto from = std::to_integer<std::uint8_t>((*pairs)[i]),
                 to = std::to_integer<std::uint8_t>((*pairs)[i + 1]);
            if (from > 127 || to > 127) return invalid("a payload type is above 127");
            out.payload_types[from] = to;
        }
    }
    auto list = formats(fields);
    if (const auto* wrong = std::get_if<Wrong>(&list)) return invalid(wrong->message);
    out.formats = std::get<Formats>(list);
    out.media_timeout_ms = fields.integer<std::uint32_t>(Tag::media_timeout_ms, out.media_timeout_ms);
    out.clock_rate = fields.integer<std::uint32_t>(Tag::clock_rate, out.clock_rate);
    if (out.clock_rate < 1000 || out.clock_rate > 192'000) return invalid("the clock rate is out of range");
    return out;
}

FrameWriter leg_quality(const AssessedLeg& leg) {
    FrameWriter out;
    out.put(Tag::leg, static_cast<std::uint8_t>(leg.leg)).put(Tag::jitter_us, leg.quality.jitter_us);
    put_quality(out, leg.quality);
    return out;
}

FrameWriter leg_stats(unsigned leg, std::uint16_t rtp_port, const LegReport& report) {
    const auto& c = report.counters;
    FrameWriter out;
    out.put(Tag::leg, static_cast<std::uint8_t>(leg)).put(Tag::rtp_port, rtp_port);
    for (auto [tag, value] : {std::pair{Tag::packets_received, c.packets_received},
                              {Tag::bytes_received, c.bytes_received},
                              {Tag::packets_sent, c.packets_sent},
                              {Tag::bytes_sent, c.bytes_sent},
                              {Tag::lost, report.lost},
                              {Tag::dropped_replay, c.dropped_replay},
                              {Tag::dropped_tag, c.dropped_tag},
                              {Tag::dropped_source, c.dropped_source},
                              {Tag::dropped_malformed, c.dropped_malformed},
                              {Tag::dropped_disabled, c.dropped_disabled},
                              {Tag::dropped_unsent, c.dropped_unsent},
                              {Tag::dropped_budget, c.dropped_budget},
                              {Tag::dropped_rtcp_budget, c.dropped_rtcp_budget},
                              {Tag::rtcp_received, c.rtcp_received},
                              {Tag::rtcp_sent, c.rtcp_sent},
                              {Tag::dropped_unchecked, c.dropped_unchecked},
                              {Tag::dropped_unkeyed, c.dropped_unkeyed},
                              {Tag::dtls_received, c.dtls_received},
                              {Tag::dtls_sent, c.dtls_sent},
                              {Tag::dtls_refused, c.dtls_refused},
                              {Tag::dtls_limited, c.dtls_limited}})
        out.put(tag, value);
    if (report.stun)
        out.put(Tag::stun_received, report.stun->received)
            .put(Tag::stun_answered, report.stun->answered)
            .put(Tag::stun_refused, report.stun->refused)
            .put(Tag::stun_limited, report.stun->limited)
            .put(Tag::stun_repeated, report.stun->repeated);
    out.put(Tag::jitter_us, report.jitter_us);
    put_quality(out, report.quality.mean);
    put(out, Tag::round_trip_max_us, report.quality.round_trip_max_us);
    put(out, Tag::mos_received_worst, report.quality.mos_received_worst);
    put(out, Tag::mos_heard_worst, report.quality.mos_heard_worst);
    out.put(Tag::jitter_max_us, report.quality.jitter_max_us);
    if (report.silent_ms) out.put(Tag::silent_ms, *report.silent_ms);
    if (report.remote_lost) out.put(Tag::remote_lost, *report.remote_lost);
    if (report.voice)
        out.put(Tag::concealed_ms, report.voice->concealed_ms)
            .put(Tag::recovered_ms, report.voice->recovered_ms)
            .put(Tag::late, report.voice->late)
            .put(Tag::playout_delay_us, static_cast<std::uint32_t>(report.voice->delay_us));
    if (report.speech)
        out.put(Tag::speech_ms, report.speech->speech_ms).put(Tag::quiet_ms, report.speech->quiet_ms);
    return out;
}

FrameWriter recording_result(const io::RecordingResult& result) {
    FrameWriter out;
    out.put(Tag::recording, ConstBytes(result.identity.recording))
        .put(Tag::segment, result.identity.segment)
        .put(Tag::recording_state,
             static_cast<std::uint8_t>(result.is_failed ? RecordingState::failed : RecordingState::closed))
        .put(Tag::frames, result.frames)
        .put(Tag::bytes, result.bytes)
        .put(Tag::digest, ConstBytes(result.digest))
        .put(Tag::duration_ms, result.duration_ms)
        .put(Tag::gaps, result.gaps)
        .put(Tag::seal_lag_us, result.seal_lag_us);
    if (result.is_failed) out.put(Tag::failure, static_cast<std::uint8_t>(result.failure));
    return out;
}

bool is_spool_name(std::string_view name) {
    auto is_alnum = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    };
    return name.size() >= 5 && name.size() <= 128 && is_alnum(name.front()) && name.ends_with(".hwr")
           && std::ranges::all_of(name,
                                  [&](char c) { return is_alnum(c) || c == '.' || c == '_' || c == '-'; });
}

}  // namespace hushwire::control
