#include "control/leg_fields.hpp"
#include "control/protocol.hpp"
#include "options.hpp"
#include "tests/check.hpp"

using namespace hushwire;
using namespace hushwire::control;
using namespace hushwire::test;

namespace {

std::vector<std::byte> set_leg_frame() {
    FrameWriter frame(FrameKind::request, static_cast<std::uint16_t>(Op::set_leg), 7);
    Uuid id{};
    frame.put(Tag::bridge, ConstBytes(id))
        .put(Tag::leg, std::uint8_t{0})
        .put(Tag::remote_ip, hex("7f000001"));
    frame.put(Tag::remote_port, std::uint16_t{4000}).put(Tag::payload_types, hex("6560"));
    frame.put(Tag::send_suite, std::uint8_t{1}).put(Tag::send_key, std::vector<std::byte>(30, std::byte{1}));
    frame.put(Tag::recv_suite, std::uint8_t{1}).put(Tag::recv_key, std::vector<std::byte>(30, std::byte{2}));
    auto bytes = std::move(frame).finish();
    return {bytes.begin() + 4, bytes.end()};
}

}  // namespace

TEST("a request reads back as it was written") {
    auto frame = set_leg_frame();
    auto header = parse_request_header(frame);
    CHECK(header && header->opcode == 18 && header->id == 7);
    auto parsed = parse_fields(frame, Op::set_leg);
    auto* fields = std::get_if<Fields>(&parsed);
    CHECK(fields != nullptr);
    if (!fields) return;
    auto settings = leg_settings(*fields, true);
    auto* leg = std::get_if<LegSettings>(&settings);
    CHECK(leg && leg->remote_rtp.port == 4000 && leg->remote_rtcp.port == 4001
          && leg->payload_types[0x65] == 0x60);
    CHECK(leg && leg->send_key && leg->recv_key && leg->may_send && !leg->is_muxed);
}

TEST("a request cut at any byte, or with any byte changed, is read or refused but never overrun") {
    auto frame = set_leg_frame();
    for (std::size_t n = 8; n < frame.size(); n++) {
        std::vector<std::byte> cut(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(n));
        auto parsed = parse_fields(cut, Op::set_leg);
        if (auto* fields = std::get_if<Fields>(&parsed)) (void)leg_settings(*fields, true);
    }
    for (int n = 0; n < 200'000; n++) {
        auto changed = frame;
        for (auto i = chance() % 4 + 1; i > 0; i--)
            changed[8 + chance() % (changed.size() - 8)] = static_cast<std::byte>(chance());
        auto parsed = parse_fields(changed, Op::set_leg);
        if (auto* fields = std::get_if<Fields>(&parsed)) (void)leg_settings(*fields, n % 2 == 0);
    }
    CHECK(true);
}

TEST("only names that stay in the spool are names of spool files") {
    for (auto good : {"a.hwr", "0190-x_Y.0.hwr"}) CHECK(is_spool_name(good));
    for (auto bad :
         {"", ".hwr", "..hwr", "-a.hwr", "a/b.hwr", "../a.hwr", "a.hwr ", "a.HWR", "a\n.hwr", "a.hwrx"})
        CHECK(!is_spool_name(bad));
}
