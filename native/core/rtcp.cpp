#include "core/rtcp.hpp"

namespace hushwire::rtcp {
namespace {

constexpr unsigned kSenderReport = 200, kReceiverReport = 201, kDescription = 202, kGoodbye = 203,
                   kExtended = 207;
constexpr unsigned kReferenceTime = 4, kReferenceDelays = 5, kVoipMetrics = 7;  // RFC 3611 section 4
constexpr std::size_t kHeader = 4, kSsrc = 4, kSenderInfo = 20, kBlock = 24;

struct Packet {
    unsigned type = 0;
    unsigned count = 0;
    ConstBytes body;  // after the header
};

/// Takes the next packet off the front of `rest`.
std::optional<Packet> next(ConstBytes& rest) {
    if (rest.size() < kHeader) return std::nullopt;
    auto first = std::to_integer<unsigned>(rest[0]);
    auto length = kHeader + 4 * std::size_t{load_be16(rest.data() + 2)};
    if (first >> 6 != 2 || length > rest.size()) return std::nullopt;
    Packet packet{std::to_integer<unsigned>(rest[1]), first & 0x1f, rest.subspan(kHeader, length - kHeader)};
    rest = rest.subspan(length);
    return packet;
}

bool is_report(unsigned type) {
    return type == kSenderReport || type == kReceiverReport;
}

/// Size of a report's fixed part after the header.
std::size_t fixed_size(unsigned type) {
    return kSsrc + (type == kSenderReport ? kSenderInfo : 0);
}

/// 24 bits, signed: duplicates can make it negative.
std::int32_t cumulative(std::uint32_t word) {
    auto low = static_cast<std::int32_t>(word & 0xffffff);
    return low >= 0x800000 ? low - 0x1000000 : low;
}

Block read_block(const std::byte* at) {
    Block block;
    auto lost = load_be32(at + 4);
    block.ssrc = load_be32(at);
    block.fraction_lost = static_cast<std::uint8_t>(lost >> 24);
    block.cumulative_lost = cumulative(lost);
    block.highest = load_be32(at + 8);
    block.jitter = load_be32(at + 12);
    block.last_sr = load_be32(at + 16);
    block.delay_since_last_sr = load_be32(at + 20);
    return block;
}

class Writer {
  public:
    explicit Writer(Bytes out) : out_(out) {}
    void header(std::size_t length, unsigned type, unsigned count) {
        word(0x80000000U | count << 24 | type << 16 | static_cast<std::uint32_t>(length / 4 - 1));
    }
    void word(std::uint32_t value) {
        store_be(out_.data() + at_, value);
        at_ += 4;
    }
    void bytes(ConstBytes data) {
        std::memcpy(out_.data() + at_, data.data(), data.size());
        at_ += data.size();
    }
    std::size_t size() const { return at_; }

  private:
    Bytes out_;
    std::size_t at_ = 0;
};

void write_block(Writer& to, const Block& block) {
    to.word(block.ssrc);
    to.word(std::uint32_t{block.fraction_lost} << 24
            | (static_cast<std::uint32_t>(block.cumulative_lost) & 0xffffff));
    to.word(block.highest);
    to.word(block.jitter);
    to.word(block.last_sr);
    to.word(block.delay_since_last_sr);
}

/// Section 6.5: one chunk, CNAME only, ended by at least one null byte up to a full word.
void write_description(Writer& to, std::uint32_t ssrc, ConstBytes name) {
    constexpr std::byte item[] = {std::byte{1}, std::byte{kNameSize}}, end[] = {std::byte{0}, std::byte{0}};
    static_assert((sizeof item + kNameSize + sizeof end) % 4 == 0);
    to.header(kHeader + kSsrc + sizeof item + kNameSize + sizeof end, kDescription, 1);
    to.word(ssrc);
    to.bytes(item);
    to.bytes(name.first(kNameSize));
    to.bytes(end);
}

/// RFC 3611 section 3: blocks of a type and a length in words; those that are not known are passed over.
void read_extended(ConstBytes body, std::uint32_t our_ssrc, Heard& heard) {
    if (body.size() < kSsrc) return;
    heard.has_extended = true;
    heard.extended_ssrc = load_be32(body.data());
    body = body.subspan(kSsrc);
    while (body.size() >= kHeader) {
        auto type = std::to_integer<unsigned>(body[0]);
        auto length = 4 * std::size_t{load_be16(body.data() + 2)};
        if (length > body.size() - kHeader) return;
        auto block = body.subspan(kHeader, length);
        body = body.subspan(kHeader + length);
        if (type == kReferenceTime && length == 8) {
            heard.reference = middle(load_be<std::uint64_t>(block.data()));
        } else if (type == kReferenceDelays && length % 12 == 0) {
            for (; !block.empty(); block = block.subspan(12))
                if (load_be32(block.data()) == our_ssrc)
                    heard.since_ours =
                        ReferenceDelay{our_ssrc, load_be32(block.data() + 4), load_be32(block.data() + 8)};
        } else if (type == kVoipMetrics && length == 32 && load_be32(block.data()) == our_ssrc) {
            heard.metrics =
                VoipMetrics{std::to_integer<std::uint8_t>(block[4]), std::to_integer<std::uint8_t>(block[5]),
                            load_be16(block.data() + 12)};
        }
    }
}

void write_extended(Writer& to, const Compound& compound) {
    auto length = kHeader + kSsrc + (compound.reference ? 12U : 0U) + (compound.since_theirs ? 16U : 0U);
    to.header(length, kExtended, 0);
    to.word(compound.ssrc);
    if (compound.reference) {
        to.word(kReferenceTime << 24 | 2);
        to.word(static_cast<std::uint32_t>(*compound.reference >> 32));
        to.word(static_cast<std::uint32_t>(*compound.reference));
    }
    if (const auto& since = compound.since_theirs) {
        to.word(kReferenceDelays << 24 | 3);
        to.word(since->ssrc);
        to.word(since->last_reference);
        to.word(since->delay);
    }
}

}  // namespace

bool is_valid(ConstBytes compound, bool may_be_reduced) {
    if (compound.empty() || compound.size() > kMaxCompound) return false;
    bool is_first = true;
    while (!compound.empty()) {
        auto packet = next(compound);
        if (!packet) return false;
        if (is_first && !may_be_reduced && !is_report(packet->type)) return false;
        if (is_report(packet->type)
            && packet->body.size() < fixed_size(packet->type) + packet->count * kBlock)
            return false;
        is_first = false;
    }
    return true;
}

Heard read(ConstBytes compound, std::uint32_t our_ssrc) {
    Heard heard;
    while (auto packet = next(compound)) {
        if (packet->type == kExtended) read_extended(packet->body, our_ssrc, heard);
        if (!is_report(packet->type)) continue;
        heard.has_report = true;
        const auto* body = packet->body.data();
        if (packet->type == kSenderReport) {
            heard.ssrc = load_be32(body);
            heard.sender = SenderInfo{load_be<std::uint64_t>(body + 4), load_be32(body + 12),
                                      load_be32(body + 16), load_be32(body + 20)};
        }
        for (std::size_t i = 0; i < packet->count; i++) {
            const auto* at = body + fixed_size(packet->type) + i * kBlock;
            if (load_be32(at) == our_ssrc) heard.about_us = read_block(at);
        }
    }
    return heard;
}

std::size_t write(const Compound& compound, Bytes out) {
    Writer to(out);
    auto type = compound.sender ? kSenderReport : kReceiverReport;
    to.header(kHeader + fixed_size(type) + (compound.block ? kBlock : 0), type, compound.block ? 1 : 0);
    to.word(compound.ssrc);
    if (compound.sender) {
        to.word(static_cast<std::uint32_t>(compound.sender->ntp >> 32));
        to.word(static_cast<std::uint32_t>(compound.sender->ntp));
        to.word(compound.sender->timestamp);
        to.word(compound.sender->packets);
        to.word(compound.sender->octets);
    }
    if (compound.block) write_block(to, *compound.block);
    write_description(to, compound.ssrc, compound.name);
    if (compound.reference || compound.since_theirs) write_extended(to, compound);
    if (compound.says_goodbye) {
        to.header(kHeader + kSsrc, kGoodbye, 1);
        to.word(compound.ssrc);
    }
    return to.size();
}

std::uint64_t ntp_of(std::int64_t unix_us) {
    constexpr std::int64_t kUnixEpoch = 2'208'988'800;  // seconds from 1900 to 1970
    auto seconds = static_cast<std::uint64_t>(unix_us / 1'000'000 + kUnixEpoch);
    auto fraction = (static_cast<std::uint64_t>(unix_us % 1'000'000) << 32) / 1'000'000;
    return seconds << 32 | fraction;
}

}  // namespace hushwire::rtcp
