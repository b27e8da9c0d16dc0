#include "core/rtcp.hpp"

namespace hushwire::rtcp {
namespace {

constexpr unsigned kSenderReport = 200, kReceiverReport = 201, kDescription = 202;
constexpr std::size_t kHeader = 4, kBlock = 24, kSenderInfo = 20;

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
    return 4 + (type == kSenderReport ? kSenderInfo : 0);
}

void write_header(Bytes out, std::size_t length, unsigned type, unsigned count) {
    out[0] = static_cast<std::byte>(0x80 | count);
    out[1] = static_cast<std::byte>(type);
    store_be(out.data() + 2, static_cast<std::uint16_t>(length / 4 - 1));
}

/// The report's blocks about our stream, translated to the other party's stream; returns the bytes written.
std::size_t translate_blocks(const Packet& report, const View& view, Bytes out, Translated& result) {
    if (!view.backward || !view.backward->source_ssrc()) return 0;
    std::size_t written = 0;
    for (std::size_t i = 0; i < report.count; i++) {
        auto block = report.body.subspan(fixed_size(report.type) + i * kBlock, kBlock);
        if (load_be32(block.data()) != view.reported_ssrc) continue;
        auto sequence = view.backward->input_sequence_of(load_be32(block.data() + 8));
        if (!sequence) continue;
        auto lost = load_be32(block.data() + 4) & 0xffffff;
        result.reported_lost = lost & 0x800000 ? 0 : lost;  // 24 bits, signed; negative with duplicates
        std::memcpy(out.data() + written, block.data(), kBlock);
        store_be(out.data() + written, *view.backward->source_ssrc());
        store_be(out.data() + written + 8, *sequence);
        written += kBlock;
    }
    return written;
}

std::size_t translate_report(const Packet& report, const View& view, Bytes out, Translated& result) {
    std::optional<std::uint32_t> timestamp;
    if (report.type == kSenderReport && view.forward)
        timestamp =
            view.forward->timestamp_of(load_be32(report.body.data()), load_be32(report.body.data() + 12));
    std::size_t length = kHeader + 4;
    store_be(out.data() + kHeader, view.out_ssrc);
    if (timestamp) {
        std::memcpy(out.data() + 8, report.body.data() + 4,
                    8);  // the NTP time stamp, so that round trips add up end to end
        store_be(out.data() + 16, *timestamp);
        store_be(out.data() + 20, view.packets_sent);
        store_be(out.data() + 24, view.octets_sent);
        length += kSenderInfo;
    }
    auto blocks = translate_blocks(report, view, out.subspan(length), result);
    length += blocks;
    write_header(out, length, timestamp ? kSenderReport : kReceiverReport,
                 static_cast<unsigned>(blocks / kBlock));
    return length;
}

/// Section 6.5: one chunk, CNAME only, ended by at least one null byte up to a full word.
std::size_t write_description(const View& view, Bytes out) {
    constexpr std::size_t kLength = 28, kName = 16;
    std::memset(out.data(), 0, kLength);
    write_header(out, kLength, kDescription, 1);
    store_be(out.data() + 4, view.out_ssrc);
    out[8] = std::byte{1};
    out[9] = std::byte{kName};
    std::memcpy(out.data() + 10, view.canonical_name.data(), kName);
    return kLength;
}

}  // namespace

bool is_valid(ConstBytes compound) {
    if (compound.size() > kMaxCompound) return false;
    bool is_first = true;
    while (!compound.empty()) {
        auto packet = next(compound);
        if (!packet) return false;
        if (is_first && !is_report(packet->type)) return false;
        if (is_report(packet->type)
            && packet->body.size() < fixed_size(packet->type) + packet->count * kBlock)
            return false;
        is_first = false;
    }
    return !is_first;
}

Translated translate(ConstBytes compound, const View& view, Bytes out) {
    Translated result;
    bool has_description = false, has_report = false;
    while (auto packet = next(compound)) {
        if (is_report(packet->type) && !has_report) {
            result.length = translate_report(*packet, view, out, result);
            has_report = true;
        } else if (packet->type == kDescription) {
            has_description = true;
        }
    }
    if (result.length && has_description)
        result.length += write_description(view, out.subspan(result.length));
    return result;
}

}  // namespace hushwire::rtcp
