#include "core/srtp.hpp"

#include "core/rollover.hpp"
#include "core/rtp.hpp"

namespace hushwire::srtp {

Receiver::Receiver(const MasterKey& master, const Receiver* previous)
    : master_(master),
      rtp_(master, Purpose::rtp, Direction::open),
      rtcp_(master, Purpose::rtcp, Direction::open) {
    if (!previous) return;
    for (const auto& s : previous->streams_)
        if (s.is_used && !s.rtp.is_empty() && s.rtp.top() >> 16)
            hints_[hint_count_++] = {s.ssrc, static_cast<std::uint32_t>(s.rtp.top() >> 16)};
}

Receiver::Stream* Receiver::find(std::uint32_t ssrc) {
    for (auto& s : streams_)
        if (s.is_used && s.ssrc == ssrc) return &s;
    return nullptr;
}

Receiver::Stream* Receiver::add(std::uint32_t ssrc) {
    for (auto& s : streams_)
        if (!s.is_used) {
            s.is_used = true;
            s.ssrc = ssrc;
            return &s;
        }
    return nullptr;
}

/// Opens a stream's first packet. The rollover counter is 0 by the RFC; what it was before a re-keying, where
/// the sender kept it; 1 where the sender began just below 2^16 and its first packets were lost.
std::optional<std::uint32_t> Receiver::open_first(Bytes packet, std::size_t header_length) {
    auto sequence = load_be16(packet.data() + 2);
    auto ssrc = load_be32(packet.data() + 8);
    auto opens = [&](std::uint32_t rollover) {
        return rtp_.open_rtp(packet, header_length, std::uint64_t{rollover} << 16 | sequence);
    };
    if (opens(0)) return 0;
    for (std::size_t i = 0; i < hint_count_; i++) {
        if (hints_[i].first != ssrc) continue;
        for (auto candidate : {hints_[i].second, hints_[i].second + 1})
            if (opens(candidate)) return candidate;
    }
    if (sequence < 0x8000 && opens(1)) return 1;
    return std::nullopt;
}

Opened Receiver::open_rtp(Bytes packet, std::size_t header_length) {
    auto tag_size = rtp_tag_size(master_.suite);
    if (packet.size() < header_length + tag_size || header_length < rtp::kFixedHeader) return {};
    auto sequence = load_be16(packet.data() + 2);
    auto ssrc = load_be32(packet.data() + 8);

    std::optional<std::uint32_t> rollover;
    auto* stream = find(ssrc);
    if (stream && !stream->rtp.is_empty()) {
        rollover = guess_rollover(stream->rtp.top(), sequence);
        auto index = std::uint64_t{rollover.value_or(0)} << 16 | sequence;
        if (!rollover || stream->rtp.was_seen(index)) return {.outcome = Outcome::replay};
        if (!rtp_.open_rtp(packet, header_length, index)) return {.outcome = Outcome::bad_tag};
    } else {
        if (!stream && is_full()) return {.outcome = Outcome::replay};
        rollover = open_first(packet, header_length);
        if (!rollover) return {.outcome = Outcome::bad_tag};
        if (!stream) stream = add(ssrc);
    }
    auto index = std::uint64_t{*rollover} << 16 | sequence;
    bool is_newest = stream->rtp.is_empty() || index > stream->rtp.top();
    stream->rtp.mark(index);
    return {Outcome::ok, packet.size() - tag_size, index, is_newest};
}

bool Receiver::verifies_rtp(Bytes copy, std::size_t header_length) {
    if (copy.size() < header_length + rtp_tag_size(master_.suite) || header_length < rtp::kFixedHeader)
        return false;
    const auto* stream = find(load_be32(copy.data() + 8));
    if (!stream || stream->rtp.is_empty()) return open_first(copy, header_length).has_value();
    auto sequence = load_be16(copy.data() + 2);
    auto rollover = guess_rollover(stream->rtp.top(), sequence);
    return rollover && rtp_.open_rtp(copy, header_length, std::uint64_t{*rollover} << 16 | sequence);
}

Opened Receiver::open_rtcp(Bytes packet) {
    auto trailer_size = rtcp_trailer_size(master_.suite);
    if (packet.size() < kRtcpClear + trailer_size) return {};
    auto word = rtcp_.rtcp_word(packet);
    if (!(word & kEncrypted)) return {};  // nobody negotiated UNENCRYPTED_SRTCP (RFC 4568 section 6.3.2)
    std::uint64_t index = word & ~kEncrypted;
    auto ssrc = load_be32(packet.data() + 4);
    auto* stream = find(ssrc);
    if (stream ? stream->rtcp.was_seen(index) : is_full()) return {.outcome = Outcome::replay};
    if (!rtcp_.open_rtcp(packet)) return {.outcome = Outcome::bad_tag};
    if (!stream) stream = add(ssrc);
    bool is_newest = stream->rtcp.is_empty() || index > stream->rtcp.top();
    stream->rtcp.mark(index);
    return {Outcome::ok, packet.size() - trailer_size, index, is_newest};
}

Sender::Sender(const MasterKey& master)
    : master_(master),
      rtp_(master, Purpose::rtp, Direction::seal),
      rtcp_(master, Purpose::rtcp, Direction::seal) {}

std::size_t Sender::protect_rtp(Bytes buffer, std::size_t length, std::size_t header_length,
                                std::uint64_t index) {
    auto size = length + rtp_tag_size(master_.suite);
    if (size > buffer.size() || header_length > length || header_length < rtp::kFixedHeader) return 0;
    // Section 9.1: a key stream used twice gives both plain texts away, and with GCM the key of the tags too.
    // The callers never ask; this makes it certain.
    if (index >> 48 || used_.was_seen(index)) return 0;
    used_.mark(index);
    rtp_.seal_rtp(buffer.first(size), header_length, index);
    return size;
}

std::size_t Sender::protect_rtcp(Bytes buffer, std::size_t length) {
    auto size = length + rtcp_trailer_size(master_.suite);
    if (length < kRtcpClear || size > buffer.size() || next_rtcp_index_ >= kEncrypted) return 0;
    rtcp_.seal_rtcp(buffer.first(size), next_rtcp_index_++);
    return size;
}

}  // namespace hushwire::srtp
