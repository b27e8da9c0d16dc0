// Extended reports (RFC 3611): read safely, answered, and what the round trip is learnt from where plain
// reports do not tell it.
#include <algorithm>

#include "core/reporting.hpp"
#include "core/rtcp.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

constexpr std::int64_t kSecond = 1'000'000, kUnix = 1'700'000'000 * kSecond;
constexpr std::uint32_t kOurs = 0x11223344, kTheirs = 0x55667788;
constexpr std::string_view kEmptyReport = "80c9000155667788";

/// A packet of type 207 behind an empty receiver report.
std::vector<std::byte> extended(const std::string& blocks) {
    auto body = hex(blocks);
    auto out = hex(std::string(kEmptyReport) + "80cf0000" + "55667788");
    store_be(out.data() + 10, static_cast<std::uint16_t>(1 + body.size() / 4));
    out.insert(out.end(), body.begin(), body.end());
    return out;
}

std::string metrics(const std::string& about, const std::string& round_trip) {
    return "07000008" + about + "201000000000" + "0000" + round_trip + "0000" + "00000000" + "00000000"
           + "00000000" + "00000000";
}

/// Our side of a conversation with a party over a network of `way_us` each way.
struct Conversation {
    Reporting reporting{chance};
    Reception reception;
    std::int64_t now = 5 * kSecond;
    SentStream sent{kOurs, 0, 0, 0, 0, 8000};
    std::vector<std::byte> out = std::vector<std::byte>(rtcp::kMaxWritten);

    Conversation() { reporting.begin(now); }
    rtcp::Heard write() {
        auto length = reporting.write(sent, reception, now, kUnix + now, false, out);
        auto compound = std::span(out).first(length);
        CHECK(rtcp::is_valid(compound, false));
        return rtcp::read(compound, kTheirs);
    }
    void hear(const std::vector<std::byte>& compound) {
        CHECK(rtcp::is_valid(compound, false));
        reporting.hear(compound, sent, 0, now, kUnix + now);
    }
};

std::string word(std::uint32_t value) {
    constexpr char digits[] = "0123456789abcdef";
    std::string out(8, '0');
    for (std::size_t i = 8; i-- > 0; value >>= 4) out[i] = digits[value & 15];
    return out;
}

}  // namespace

TEST("the three blocks that are made use of are read among others that are passed over") {
    auto compound = extended(
        "01000002"
        "0000000000000000"  // loss RLE
        "04000002"
        "0102030405060708"  // receiver reference time
        "05000006"
        "99999999"
        "0000000a"
        "0000000b"  // delays: of another, then of ours
        "11223344"
        "00001234"
        "00008000"
        + metrics("99999999", "0001") + metrics("11223344", "00fa") + "ff000000");
    CHECK(rtcp::is_valid(compound, false));
    auto heard = rtcp::read(compound, kOurs);
    CHECK(heard.has_report && heard.has_extended && heard.extended_ssrc == kTheirs);
    CHECK(heard.reference == 0x03040506U);
    CHECK(heard.since_ours && heard.since_ours->last_reference == 0x1234
          && heard.since_ours->delay == 0x8000);
    CHECK(heard.metrics && heard.metrics->round_trip_ms == 250);
    CHECK(heard.metrics->loss_rate == 0x20 && heard.metrics->discard_rate == 0x10);
}

TEST("a block that says more than there is, or has another length than its type, gives nothing") {
    for (const auto* blocks : {"04000003"
                               "0102030405060708",
                               "04000001"
                               "01020304",
                               "0400ffff"
                               "0102030405060708",
                               "05000002"
                               "1122334400001234",
                               "07000007"
                               "1122334400000000000000000000000000000000"
                               "0000000000000000",
                               "0400"}) {
        auto compound = extended(std::string(blocks) + (std::string_view(blocks).size() % 8 ? "0000" : ""));
        CHECK(rtcp::is_valid(compound, false));
        auto heard = rtcp::read(compound, kOurs);
        CHECK(!heard.reference && !heard.since_ours && !heard.metrics);
    }
    CHECK(!rtcp::read(hex("80c9000155667788"
                          "80cf0000"),
                      kOurs)
               .has_extended);
}

TEST("who never sent an extended report is sent none") {
    Conversation talk;
    talk.hear(hex(std::string(kEmptyReport)));
    auto heard = talk.write();
    CHECK(!heard.has_extended);
}

TEST("a party's reference time is answered with how long ago it came, and with ours") {
    Conversation talk;
    talk.hear(
        extended("04000002"
                 "0102030405060708"));
    talk.now += 2 * kSecond;
    auto heard = talk.write();
    CHECK(heard.has_extended && heard.extended_ssrc == kOurs && heard.reference);
    CHECK(heard.since_ours && heard.since_ours->ssrc == kTheirs);
    CHECK(heard.since_ours->last_reference == 0x03040506);
    CHECK(heard.since_ours->delay == 2 * 65536);
    CHECK(*heard.reference == rtcp::middle(rtcp::ntp_of(kUnix + talk.now)));
}

TEST("the round trip is known from a party that says it by extended reports alone") {
    Conversation talk;
    talk.hear(
        extended("04000002"
                 "0102030405060708"));
    auto asked = *talk.write().reference;
    talk.now += 340'000;  // 40 ms there and back, held for 300
    talk.hear(
        extended("05000003"
                 "11223344"
                 + word(asked) + word(300 * 65536 / 1000)));
    CHECK(talk.reporting.round_trip_us()
          && std::abs(static_cast<int>(*talk.reporting.round_trip_us()) - 40'000) < 100);
}

TEST("a delay since a time that was never ours says nothing") {
    Conversation talk;
    talk.hear(
        extended("04000002"
                 "0102030405060708"));
    auto asked = *talk.write().reference;
    talk.hear(
        extended("05000003"
                 "11223344"
                 + word(asked + 1) + word(0)));
    talk.hear(
        extended("05000003"
                 "11223344"
                 + word(0) + word(0)));
    CHECK(!talk.reporting.round_trip_us());
}

TEST("a party's own word on the round trip counts until it can be measured") {
    Conversation talk;
    talk.hear(extended(metrics("11223344", "0000")));
    CHECK(!talk.reporting.round_trip_us());
    talk.hear(extended(metrics("99999999", "0032")));
    CHECK(!talk.reporting.round_trip_us());
    talk.hear(extended(metrics("11223344", "0032")));
    CHECK(talk.reporting.round_trip_us() == 50'000U);
    auto asked = *talk.write().reference;
    talk.now += 40'000;
    talk.hear(
        extended("05000003"
                 "11223344"
                 + word(asked) + word(0)));
    talk.hear(extended(metrics("11223344", "1000")));
    CHECK(std::abs(static_cast<int>(*talk.reporting.round_trip_us()) - 40'000) < 100);
}
