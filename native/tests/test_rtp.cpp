#include "core/replay.hpp"
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
