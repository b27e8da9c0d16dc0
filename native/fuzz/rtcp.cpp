// RTCP: any compound at all is read, and what was read is written again.
#include "core/rtcp.hpp"

#include "fuzz/fuzz.hpp"

using namespace hushwire;

namespace {

void write_and_read(const rtcp::Heard& heard, bool says_goodbye) {
    std::vector<std::byte> out(rtcp::kMaxWritten);
    rtcp::Compound compound{.ssrc = heard.ssrc,
                            .sender = heard.sender,
                            .block = heard.about_us,
                            .name = as_bytes("0123456789abcdef"),
                            .says_goodbye = says_goodbye};
    if (heard.reference) compound.reference = std::uint64_t{*heard.reference} << 16;
    compound.since_theirs = heard.since_ours;
    auto length = rtcp::write(compound, out);
    CLAIM(length >= 8 && length <= out.size() && length % 4 == 0);
    auto ours = fuzz::exact(std::span(out).first(length));
    CLAIM(rtcp::is_valid(ours, false));
    CLAIM(load_be32(ours.data() + 4) == heard.ssrc);
    auto extended = rtcp::read(ours, heard.since_ours ? heard.since_ours->ssrc : 0);
    CLAIM(extended.reference == heard.reference);
    CLAIM(extended.since_ours.has_value() == heard.since_ours.has_value());
    if (heard.since_ours)
        CLAIM(extended.since_ours->last_reference == heard.since_ours->last_reference
              && extended.since_ours->delay == heard.since_ours->delay);
    if (!heard.about_us) return;
    auto again = rtcp::read(ours, heard.about_us->ssrc);
    CLAIM(again.has_report && again.about_us && again.about_us->last_sr == heard.about_us->last_sr);
    CLAIM(again.sender.has_value() == heard.sender.has_value());
    if (again.sender) CLAIM(again.sender->ntp == heard.sender->ntp && again.ssrc == heard.ssrc);
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    auto steer = input.byte();
    std::uint32_t our_ssrc = steer >> 4;  // small, so that reports about it are easily met
    auto compound = fuzz::exact(input.bytes(size));
    bool is_whole = rtcp::is_valid(compound, false);
    CLAIM(!is_whole || rtcp::is_valid(compound, true));
    if (!rtcp::is_valid(compound, (steer & 1) != 0)) return 0;
    auto heard = rtcp::read(compound, our_ssrc);
    CLAIM(!is_whole || heard.has_report);
    write_and_read(heard, (steer & 2) != 0);
    return 0;
}
