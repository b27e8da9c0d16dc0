#include "core/aes.hpp"

#include <stdexcept>
#include <utility>

#ifdef __x86_64__
#include <wmmintrin.h>
#endif

namespace hushwire {
namespace {

#ifdef __x86_64__
constexpr std::size_t kWord = 4;

/// FIPS 197 section 5.2. The instruction substitutes a word and also rotates what it has substituted, which
/// is the same as the other way round.
[[gnu::target("aes,sse2")]] void expand(ConstBytes key, Bytes out) {
    std::array<std::uint32_t, 60> words;
    auto length = key.size() / kWord, count = out.size() / kWord;
    std::memcpy(words.data(), key.data(), key.size());
    std::uint32_t constant = 1;
    for (auto i = length; i < count; i++) {
        auto word = words[i - 1];
        if (i % length == 0 || (length == 8 && i % length == 4)) {
            auto both =
                _mm_cvtsi128_si64(_mm_aeskeygenassist_si128(_mm_set1_epi32(static_cast<int>(word)), 0));
            if (i % length == 0) {
                word = static_cast<std::uint32_t>(static_cast<std::uint64_t>(both) >> 32) ^ constant;
                constant = constant << 1 ^ (constant & 0x80 ? 0x11bU : 0U);
            } else {
                word = static_cast<std::uint32_t>(both);
            }
        }
        words[i] = words[i - length] ^ word;
    }
    std::memcpy(out.data(), words.data(), out.size());
    OPENSSL_cleanse(words.data(), sizeof words);
}

/// So many at once that the processor always has one to go on with.
template <std::size_t kAtOnce>
[[gnu::target("aes,sse2")]] void encipher_row(ConstBytes keys, std::byte* at) {
    auto load = [](const std::byte* from) __attribute__((target("aes,sse2"))) {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    };
    __m128i blocks[kAtOnce];
    auto round_key = load(keys.data());
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kAtOnce; i++)
        blocks[i] = _mm_xor_si128(load(at + i * AesBlocks::kBlock), round_key);
    auto last = keys.size() - AesBlocks::kBlock;
    for (auto round = AesBlocks::kBlock; round < last; round += AesBlocks::kBlock) {
        round_key = load(keys.data() + round);
#pragma GCC unroll 8
        for (std::size_t i = 0; i < kAtOnce; i++) blocks[i] = _mm_aesenc_si128(blocks[i], round_key);
    }
    round_key = load(keys.data() + last);
#pragma GCC unroll 8
    for (std::size_t i = 0; i < kAtOnce; i++)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at + i * AesBlocks::kBlock),
                         _mm_aesenclast_si128(blocks[i], round_key));
}

void encipher_all(ConstBytes keys, Bytes blocks) {
    auto* at = blocks.data();
    auto left = blocks.size() / AesBlocks::kBlock;
    for (; left >= 8; left -= 8, at += 8 * AesBlocks::kBlock) encipher_row<8>(keys, at);
    if (left & 4) encipher_row<4>(keys, std::exchange(at, at + 4 * AesBlocks::kBlock));
    if (left & 2) encipher_row<2>(keys, std::exchange(at, at + 2 * AesBlocks::kBlock));
    if (left & 1) encipher_row<1>(keys, at);
}
#else
void expand(ConstBytes, Bytes) {}
void encipher_all(ConstBytes, Bytes) {}
#endif

}  // namespace

AesBlocks::By AesBlocks::best() {
#ifdef __x86_64__
    static const bool has_instructions = __builtin_cpu_supports("aes");
    if (has_instructions) return By::processor;
#endif
    return By::libcrypto;
}

AesBlocks::AesBlocks(ConstBytes key, By by) {
    if (key.size() != 16 && key.size() != 32) throw std::runtime_error("AES has keys of 16 or 32 bytes");
    if (by == By::processor) {
        auto rounds = key.size() / 4 + 6;
        expand(key, round_keys_.writable((rounds + 1) * kBlock));
        return;
    }
    by_libcrypto_.reset(EVP_CIPHER_CTX_new());
    const auto* kind = key.size() == 32 ? EVP_aes_256_ecb() : EVP_aes_128_ecb();
    if (!by_libcrypto_
        || EVP_EncryptInit_ex(by_libcrypto_.get(), kind, nullptr, uchars(key.data()), nullptr) != 1
        || EVP_CIPHER_CTX_set_padding(by_libcrypto_.get(), 0) != 1)
        throw std::runtime_error("AES is not available");
}

void AesBlocks::encipher(Bytes blocks) {
    if (!by_libcrypto_) return encipher_all(round_keys_.bytes(), blocks);
    int written = 0;
    if (EVP_EncryptUpdate(by_libcrypto_.get(), uchars(blocks.data()), &written, uchars(blocks.data()),
                          static_cast<int>(blocks.size()))
        != 1)
        throw std::runtime_error("AES failed");
}

}  // namespace hushwire
