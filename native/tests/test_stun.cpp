#include <algorithm>
#include <string>

#include "core/stun.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

// RFC 5769: sections 2.1, 2.2 and 2.3, with their password.
const auto kPassword = as_bytes("VOkJxbRl1RmTxUk/WvJxBt");
const auto kRequest =
    hex("000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74002400046e0001ff"
        "80290008932ff9b151263b36000600096576746a3a68367659202020000800149aeaa70cbfd8cb56781ef2b5b2d3f249"
        "c1b571a280280004e57a3bcf");
const auto kResponseV4 =
    hex("0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000080001a147e112a643"
        "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96");
const auto kResponseV6 =
    hex("010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220002000140002a1470113a9fa"
        "a5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed4180280004c8fb0b4c");

stun::IntegrityKey password() {
    return stun::integrity_key(kPassword);
}

}  // namespace

TEST("RFC 5769 2.1: the sample request is read, and its integrity and fingerprint hold") {
    auto m = stun::parse(kRequest);
    CHECK(m && m->kind == stun::Class::request && m->method == stun::kBinding);
    CHECK(m && m->username == "evtj:h6vY" && m->priority == 0x6e0001ffU && m->has_fingerprint);
    CHECK(m && m->controlled == 0x932ff9b151263b36U && !m->controlling && !m->has_use_candidate);
    CHECK(m && m->unknown_count == 0 && stun::has_integrity(kRequest, *m, password()));
    CHECK(m && !stun::has_integrity(kRequest, *m, stun::integrity_key(as_bytes("VOkJxbRl1RmTxUk/WvJxBT"))));
    CHECK(stun::peek_local_ufrag(kRequest) == "evtj");
}

TEST("RFC 5769 2.2 and 2.3: the sample responses hold the mapped address") {
    for (const auto& [raw, ip] :
         {std::pair{kResponseV4, hex("c0000201")}, {kResponseV6, hex("20010db8123456780011223344556677")}}) {
        auto m = stun::parse(raw);
        CHECK(m && m->kind == stun::Class::success && m->mapped && m->mapped->port == 32853);
        CHECK(m && m->mapped && std::ranges::equal(m->mapped->ip.wire(), ip));
        CHECK(m && m->has_fingerprint && stun::has_integrity(raw, *m, password()));
        CHECK(!stun::peek_local_ufrag(raw));
    }
}

TEST("what is written is read back, for both families") {
    auto key = password();
    for (const auto& ip : {hex("c0000201"), hex("20010db8123456780011223344556677")}) {
        Address address{*Ip::from(ip), 32853};
        std::array<std::byte, stun::kMaxAnswer> out;
        stun::TransactionId id;
        for (auto& b : id) b = static_cast<std::byte>(chance());
        std::array<std::uint16_t, stun::kMaxUnknown> unknown{1, 2, 3, 4, 5, 6, 7, 8};
        auto size = stun::Writer(out, stun::Class::error, stun::kBinding, id)
                        .error(420, "Unknown Attribute")
                        .unknown_attributes(unknown)
                        .mapped_address(address)
                        .integrity(key)
                        .fingerprint();
        auto m = stun::parse(ConstBytes(out).first(size));
        CHECK(m && m->kind == stun::Class::error && m->error_code == 420 && m->mapped == address
              && m->id == id);
        CHECK(m && m->has_fingerprint && stun::has_integrity(ConstBytes(out).first(size), *m, key));
    }
}

TEST("a password longer than a block of SHA-1 is hashed first (RFC 2104)") {
    // RFC 2202, test case 6: 80 bytes of 0xaa
    auto key = stun::integrity_key(std::vector<std::byte>(80, std::byte{0xaa}));
    auto mac = key.digest(as_bytes("Test Using Larger Than Block-Size Key "), as_bytes("- Hash Key First"));
    CHECK(std::ranges::equal(mac, hex("aa4ae5e15272d00e95705637ce8a3b55ed402112")));
}

TEST("a message cut anywhere, with trailing bytes, or with any bit turned is refused") {
    for (const auto& whole : {kRequest, kResponseV4, kResponseV6}) {
        for (std::size_t n = 0; n < whole.size(); n++) CHECK(!stun::parse(ConstBytes(whole).first(n)));
        auto longer = whole;
        longer.resize(whole.size() + 4);
        CHECK(!stun::parse(longer));
        auto key = password();
        for (std::size_t bit = 0; bit < whole.size() * 8; bit++) {
            auto turned = whole;
            turned[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
            auto m = stun::parse(turned);  // what stays a message has lost its fingerprint's attribute
            CHECK(!m || !m->has_fingerprint);
        }
    }
}

TEST("lengths that lie are refused: of the message, and of each attribute") {
    for (std::size_t at : {2U, 22U, 42U, 50U, 62U, 78U, 102U}) {
        for (unsigned lie : {0U, 1U, 3U, 5U, 64U, 509U, 0x7fffU, 0xffffU}) {
            auto message = kRequest;
            if (load_be16(message.data() + at) == lie) continue;
            store_be(message.data() + at, static_cast<std::uint16_t>(lie));
            auto m = stun::parse(message);
            CHECK(!m || !m->has_fingerprint);
            (void)stun::peek_local_ufrag(message);
        }
    }
}

TEST("what follows the integrity is ignored, and a fingerprint must stand last") {
    auto key = password();
    std::array<std::byte, 256> out;
    stun::Writer w(out, stun::Class::request, stun::kBinding, {});
    w.username("abcd:efgh").integrity(key).attribute(stun::kUseCandidate, {}).attribute(0x7777, hex("01"));
    auto size = w.fingerprint();
    auto m = stun::parse(ConstBytes(out).first(size));
    CHECK(m && !m->has_use_candidate && m->unknown_count == 0 && stun::has_integrity(out, *m, key));
    w.attribute(0x8022, hex("61626364"));
    CHECK(!stun::parse(ConstBytes(out).first(w.size())));
}

TEST("attributes that must be understood and are not are listed, at most eight") {
    std::array<std::byte, 256> out;
    stun::Writer w(out, stun::Class::request, stun::kBinding, {});
    for (std::uint16_t type = 0x7000; type < 0x700a; type++) w.attribute(type, {});
    w.attribute(0xC057, hex("0102"));
    auto m = stun::parse(ConstBytes(out).first(w.fingerprint()));
    CHECK(m && m->unknown_count == stun::kMaxUnknown && m->unknown[0] == 0x7000 && m->unknown[7] == 0x7007);
}

TEST("the local fragment is found, whatever else the request holds, and only in a binding request") {
    auto named = [](std::string_view name, stun::Class kind = stun::Class::request) {
        std::vector<std::byte> out(600);
        stun::Writer w(out, kind, stun::kBinding, {});
        w.attribute(0x8022, hex("616263")).username(name);
        out.resize(w.size());
        auto found = stun::peek_local_ufrag(out);
        return found ? std::string(*found) : std::string("-");
    };
    CHECK(named("abcd:efgh") == "abcd" && named("a:b:c") == "a");
    CHECK(named("abcd") == "-" && named(":efgh") == "-" && named("") == "-");
    CHECK(named("abcd:efgh", stun::Class::indication) == "-");
    CHECK(!stun::peek_local_ufrag({}));
}

TEST("random bytes behind a good header never overrun, and are never a whole valid check") {
    auto key = password();
    std::array<std::byte, 1500> packet;
    for (int n = 0; n < 300'000; n++) {
        auto size = stun::kHeader + chance() % 40 * 4;
        for (std::size_t i = 0; i < size; i++) packet[i] = static_cast<std::byte>(chance());
        store_be(packet.data(), static_cast<std::uint16_t>(chance() % 2 ? 1 : chance() & 0x3fff));
        store_be(packet.data() + 2, static_cast<std::uint16_t>(size - stun::kHeader));
        store_be(packet.data() + 4, stun::kMagicCookie);
        for (auto at = stun::kHeader; at + 8 < size;) {  // attributes that mostly fit
            static constexpr std::uint16_t kTypes[] = {6,    8,      9,      0x20,   0x24,
                                                       0x25, 0x8028, 0x8029, 0x802A, 0x7777};
            store_be(packet.data() + at, kTypes[chance() % std::size(kTypes)]);
            auto length = chance() % 24;
            store_be(packet.data() + at + 2, static_cast<std::uint16_t>(length));
            at += 4 + (length + 3) / 4 * 4;
        }
        auto datagram = ConstBytes(packet).first(size);
        (void)stun::peek_local_ufrag(datagram);
        if (auto m = stun::parse(datagram))
            CHECK(!m->has_fingerprint && !stun::has_integrity(datagram, *m, key));
    }
}
