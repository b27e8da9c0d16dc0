#include "core/srtp_keys.hpp"

#include <stdexcept>

namespace hushwire::srtp {
namespace {

const EVP_CIPHER* counter_mode(Suite suite) {
    return suite == Suite::aes_256_sha1_80 ? EVP_aes_256_ctr() : EVP_aes_128_ctr();
}

template <std::size_t N>
Secret<N> derived(const MasterKey& master, unsigned label, std::size_t size) {
    Secret<N> out;
    derive(master, static_cast<std::uint8_t>(label), out.writable(size));
    return out;
}

}  // namespace

CounterCipher::CounterCipher(Suite suite, ConstBytes session_key, ConstBytes session_salt)
    : context_(EVP_CIPHER_CTX_new()), salt_(session_salt) {
    if (!context_
        || EVP_EncryptInit_ex(context_.get(), counter_mode(suite), nullptr, uchars(session_key.data()),
                              nullptr)
               != 1)
        throw std::runtime_error("AES counter mode is not available");
}

void CounterCipher::apply(Bytes data, std::uint32_t ssrc, std::uint64_t index) {
    if (data.empty()) return;
    // Section 4.1.1: IV = (k_s * 2^16) XOR (SSRC * 2^64) XOR (i * 2^16)
    std::array<std::byte, 16> iv{};
    std::memcpy(iv.data(), salt_.bytes().data(), kSaltSize);
    std::array<std::byte, 10> mask;
    store_be(mask.data(), ssrc);
    store_be(mask.data() + 4, static_cast<std::uint16_t>(index >> 32));
    store_be(mask.data() + 6, static_cast<std::uint32_t>(index));
    for (std::size_t i = 0; i < mask.size(); i++) iv[4 + i] ^= mask[i];
    int written = 0;
    auto* p = uchars(data.data());
    if (EVP_EncryptInit_ex(context_.get(), nullptr, nullptr, nullptr, uchars(iv.data())) != 1
        || EVP_EncryptUpdate(context_.get(), p, &written, p, static_cast<int>(data.size())) != 1)
        throw std::runtime_error("AES counter mode failed");
}

Authenticator::Authenticator(ConstBytes session_auth_key) {
    for (auto [state, fill] : {std::pair{&inner_, 0x36}, std::pair{&outer_, 0x5c}}) {
        Secret<64> pad;
        auto block = pad.writable(64);
        for (std::size_t i = 0; i < block.size(); i++) {
            block[i] = static_cast<std::byte>(fill);
            if (i < session_auth_key.size()) block[i] ^= session_auth_key[i];
        }
        SHA1_Init(state);
        SHA1_Update(state, block.data(), block.size());
    }
}

Authenticator::~Authenticator() {
    OPENSSL_cleanse(&inner_, sizeof inner_);
    OPENSSL_cleanse(&outer_, sizeof outer_);
}

std::array<std::byte, 20> Authenticator::digest(ConstBytes message, ConstBytes suffix) const {
    std::array<std::byte, 20> out;
    SHA_CTX state = inner_;
    SHA1_Update(&state, message.data(), message.size());
    SHA1_Update(&state, suffix.data(), suffix.size());
    SHA1_Final(uchars(out.data()), &state);
    state = outer_;
    SHA1_Update(&state, out.data(), out.size());
    SHA1_Final(uchars(out.data()), &state);
    return out;
}

void derive(const MasterKey& master, std::uint8_t label, Bytes out) {
    auto raw = master.key_and_salt.bytes();
    auto size = key_size(master.suite);
    if (raw.size() != size + kSaltSize || out.size() > 48)
        throw std::invalid_argument("wrong size of SRTP key");
    // Section 4.3.1: x = key_id XOR master_salt, where key_id = label || r and r = 0; IV = x * 2^16.
    std::array<std::byte, 16> iv{};
    std::memcpy(iv.data(), raw.data() + size, kSaltSize);
    iv[7] ^= std::byte{label};
    std::array<std::byte, 48> zeros{};
    std::unique_ptr<EVP_CIPHER_CTX, decltype([](EVP_CIPHER_CTX* c) { EVP_CIPHER_CTX_free(c); })> context(
        EVP_CIPHER_CTX_new());
    int written = 0;
    if (!context
        || EVP_EncryptInit_ex(context.get(), counter_mode(master.suite), nullptr, uchars(raw.data()),
                              uchars(iv.data()))
               != 1
        || EVP_EncryptUpdate(context.get(), uchars(out.data()), &written, uchars(zeros.data()),
                             static_cast<int>(out.size()))
               != 1)
        throw std::runtime_error("SRTP key derivation failed");
}

SessionKeys::SessionKeys(const MasterKey& master, Purpose purpose)
    : cipher(master.suite, derived<32>(master, unsigned(purpose), key_size(master.suite)).bytes(),
             derived<16>(master, unsigned(purpose) + 2, kSaltSize).bytes()),
      authenticator(derived<20>(master, unsigned(purpose) + 1, 20).bytes()) {}

}  // namespace hushwire::srtp
