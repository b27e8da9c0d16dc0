#include "core/srtp_ciphers.hpp"

#include <algorithm>
#include <stdexcept>

namespace hushwire::srtp {
namespace {

constexpr std::size_t kBlock = 16;
constexpr std::size_t kCounterSalt = 14;
/// A block as the processor moves it: written in pieces and read as a whole, it would wait for each store.
using Words [[gnu::vector_size(kBlock)]] = std::uint64_t;

/// XORs `SSRC || 48-bit index` into an IV: both modes bind a packet to its key stream with these ten bytes.
void mix_in(std::byte* at, std::uint32_t ssrc, std::uint64_t index) {
    store_be(at, load_be32(at) ^ ssrc);
    store_be(at + 4, static_cast<std::uint16_t>(load_be16(at + 4) ^ (index >> 32)));
    store_be(at + 6, load_be32(at + 6) ^ static_cast<std::uint32_t>(index));
}

/// `stream` is at least as long as `data`.
void exclusive_or(Bytes data, ConstBytes stream) {
    std::size_t at = 0;
    for (Words a, b; at + kBlock <= data.size(); at += kBlock) {
        std::memcpy(&a, data.data() + at, kBlock);
        std::memcpy(&b, stream.data() + at, kBlock);
        a ^= b;
        std::memcpy(data.data() + at, &a, kBlock);
    }
    for (; at < data.size(); at++) data[at] ^= stream[at];
}

}  // namespace

CounterCipher::CounterCipher(ConstBytes session_key, ConstBytes session_salt, AesBlocks::By by)
    : salt_(session_salt), aes_(session_key, by) {
    if (salt_.bytes().size() != kCounterSalt)
        throw std::runtime_error("AES counter mode has a salt of 14 bytes");
}

void CounterCipher::apply(Bytes data, std::uint32_t ssrc, std::uint64_t index) {
    // Section 4.1.1: IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16); the last 16 bits count the blocks.
    std::array<std::byte, kBlock> first{};
    std::memcpy(first.data(), salt_.bytes().data(), kCounterSalt);
    mix_in(first.data() + 4, ssrc, index);
    Words counter;
    std::memcpy(&counter, first.data(), kBlock);
    // A packet of voice is one piece.
    std::array<std::byte, 16 * kBlock> stream;
    for (std::uint64_t block = 0; !data.empty();) {
        auto piece = data.first(std::min(data.size(), stream.size()));
        std::size_t size = 0;
        for (; size < piece.size(); size += kBlock) {
            Words next = counter ^ Words { 0, network_order(block++) };
            std::memcpy(stream.data() + size, &next, kBlock);
        }
        aes_.encipher(std::span(stream).first(size));
        exclusive_or(piece, stream);
        data = data.subspan(piece.size());
    }
}

Authenticator::Authenticator(ConstBytes session_auth_key) {
    for (auto [midstate, fill] : {std::pair{&inner_, 0x36}, std::pair{&outer_, 0x5c}}) {
        Secret<SHA_CBLOCK> pad;
        auto block = pad.writable(SHA_CBLOCK);
        for (std::size_t i = 0; i < block.size(); i++) {
            block[i] = static_cast<std::byte>(fill);
            if (i < session_auth_key.size()) block[i] ^= session_auth_key[i];
        }
        SHA_CTX state;
        SHA1_Init(&state);
        SHA1_Update(&state, block.data(), block.size());
        *midstate = {state.h0, state.h1, state.h2, state.h3, state.h4};
        OPENSSL_cleanse(&state, sizeof state);
    }
}

Authenticator::~Authenticator() {
    OPENSSL_cleanse(&inner_, sizeof inner_);
    OPENSSL_cleanse(&outer_, sizeof outer_);
}

std::array<std::byte, 20> Authenticator::digest(ConstBytes message, ConstBytes suffix) const {
    // As it was after the pad, one block.
    auto resume = [](SHA_CTX& state, const Midstate& at) {
        state.h0 = at[0], state.h1 = at[1], state.h2 = at[2], state.h3 = at[3], state.h4 = at[4];
        state.Nl = SHA_CBLOCK * 8;
        state.Nh = 0;
        state.num = 0;
    };
    std::array<std::byte, 20> out;
    SHA_CTX state;
    resume(state, inner_);
    SHA1_Update(&state, message.data(), message.size());
    SHA1_Update(&state, suffix.data(), suffix.size());
    SHA1_Final(uchars(out.data()), &state);
    resume(state, outer_);
    SHA1_Update(&state, out.data(), out.size());
    SHA1_Final(uchars(out.data()), &state);
    return out;
}

GcmCipher::GcmCipher(ConstBytes session_key, ConstBytes session_salt, Direction direction)
    : context_(EVP_CIPHER_CTX_new()), salt_(session_salt) {
    const auto* kind = session_key.size() == 32 ? EVP_aes_256_gcm() : EVP_aes_128_gcm();
    if (!context_ || salt_.bytes().size() != 12
        || EVP_CipherInit_ex(context_.get(), kind, nullptr, uchars(session_key.data()), nullptr,
                             direction == Direction::seal ? 1 : 0)
               != 1)
        throw std::runtime_error("AES-GCM is not available");
}

std::array<std::byte, 12> GcmCipher::iv(std::uint32_t ssrc, std::uint64_t index) const {
    // 00 00 || SSRC || index, XOR the salt: the index of RTP is its rollover counter and sequence number,
    // that of RTCP has 31 bits.
    std::array<std::byte, 12> out;
    std::memcpy(out.data(), salt_.bytes().data(), out.size());
    mix_in(out.data() + 2, ssrc, index);
    return out;
}

void GcmCipher::seal(ConstBytes associated, Bytes text, Bytes tag, std::uint32_t ssrc, std::uint64_t index) {
    auto nonce = iv(ssrc, index);
    auto* c = context_.get();
    auto* p = uchars(text.data());
    int written = 0;
    if (EVP_EncryptInit_ex(c, nullptr, nullptr, nullptr, uchars(nonce.data())) != 1
        || EVP_EncryptUpdate(c, nullptr, &written, uchars(associated.data()),
                             static_cast<int>(associated.size()))
               != 1
        || (!text.empty() && EVP_EncryptUpdate(c, p, &written, p, static_cast<int>(text.size())) != 1)
        || EVP_EncryptFinal_ex(c, uchars(tag.data()), &written) != 1
        || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kTag), tag.data()) != 1)
        throw std::runtime_error("AES-GCM failed");
}

bool GcmCipher::open(ConstBytes associated, Bytes text, ConstBytes tag, std::uint32_t ssrc,
                     std::uint64_t index) {
    if (text.size() > kMaxText) return false;
    std::array<std::byte, kMaxText> plain;  // nothing unproven is ever left in the packet
    std::array<std::byte, kTag> wanted;
    std::copy(tag.begin(), tag.end(), wanted.begin());
    auto nonce = iv(ssrc, index);
    auto* c = context_.get();
    int written = 0;
    if (EVP_DecryptInit_ex(c, nullptr, nullptr, nullptr, uchars(nonce.data())) != 1
        || EVP_DecryptUpdate(c, nullptr, &written, uchars(associated.data()),
                             static_cast<int>(associated.size()))
               != 1
        || (!text.empty()
            && EVP_DecryptUpdate(c, uchars(plain.data()), &written, uchars(text.data()),
                                 static_cast<int>(text.size()))
                   != 1)
        || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(kTag), wanted.data()) != 1)
        throw std::runtime_error("AES-GCM failed");
    unsigned char none[kBlock];
    if (EVP_DecryptFinal_ex(c, none, &written) != 1) return false;
    if (!text.empty()) std::memcpy(text.data(), plain.data(), text.size());
    return true;
}

}  // namespace hushwire::srtp
