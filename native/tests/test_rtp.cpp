#include "core/replay.hpp"
#include "core/rtcp.hpp"
#include "core/rtp.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

TEST("a header with contributing sources and an extension has the right length") {
    auto packet =
        hex("9281000100000002000000030000000400000005bede0001aabbccdd"
            "ff");
    auto header = rtp::parse(packet);
    CHECK(header && header->length == 28 && header->has_marker && header->payload_type == 1
          && header->sequence == 1);
    for (std::size_t n = 0; n < 28; n++) CHECK(!rtp::parse(std::span(packet).first(n)));
}

TEST("other versions, oversize packets and lying extensions are refused") {
    auto packet = rtp_packet(1, 2, 3);
    for (unsigned first : {0x00U, 0x40U, 0xc0U}) {
        packet[0] = static_cast<std::byte>(first);
        CHECK(!rtp::parse(packet));
    }
    CHECK(!rtp::parse(rtp_packet(1, 2, 3, 1489)));
    CHECK(rtp::parse(rtp_packet(1, 2, 3, 1488)));
    CHECK(!rtp::parse(hex("90000001000000020000000300010002aabbccdd")));
}

TEST("padding is checked against what follows the header") {
    auto packet = rtp_packet(1, 2, 3, 4);
    packet[0] = std::byte{0xa0};
    auto header = rtp::parse(packet);
    for (unsigned count = 0; count < 256; count++) {
        packet.back() = static_cast<std::byte>(count);
        CHECK(rtp::has_valid_padding(*header, packet) == (count >= 1 && count <= 4));
    }
}

TEST("a replay window remembers 256 indexes and refuses what is older") {
    ReplayWindow window;
    CHECK(!window.was_seen(0));
    window.mark(1000);
    CHECK(window.was_seen(1000) && !window.was_seen(999) && !window.was_seen(1001));
    CHECK(!window.was_seen(745) && window.was_seen(744));
    window.mark(745);
    CHECK(window.was_seen(745));
    window.mark(1001);
    CHECK(window.was_seen(745) && window.was_seen(1000) && !window.was_seen(998));
    window.mark(100'000);
    CHECK(window.was_seen(1001) && !window.was_seen(99'999));
}

TEST("random compound packets never read or write outside, and translate within bounds") {
    OutputMap map(1, 2);
    map.map({7, 0}, 1, 1, 8000, 0);
    std::array<std::byte, rtcp::kMaxTranslated> out;
    int valid = 0;
    for (int n = 0; n < 200'000; n++) {
        std::vector<std::byte> packet(chance() % 1600);
        for (auto& b : packet) b = static_cast<std::byte>(chance());
        if (packet.size() >= 4) {
            packet[0] = static_cast<std::byte>(0x80 | chance() % 32);
            packet[1] = static_cast<std::byte>(200 + chance() % 4);
            store_be(packet.data() + 2,
                     static_cast<std::uint16_t>(chance() % 8 ? packet.size() / 4 - 1 : chance()));
        }
        if (!rtcp::is_valid(packet)) continue;
        valid++;
        rtcp::View view{.out_ssrc = 1,
                        .forward = &map,
                        .reported_ssrc = 2,
                        .backward = &map,
                        .canonical_name = as_bytes("0123456789abcdef")};
        CHECK(rtcp::translate(packet, view, out).length <= out.size());
    }
    CHECK(valid > 1000);
}

TEST("a report with 31 blocks about our stream fits, with its name") {
    OutputMap map(1, 2);
    auto sent = map.map({0xB, 0}, 500, 1, 8000, 0);
    std::vector<std::byte> packet(28 + 31 * 24, std::byte{0});
    packet[0] = std::byte{0x80 | 31};
    packet[1] = std::byte{200};
    store_be(packet.data() + 2, static_cast<std::uint16_t>(packet.size() / 4 - 1));
    store_be(packet.data() + 4, std::uint32_t{0xB});
    for (std::size_t i = 0; i < 31; i++) {
        store_be(packet.data() + 28 + i * 24, std::uint32_t{2});
        store_be(packet.data() + 28 + i * 24 + 8, static_cast<std::uint32_t>(sent->index));
    }
    auto name = hex("81ca00020000000b00000000");
    packet.insert(packet.end(), name.begin(), name.end());
    std::array<std::byte, rtcp::kMaxTranslated> out;
    rtcp::View view{.out_ssrc = 1,
                    .forward = &map,
                    .reported_ssrc = 2,
                    .backward = &map,
                    .canonical_name = as_bytes("0123456789abcdef")};
    CHECK(rtcp::is_valid(packet));
    CHECK(rtcp::translate(packet, view, out).length == rtcp::kMaxTranslated);
    CHECK(load_be32(out.data() + 28) == 0xB && load_be32(out.data() + 36) == 500);
}
