#include "core/seal.hpp"

#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <stdexcept>
#include <string_view>

namespace hushwire::hwr {
namespace {

constexpr std::size_t kContext = 44;
constexpr std::uint8_t kVersion = 2, kSuiteAes256Gcm = 1;

/// HMAC-SHA256(data key, label || context)
void keyed(const DataKey& key, std::string_view label, ConstBytes context, std::byte* out) {
    std::array<std::byte, 64 + kContext> message;
    std::memcpy(message.data(), label.data(), label.size());
    std::memcpy(message.data() + label.size(), context.data(), context.size());
    auto raw = key.bytes();
    unsigned length = 0;
    if (!HMAC(EVP_sha256(), raw.data(), static_cast<int>(raw.size()), uchars(message.data()),
              label.size() + context.size(), uchars(out), &length))
        throw std::runtime_error("HMAC-SHA256 failed");
}

}  // namespace

std::size_t write_entry(Bytes out, Kind kind, std::uint8_t leg, std::uint32_t time_100us, ConstBytes data) {
    if (data.size() > 0xffff || out.size() < kEntryHeader + data.size()) return 0;
    out[0] = static_cast<std::byte>(kind);
    out[1] = std::byte{leg};
    store_be(out.data() + 2, time_100us);
    store_be(out.data() + 6, static_cast<std::uint16_t>(data.size()));
    if (!data.empty()) std::memcpy(out.data() + kEntryHeader, data.data(), data.size());
    return kEntryHeader + data.size();
}

Sealer::Sealer(const DataKey& key, const Identity& identity) : context_(EVP_CIPHER_CTX_new()) {
    std::memcpy(header_.data(), "HWR1", 4);
    header_[4] = std::byte{kVersion};
    header_[5] = std::byte{kSuiteAes256Gcm};
    store_be(header_.data() + 6, static_cast<std::uint16_t>(kHeader));
    std::memcpy(header_.data() + 8, identity.organisation.data(), 16);
    std::memcpy(header_.data() + 24, identity.recording.data(), 16);
    store_be(header_.data() + 40, identity.segment);
    auto context = ConstBytes(header_).first(kContext);
    keyed(key, "hushwire/hwr/1/commit", context, header_.data() + kContext);
    Secret<32> frame_key;
    keyed(key, "hushwire/hwr/1/frame", context, frame_key.writable(32).data());
    SHA256(uchars(header_.data()), header_.size(), uchars(header_digest_.data()));
    if (!context_
        || EVP_EncryptInit_ex(context_.get(), EVP_aes_256_gcm(), nullptr, uchars(frame_key.bytes().data()),
                              nullptr)
               != 1)
        throw std::runtime_error("AES-256-GCM is not available");
}

std::size_t Sealer::seal(Bytes frame, std::size_t text, bool is_final, const Nonce& nonce) {
    auto length = kNonce + text + kTag;
    if (frame.size() < kLengthField + length || length > 1 << 20) return 0;
    store_be(frame.data(), static_cast<std::uint32_t>(length) | (is_final ? 0x80000000U : 0U));
    std::memcpy(frame.data() + kLengthField, nonce.data(), kNonce);
    std::array<std::byte, 32 + 8 + 1> associated;
    std::memcpy(associated.data(), header_digest_.data(), 32);
    store_be(associated.data() + 32, sequence_);
    associated[40] = std::byte{is_final};
    auto* body = uchars(frame.data() + kFrameText);
    int written = 0;
    auto* context = context_.get();
    if (EVP_EncryptInit_ex(context, nullptr, nullptr, nullptr, uchars(nonce.data())) != 1
        || EVP_EncryptUpdate(context, nullptr, &written, uchars(associated.data()), associated.size()) != 1
        || EVP_EncryptUpdate(context, body, &written, body, static_cast<int>(text)) != 1
        || EVP_EncryptFinal_ex(context, body + text, &written) != 1
        || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, kTag, body + text) != 1)
        throw std::runtime_error("sealing failed");
    sequence_++;
    return kLengthField + length;
}

}  // namespace hushwire::hwr
