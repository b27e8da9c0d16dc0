#include <algorithm>

#include "core/dtls_cookie.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

std::uint32_t counted() {
    static std::uint32_t next = 1;
    return next++ * 2'654'435'761U;
}

}  // namespace

TEST("a hello that comes back with its cookie from where that was sent is proven, and no other") {
    dtls::Cookies cookies(counted), others(counted);
    auto first = client_hello({}, 32);
    auto parsed = dtls::parse_client_hello(first);
    CHECK(parsed && parsed->cookie.empty() && !cookies.has_sent(*parsed, address(1, 4000)));
    auto buffer = first;
    auto size = cookies.request(buffer, address(1, 4000));
    CHECK(size == dtls::Cookies::kRequest);
    // DTLS 1.0, record 0, the hello's message number, HelloVerifyRequest, one fragment, 16 bytes.
    CHECK(std::ranges::equal(std::span(buffer).first(28),
                             hex("16feff0000000000000000001f030000130001000000000013feff10")));
    auto cookie = std::vector(buffer.begin() + 28, buffer.begin() + 44);
    auto second = client_hello(cookie, 32);
    auto proven = dtls::parse_client_hello(second);
    CHECK(proven && cookies.has_sent(*proven, address(1, 4000)));
    CHECK(!cookies.has_sent(*proven, address(1, 4001)) && !cookies.has_sent(*proven, address(2, 4000)));
    CHECK(!others.has_sent(*proven, address(1, 4000)));
    auto another = client_hello(cookie, 32, 8);
    CHECK(cookies.has_sent(*dtls::parse_client_hello(another), address(1, 4000)));
    cookie.pop_back();
    auto shorter = client_hello(cookie, 32);
    CHECK(!cookies.has_sent(*dtls::parse_client_hello(shorter), address(1, 4000)));
}

TEST("what is cut short, protected, another message or not its beginning is no hello that can be read") {
    auto whole = client_hello(std::vector<std::byte>(16), 4);
    auto needed = std::size_t{13 + 12 + 2 + 32 + 1 + 4 + 1 + 16};
    for (std::size_t end = 0; end < whole.size(); end++)  // the record says that there is more
        CHECK(!dtls::parse_client_hello(std::span(whole).first(end)));
    for (std::size_t length = 0; length <= whole.size() - 13; length++) {
        auto claimed = whole;
        store_be(claimed.data() + 11, static_cast<std::uint16_t>(length));
        CHECK(dtls::parse_client_hello(claimed).has_value() == (13 + length >= needed));
    }
    for (auto [at, value] : {std::pair{0, 23}, {4, 1}, {13, 2}, {19, 1}, {21, 1}, {59, 33}}) {
        auto other = whole;
        other[static_cast<std::size_t>(at)] = static_cast<std::byte>(value);
        CHECK(!dtls::parse_client_hello(other));
    }
    CHECK(dtls::is_client_hello(whole) && !dtls::is_client_hello({})
          && !dtls::is_client_hello(hex("16feff")));
}
