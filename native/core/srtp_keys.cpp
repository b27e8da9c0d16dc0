#include "core/srtp_keys.hpp"

#include <openssl/evp.h>

#include <memory>
#include <stdexcept>

namespace hushwire::srtp {

void derive(const MasterKey& master, std::uint8_t label, Bytes out) {
    auto raw = master.key_and_salt.bytes();
    auto size = key_size(master.suite);
    if (!master.has_right_size() || out.size() > 48) throw std::invalid_argument("wrong size of SRTP key");
    // Section 4.3.1: x = key_id XOR master_salt, where key_id = label || r and r = 0; IV = x * 2^16. A salt
    // of 96 bits is filled up with zeros on the right (RFC 7714 section 11).
    std::array<std::byte, 16> iv{};
    std::memcpy(iv.data(), raw.data() + size, salt_size(master.suite));
    iv[7] ^= std::byte{label};
    std::array<std::byte, 48> zeros{};
    std::unique_ptr<EVP_CIPHER_CTX, decltype([](EVP_CIPHER_CTX* c) { EVP_CIPHER_CTX_free(c); })> context(
        EVP_CIPHER_CTX_new());
    const auto* kind = size == 32 ? EVP_aes_256_ctr() : EVP_aes_128_ctr();
    int written = 0;
    if (!context
        || EVP_EncryptInit_ex(context.get(), kind, nullptr, uchars(raw.data()), uchars(iv.data())) != 1
        || EVP_EncryptUpdate(context.get(), uchars(out.data()), &written, uchars(zeros.data()),
                             static_cast<int>(out.size()))
               != 1)
        throw std::runtime_error("SRTP key derivation failed");
}

SessionKeys::SessionKeys(const MasterKey& master, Purpose purpose) {
    auto label = static_cast<std::uint8_t>(purpose);
    derive(master, label, encryption.writable(key_size(master.suite)));
    if (!is_gcm(master.suite))
        derive(master, static_cast<std::uint8_t>(label + 1), authentication.writable(20));
    derive(master, static_cast<std::uint8_t>(label + 2), salt.writable(salt_size(master.suite)));
}

}  // namespace hushwire::srtp
