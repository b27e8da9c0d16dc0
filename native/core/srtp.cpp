#include "core/srtp.hpp"

#include "core/rtp.hpp"

namespace hushwire::srtp {
namespace {

constexpr std::size_t kRtcpClear = 8;  // section 3.4: header and sender SSRC stay readable
constexpr std::size_t kRtcpTrailer = 4 + kRtcpTag;
constexpr std::uint32_t kEncrypted = 0x80000000;

std::array<std::byte, 4> be32(std::uint32_t v) {
    std::array<std::byte, 4> out;
    store_be(out.data(), v);
    return out;
}

/// Section 3.3.1 and appendix A: the rollover counter that makes the index nearest to the highest one seen.
/// Nothing where that would lie before the stream's beginning.
std::optional<std::uint32_t> guess_rollover(std::uint64_t highest, std::uint16_t sequence) {
    auto rollover = static_cast<std::uint32_t>(highest >> 16);
    int last = static_cast<std::uint16_t>(highest);
    if (last < 0x8000) {
        if (sequence - last > 0x8000) {
            if (rollover == 0) return std::nullopt;
            return rollover - 1;
        }
    } else if (last - 0x8000 > sequence) {
        return rollover + 1;
    }
    return rollover;
}

}  // namespace

Receiver::Receiver(const MasterKey& master, const Receiver* previous)
    : master_(master), rtp_(master, Purpose::rtp), rtcp_(master, Purpose::rtcp) {
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

bool Receiver::verifies(ConstBytes packet, std::uint32_t rollover, ConstBytes tag) const {
    auto want = rtp_.authenticator.digest(packet, be32(rollover));
    return CRYPTO_memcmp(want.data(), tag.data(), tag.size()) == 0;
}

Opened Receiver::open_rtp(Bytes packet, std::size_t header_length) {
    auto tag_size = rtp_tag_size(master_.suite);
    if (packet.size() < header_length + tag_size) return {};
    auto plain = packet.first(packet.size() - tag_size);
    auto tag = packet.last(tag_size);
    auto sequence = load_be16(packet.data() + 2);
    auto ssrc = load_be32(packet.data() + 8);

    std::uint32_t rollover = 0;
    auto* stream = find(ssrc);
    if (stream && !stream->rtp.is_empty()) {
        auto guess = guess_rollover(stream->rtp.top(), sequence);
        if (!guess || stream->rtp.was_seen(std::uint64_t{*guess} << 16 | sequence))
            return {.outcome = Outcome::replay};
        rollover = *guess;
        if (!verifies(plain, rollover, tag)) return {.outcome = Outcome::bad_tag};
    } else {
        // A stream's first packet: 0 by the RFC; what it was before a re-keying, where the sender kept it; 1
        // where the sender began just below 2^16 and its first packets were lost.
        bool is_proven = verifies(plain, 0, tag);
        for (std::size_t i = 0; i < hint_count_ && !is_proven; i++) {
            if (hints_[i].first != ssrc) continue;
            for (auto candidate : {hints_[i].second, hints_[i].second + 1}) {
                rollover = candidate;
                is_proven = verifies(plain, rollover, tag);
                if (is_proven) break;
            }
        }
        if (!is_proven && sequence < 0x8000) {
            rollover = 1;
            is_proven = verifies(plain, rollover, tag);
        }
        if (!is_proven) return {.outcome = Outcome::bad_tag};
        if (!stream) stream = add(ssrc);
        if (!stream) return {.outcome = Outcome::replay};
    }
    auto index = std::uint64_t{rollover} << 16 | sequence;
    bool is_newest = stream->rtp.is_empty() || index > stream->rtp.top();
    stream->rtp.mark(index);
    rtp_.cipher.apply(plain.subspan(header_length), ssrc, index);
    return {Outcome::ok, plain.size(), index, is_newest};
}

Opened Receiver::open_rtcp(Bytes packet) {
    if (packet.size() < kRtcpClear + kRtcpTrailer) return {};
    auto plain = packet.first(packet.size() - kRtcpTrailer);
    auto trailer = load_be32(packet.data() + plain.size());
    if (!(trailer & kEncrypted)) return {};  // nobody negotiated UNENCRYPTED_SRTCP (RFC 4568 section 6.3.2)
    std::uint64_t index = trailer & ~kEncrypted;
    auto ssrc = load_be32(packet.data() + 4);
    auto* stream = find(ssrc);
    if (stream && stream->rtcp.was_seen(index)) return {.outcome = Outcome::replay};
    auto want = rtcp_.authenticator.digest(packet.first(plain.size() + 4), {});
    if (CRYPTO_memcmp(want.data(), packet.data() + plain.size() + 4, kRtcpTag) != 0)
        return {.outcome = Outcome::bad_tag};
    if (!stream) stream = add(ssrc);
    if (!stream) return {.outcome = Outcome::replay};
    bool is_newest = stream->rtcp.is_empty() || index > stream->rtcp.top();
    stream->rtcp.mark(index);
    rtcp_.cipher.apply(plain.subspan(kRtcpClear), ssrc, index);
    return {Outcome::ok, plain.size(), index, is_newest};
}

Sender::Sender(const MasterKey& master)
    : master_(master), rtp_(master, Purpose::rtp), rtcp_(master, Purpose::rtcp) {}

std::size_t Sender::protect_rtp(Bytes buffer, std::size_t length, std::size_t header_length,
                                std::uint64_t index) {
    auto tag_size = rtp_tag_size(master_.suite);
    if (length + tag_size > buffer.size() || header_length > length) return 0;
    // Section 9.1: a key stream used twice gives both plain texts away. The callers never ask; this makes it
    // certain.
    if (index >> 48 || used_.was_seen(index)) return 0;
    used_.mark(index);
    auto packet = buffer.first(length);
    rtp_.cipher.apply(packet.subspan(header_length), load_be32(buffer.data() + 8), index);
    auto digest = rtp_.authenticator.digest(packet, be32(static_cast<std::uint32_t>(index >> 16)));
    std::memcpy(buffer.data() + length, digest.data(), tag_size);
    return length + tag_size;
}

std::size_t Sender::protect_rtcp(Bytes buffer, std::size_t length) {
    if (length < kRtcpClear || length + kRtcpTrailer > buffer.size() || next_rtcp_index_ >= kEncrypted)
        return 0;
    auto index = next_rtcp_index_++;
    rtcp_.cipher.apply(buffer.subspan(kRtcpClear, length - kRtcpClear), load_be32(buffer.data() + 4), index);
    store_be(buffer.data() + length, kEncrypted | index);
    auto digest = rtcp_.authenticator.digest(buffer.first(length + 4), {});
    std::memcpy(buffer.data() + length + 4, digest.data(), kRtcpTag);
    return length + kRtcpTrailer;
}

}  // namespace hushwire::srtp
