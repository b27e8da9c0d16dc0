#include <openssl/hmac.h>

#include <algorithm>

#include "core/rtp.hpp"
#include "core/srtp.hpp"
#include "tests/packets.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

bool derives(const srtp::MasterKey& key, std::uint8_t label, std::string_view expected) {
    auto want = hex(expected);
    std::vector<std::byte> got(want.size());
    srtp::derive(key, label, got);
    return got == want;
}

srtp::MasterKey from_hex(srtp::Suite suite, std::string_view key_and_salt) {
    return {suite, Secret<46>(hex(key_and_salt))};
}

struct Pair {
    explicit Pair(srtp::Suite suite) : sender(master(suite, 1)), receiver(master(suite, 1), nullptr) {}
    srtp::Sender sender;
    srtp::Receiver receiver;

    std::vector<std::byte> protect(std::uint64_t index, std::uint32_t ssrc = 7) {
        auto packet = rtp_packet(static_cast<std::uint16_t>(index), 0, ssrc);
        auto length = packet.size();
        packet.resize(length + srtp::kMaxTag);
        packet.resize(sender.protect_rtp(packet, length, 12, index));
        return packet;
    }
};

}  // namespace

TEST("RFC 3711 B.2: AES-CM key stream") {
    srtp::CounterCipher cipher(hex("2B7E151628AED2A6ABF7158809CF4F3C"), hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"));
    std::vector<std::byte> stream(0xFF02 * 16);
    cipher.apply(stream, 0, 0);
    auto block = [&](std::size_t n, std::string_view want) {
        return std::ranges::equal(std::span(stream).subspan(n * 16, 16), hex(want));
    };
    CHECK(block(0, "E03EAD0935C95E80E166B16DD92B4EB4"));
    CHECK(block(1, "D23513162B02D0F72A43A2FE4A5F97AB"));
    CHECK(block(2, "41E95B3BB0A2E8DD477901E4FCA894C0"));
    CHECK(block(0xFEFF, "EC8CDF7398607CB0F2D21675EA9EA1E4"));
    CHECK(block(0xFF00, "362B7C3C6773516318A077D7FC5073AE"));
    CHECK(block(0xFF01, "6A2CC3787889374FBEB4C81B17BA6C44"));
}

TEST("counter mode by the processor and by libcrypto are libcrypto's own, for every length of a text") {
    constexpr std::size_t kMost = 700;
    auto random = [](std::size_t size) {
        std::vector<std::byte> out(size);
        for (auto& b : out) b = static_cast<std::byte>(chance());
        return out;
    };
    for (std::size_t key_size : {std::size_t{16}, std::size_t{32}}) {
        auto key = random(key_size), salt = random(14), text = random(kMost);
        auto iv = salt;  // SSRC and index 0 leave it as it is
        iv.resize(16);
        std::vector<std::byte> want(kMost);
        std::unique_ptr<EVP_CIPHER_CTX, decltype([](EVP_CIPHER_CTX* c) { EVP_CIPHER_CTX_free(c); })> context(
            EVP_CIPHER_CTX_new());
        int written = 0;
        CHECK(EVP_EncryptInit_ex(context.get(), key_size == 32 ? EVP_aes_256_ctr() : EVP_aes_128_ctr(),
                                 nullptr, uchars(key.data()), uchars(iv.data()))
              == 1);
        CHECK(EVP_EncryptUpdate(context.get(), uchars(want.data()), &written, uchars(text.data()), kMost)
              == 1);
        for (auto by : {AesBlocks::best(), AesBlocks::By::libcrypto}) {
            srtp::CounterCipher cipher(key, salt, by);
            for (std::size_t size = 0; size <= kMost; size++) {
                std::vector<std::byte> got(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(size));
                cipher.apply(got, 0, 0);
                CHECK(std::ranges::equal(got, std::span(want).first(size)));
            }
        }
    }
}

TEST("RFC 3711 B.3: key derivation") {
    auto key = from_hex(srtp::Suite::aes_128_sha1_80,
                        "E1F97A0D3E018BE0D64FA32C06DE41390EC675AD498AFEEBB6960B3AABE6");
    CHECK(derives(key, 0, "C61E7A93744F39EE10734AFE3FF7A087"));
    CHECK(derives(key, 2, "30CBBC08863D8C85D49DB34A9AE1"));
    CHECK(derives(key, 1, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
}

TEST("RFC 6188 7.2: key derivation with AES-256") {
    auto key = from_hex(
        srtp::Suite::aes_256_sha1_80,
        "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b63b04803de51ee7c96423ab5b78d2");
    CHECK(derives(key, 0, "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"));
    CHECK(derives(key, 2, "fa31791685ca444a9e07c6c64e93"));
    CHECK(derives(key, 1, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
}

TEST("RFC 2202: HMAC-SHA1 with kept midstates") {
    srtp::Authenticator a(std::vector<std::byte>(20, std::byte{0x0b}));
    CHECK(std::ranges::equal(a.digest(as_bytes("Hi There"), {}),
                             hex("b617318655057264e28bc0b6fb378c8ef146be00")));
    CHECK(std::ranges::equal(a.digest(as_bytes("Hi "), as_bytes("There")),
                             hex("b617318655057264e28bc0b6fb378c8ef146be00")));
}

TEST("HMAC-SHA1 is that of OpenSSL for every length of a message and of what follows it") {
    std::vector<std::byte> key(20), message(300);
    for (auto& b : key) b = static_cast<std::byte>(chance());
    for (auto& b : message) b = static_cast<std::byte>(chance());
    srtp::Authenticator authenticator(key);
    for (std::size_t size = 0; size + 4 <= message.size(); size++)
        for (std::size_t suffix : {std::size_t{0}, std::size_t{4}}) {
            auto whole = ConstBytes(message).first(size + suffix);
            std::array<std::byte, 20> want;
            HMAC(EVP_sha1(), key.data(), 20, uchars(whole.data()), whole.size(), uchars(want.data()),
                 nullptr);
            CHECK(authenticator.digest(whole.first(size), whole.last(suffix)) == want);
        }
}

namespace {

srtp::SessionKeys gcm_keys(std::size_t key_size) {
    srtp::SessionKeys keys;
    auto key = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    keys.encryption = Secret<32>(std::span(key).first(key_size));
    keys.salt = Secret<14>(hex("517569642070726f2071756f"));
    return keys;
}

/// Sealing gives exactly the protected packet, opening exactly the plain one, and every flipped bit is
/// refused and leaves the packet as it is.
void check_gcm(std::size_t key_size, std::string_view plain_hex, std::string_view sealed_hex, auto seal,
               auto open) {
    srtp::Gcm sealer(gcm_keys(key_size), srtp::Direction::seal),
        opener(gcm_keys(key_size), srtp::Direction::open);
    auto plain = hex(plain_hex), sealed = hex(sealed_hex);
    auto packet = plain;
    packet.resize(sealed.size());
    seal(sealer, packet);
    CHECK(packet == sealed);
    for (std::size_t bit = 0; bit < packet.size() * 8; bit++) {
        auto wrong = sealed;
        wrong[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
        auto kept = wrong;
        CHECK(!open(opener, wrong));
        CHECK(wrong == kept);
    }
    CHECK(open(opener, packet));
    packet.resize(plain.size());
    CHECK(packet == plain);
}

}  // namespace

TEST("RFC 7714 16.1 and 16.2: SRTP with AES-GCM") {
    constexpr std::string_view plain =
        "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e20706172746573207472657"
        "3";
    auto seal = [](srtp::Gcm& gcm, Bytes packet) { gcm.seal_rtp(packet, 12, 0xf17b); };
    auto open = [](srtp::Gcm& gcm, Bytes packet) { return gcm.open_rtp(packet, 12, 0xf17b); };
    check_gcm(
        16, plain,
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
        "899d7f27beb16a9152cf765ee4390cce",
        seal, open);
    check_gcm(
        32, plain,
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b"
        "7aa3db36dfffd6b0f9bb7878d7a76c13",
        seal, open);
}

TEST("RFC 7714 17.1 and 17.2: SRTCP with AES-GCM") {
    constexpr std::string_view plain =
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdead"
        "beef";
    auto seal = [](srtp::Gcm& gcm, Bytes packet) { gcm.seal_rtcp(packet, 0x5d4); };
    auto open = [](srtp::Gcm& gcm, Bytes packet) { return gcm.open_rtcp(packet); };
    check_gcm(
        16, plain,
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9"
        "275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        seal, open);
    check_gcm(
        32, plain,
        "81c8000d4d617273d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b"
        "6fad1d1eb30c4446839f57ff6f6cb26ac3be800005d4",
        seal, open);
}

TEST("contributing sources and header extensions stay readable and are signed, in every suite") {
    for (auto suite : kSuites) {
        Pair pair(suite);
        auto packet = rtp_packet(9, 0, 7, 24);
        packet[0] =
            std::byte{0x91};  // one contributing source, and an extension of one word: 24 bytes of header
        store_be(packet.data() + 18, std::uint16_t{1});
        auto plain = packet;
        auto size = packet.size();
        packet.resize(size + srtp::kMaxTag);
        packet.resize(pair.sender.protect_rtp(packet, size, 24, 9));
        CHECK(std::ranges::equal(std::span(packet).first(24), std::span(plain).first(24)));
        CHECK(!std::ranges::equal(std::span(packet).subspan(24, 12), std::span(plain).subspan(24, 12)));
        auto wrong = packet;
        wrong[23] ^= std::byte{1};
        CHECK(pair.receiver.open_rtp(wrong, 24).outcome == srtp::Outcome::bad_tag);
        CHECK(pair.receiver.open_rtp(packet, 24).outcome == srtp::Outcome::ok);
        CHECK(std::ranges::equal(std::span(packet).first(size), plain));
    }
}

TEST("a packet without text is protected and opened, in every suite") {
    for (auto suite : kSuites) {
        Pair pair(suite);
        auto packet = rtp_packet(3, 0, 7, 0);
        packet.resize(12 + srtp::kMaxTag);
        packet.resize(pair.sender.protect_rtp(packet, 12, 12, 3));
        CHECK(packet.size() == 12 + srtp::rtp_tag_size(suite));
        CHECK(pair.receiver.open_rtp(packet, 12).outcome == srtp::Outcome::ok);
        std::vector<std::byte> rtcp(8 + srtp::kMaxRtcpTrailer, std::byte{0x80});
        rtcp.resize(pair.sender.protect_rtcp(rtcp, 8));
        CHECK(pair.receiver.open_rtcp(rtcp).outcome == srtp::Outcome::ok);
    }
}

TEST("a stream of 200,000 packets passes three rollovers, in order and out of order") {
    for (auto suite : kSuites) {
        Pair pair(suite);
        for (std::uint64_t index = 1; index <= 200'000; index += 2) {
            auto second = pair.protect(index + 1), first = pair.protect(index);
            for (auto [packet, want] : {std::pair{&second, index + 1}, std::pair{&first, index}}) {
                auto opened = pair.receiver.open_rtp(*packet, 12);
                if (opened.outcome != srtp::Outcome::ok || opened.index != want
                    || (*packet)[20] != std::byte{0x55}) {
                    CHECK(false);
                    return;
                }
            }
        }
    }
}

TEST("the sender refuses to protect an index twice, or one that is too old to know") {
    Pair pair(srtp::Suite::aes_128_sha1_80);
    CHECK(!pair.protect(1000).empty());
    CHECK(pair.protect(1000).empty());
    CHECK(!pair.protect(999).empty());
    CHECK(pair.protect(999).empty());
    CHECK(pair.protect(1000 - ReplayWindow::kSize).empty());
    CHECK(pair.protect(std::uint64_t{1} << 48).empty());
}

TEST("every replay is refused, however often, and every flipped bit is a bad tag") {
    for (auto suite : kSuites) {
        Pair pair(suite);
        auto packet = pair.protect(5);
        for (std::size_t bit = 0; bit < packet.size() * 8; bit++) {
            if (bit >= 16 && bit < 32)
                continue;  // the sequence number: another index, which is not seen yet, fails too, below
            auto wrong = packet;
            wrong[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
            CHECK(pair.receiver.open_rtp(wrong, 12).outcome == srtp::Outcome::bad_tag);
        }
        auto copy = packet;
        CHECK(pair.receiver.open_rtp(copy, 12).outcome == srtp::Outcome::ok);
        for (int i = 0; i < 3; i++) {
            copy = packet;
            CHECK(pair.receiver.open_rtp(copy, 12).outcome == srtp::Outcome::replay);
        }
    }
}

TEST("no packet shorter than header and tag is opened") {
    Pair pair(srtp::Suite::aes_128_sha1_80);
    auto packet = pair.protect(1);
    for (std::size_t n = 0; n < 22; n++) {
        auto cut = std::vector(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(n));
        CHECK(pair.receiver.open_rtp(cut, 12).outcome == srtp::Outcome::malformed);
        CHECK(pair.receiver.open_rtcp(cut).outcome == srtp::Outcome::malformed);
    }
}

TEST("a key's streams are limited, and none is forgotten so that it could be replayed") {
    Pair pair(srtp::Suite::aes_128_sha1_80);
    auto first = pair.protect(1, 1);
    auto copy = first;
    CHECK(pair.receiver.open_rtp(copy, 12).outcome == srtp::Outcome::ok);
    int taken = 0;
    for (std::uint32_t ssrc = 2; ssrc < 100; ssrc++) {
        auto packet = pair.protect(ssrc, ssrc);
        taken += pair.receiver.open_rtp(packet, 12).outcome == srtp::Outcome::ok;
    }
    CHECK(taken == 11);
    CHECK(pair.receiver.open_rtp(first, 12).outcome == srtp::Outcome::replay);
}

TEST("SRTCP opens once, and only with its tag and its encryption flag") {
    for (auto suite : kSuites) {
        Pair pair(suite);
        for (int n = 0; n < 300; n++) {
            std::vector<std::byte> packet(28 + srtp::kMaxRtcpTrailer, std::byte{0x11});
            packet.resize(pair.sender.protect_rtcp(packet, 28));
            CHECK(packet.size() == 28 + srtp::rtcp_trailer_size(suite));
            auto wrong = packet;
            wrong[packet.size() - (srtp::is_gcm(suite) ? 4 : 14)] ^= std::byte{0x80};
            CHECK(pair.receiver.open_rtcp(wrong).outcome == srtp::Outcome::malformed);
            wrong = packet;
            wrong[9] ^= std::byte{1};
            CHECK(pair.receiver.open_rtcp(wrong).outcome == srtp::Outcome::bad_tag);
            auto copy = packet;
            CHECK(pair.receiver.open_rtcp(copy).outcome == srtp::Outcome::ok);
            CHECK(copy[27] == std::byte{0x11});
            CHECK(pair.receiver.open_rtcp(packet).outcome == srtp::Outcome::replay);
        }
    }
}
