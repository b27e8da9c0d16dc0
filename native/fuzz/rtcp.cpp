// RTCP: any compound at all, translated between two streams that run.
#include "core/rtcp.hpp"

#include "fuzz/fuzz.hpp"

using namespace hushwire;

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    // Streams with small SSRCs, so that reports about them are easily met.
    OutputMap forward(input.byte(), 0), backward(input.byte(), 0);
    for (int i = input.byte() & 3; i > 0; i--) {
        forward.map({1, 0}, input.byte(), input.integer<std::uint32_t>(), 8000, 0);
        backward.map({2, 0}, input.byte(), 0, 8000, 0);
    }
    auto has_backward = input.flag();
    auto compound = fuzz::exact(input.bytes(size));
    if (!rtcp::is_valid(compound)) return 0;
    rtcp::View view{.out_ssrc = 11,
                    .forward = &forward,
                    .packets_sent = 5,
                    .octets_sent = 800,
                    .reported_ssrc = 12,
                    .backward = has_backward ? &backward : nullptr,
                    .canonical_name = as_bytes("0123456789abcdef")};
    std::vector<std::byte> out(rtcp::kMaxTranslated);
    auto result = rtcp::translate(compound, view, out);
    CLAIM(result.length <= out.size());
    if (!result.length) return 0;
    // What we send is valid itself, and comes from us.
    auto ours = fuzz::exact(std::span(out).first(result.length));
    CLAIM(rtcp::is_valid(ours));
    CLAIM(load_be32(ours.data() + 4) == view.out_ssrc);
    return 0;
}
