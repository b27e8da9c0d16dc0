#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <algorithm>

#include "core/seal.hpp"
#include "tests/check.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

std::vector<std::byte> hmac(ConstBytes key, std::string_view label, ConstBytes context) {
    std::vector<std::byte> message(as_bytes(label).begin(), as_bytes(label).end()), out(32);
    message.insert(message.end(), context.begin(), context.end());
    unsigned n = 0;
    HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), uchars(message.data()), message.size(),
         uchars(out.data()), &n);
    return out;
}

/// Opens one frame by the format's description; false where the tag does not fit.
bool open(ConstBytes frame, ConstBytes header, ConstBytes key, std::uint64_t sequence,
          std::vector<std::byte>& plain) {
    auto frame_key = hmac(key, "hushwire/hwr/1/frame", header.first(44));
    std::vector<std::byte> associated(41);
    SHA256(uchars(header.data()), header.size(), uchars(associated.data()));
    store_be(associated.data() + 32, sequence);
    associated[40] = frame[0] >> 7;
    auto size = (load_be32(frame.data()) & 0x7fffffff) - 28;
    plain.resize(size);
    std::vector<std::byte> tag(frame.end() - 16, frame.end());
    auto* c = EVP_CIPHER_CTX_new();
    int n = 0;
    EVP_DecryptInit_ex(c, EVP_aes_256_gcm(), nullptr, uchars(frame_key.data()), uchars(frame.data() + 4));
    EVP_DecryptUpdate(c, nullptr, &n, uchars(associated.data()), 41);
    EVP_DecryptUpdate(c, uchars(plain.data()), &n, uchars(frame.data() + 16), static_cast<int>(size));
    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_GCM_SET_TAG, 16, tag.data());
    bool is_good = EVP_DecryptFinal_ex(c, uchars(plain.data()), &n) == 1;
    EVP_CIPHER_CTX_free(c);
    return is_good;
}

}  // namespace

TEST("header and frames are as the format says, bound to their place and their file") {
    std::vector<std::byte> key(32, std::byte{0x42});
    hwr::Identity identity;
    identity.organisation.fill(std::byte{1});
    identity.recording.fill(std::byte{2});
    identity.segment = 3;
    hwr::Sealer sealer(hwr::DataKey(key), identity);
    auto header = sealer.header();
    CHECK(std::ranges::equal(header.first(8), hex("485752310201004c")));
    CHECK(header[8] == std::byte{1} && header[24] == std::byte{2} && load_be32(header.data() + 40) == 3);
    CHECK(std::ranges::equal(header.subspan(44), hmac(key, "hushwire/hwr/1/commit", header.first(44))));
    for (std::uint64_t n = 0; n < 3; n++) {
        std::vector<std::byte> plain(100 * n, static_cast<std::byte>(n)),
            frame(plain.size() + hwr::kFrameOverhead), got;
        hwr::Nonce nonce;
        nonce.fill(static_cast<std::byte>(n + 1));
        std::ranges::copy(plain, frame.begin() + hwr::kFrameText);
        CHECK(sealer.seal(std::span(frame).first(frame.size() - 1), plain.size(), n == 2, nonce) == 0);
        CHECK(sealer.seal(frame, plain.size(), n == 2, nonce) == frame.size());
        CHECK((load_be32(frame.data()) >> 31) == (n == 2));
        CHECK(open(frame, header, key, n, got) && got == plain);
        CHECK(!open(frame, header, key, n + 1, got));
        frame[0] ^= std::byte{0x80};
        CHECK(!open(frame, header, key, n, got));
    }
    CHECK(sealer.frames() == 3);
}

TEST("an entry that does not fit is not written") {
    std::array<std::byte, 12> out;
    std::array<std::byte, 4> four{};
    CHECK(hwr::write_entry(out, hwr::Kind::packet, 1, 0x01020304, four) == 12);
    CHECK(std::ranges::equal(std::span(out).first(8), hex("0301010203040004")));
    CHECK(hwr::write_entry(std::span(out).first(11), hwr::Kind::packet, 1, 0, four) == 0);
    CHECK(hwr::write_entry(out, hwr::Kind::packet, 1, 0, std::vector<std::byte>(70'000)) == 0);
}
