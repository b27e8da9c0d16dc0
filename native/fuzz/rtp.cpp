// RTP: the header's parser, padding, stripping and rewriting, and what follows the sequence numbers.
#include "core/rtp.hpp"

#include "core/sequence.hpp"
#include "fuzz/fuzz.hpp"

using namespace hushwire;

namespace {

void one_packet(ConstBytes bytes) {
    auto packet = fuzz::exact(bytes);
    auto header = rtp::parse(packet);
    rtp::looks_like_rtcp(packet);
    if (!header) return;
    CLAIM(header->length >= rtp::kFixedHeader && header->length <= packet.size());
    bool is_padded_well = rtp::has_valid_padding(*header, packet);
    auto payload = fuzz::exact(std::span(packet).subspan(header->length));
    auto at = rtp::strip(packet, *header);
    CLAIM(at + rtp::kFixedHeader + payload.size() == packet.size());
    auto stripped = std::span(packet).subspan(at);
    auto again = rtp::parse(stripped);
    CLAIM(again && again->length == rtp::kFixedHeader && again->ssrc == header->ssrc);
    CLAIM(std::ranges::equal(stripped.subspan(rtp::kFixedHeader), payload));
    CLAIM(!is_padded_well || rtp::has_valid_padding(*again, stripped));
    rtp::rewrite(stripped,
                 {.payload_type = 101, .has_marker = true, .sequence = 7, .timestamp = 9, .ssrc = 11});
    auto ours = rtp::parse(stripped);
    CLAIM(ours && ours->payload_type == 101 && ours->has_marker && ours->sequence == 7 && ours->timestamp == 9
          && ours->ssrc == 11);
}

/// Sequence numbers as they may come: no place twice within a run, no output index twice at all.
void numbers(fuzz::Input input) {
    SequenceTracker tracker;
    OutputMap map(input.integer<std::uint16_t>(), input.integer<std::uint32_t>());
    std::vector<std::uint64_t> given;
    std::uint32_t ssrc = 0;
    std::int64_t now_us = 0;
    while (!input.is_empty() && given.size() < 300) {
        auto step = input.byte();
        if (step & 1) ssrc = step >> 1;
        now_us += step * 1000;
        auto place = tracker.place(ssrc, input.integer<std::uint16_t>());
        if (!place) continue;
        auto out = map.map({ssrc, place->run}, place->index, input.integer<std::uint32_t>(), 8000, now_us);
        if (!out) continue;
        CLAIM(std::ranges::find(given, out->index) == given.end());
        given.push_back(out->index);
    }
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    one_packet(std::as_bytes(std::span(data, size)));
    numbers({data, size});
    return 0;
}
