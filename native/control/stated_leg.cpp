#include "control/stated_leg.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

namespace hushwire::control {
namespace {

constexpr bool is_secret(Tag tag) {
    return tag == Tag::send_key || tag == Tag::recv_key || tag == Tag::ice_local_password;
}

struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

}  // namespace

StatedLeg stated_leg(const Fields& request) {
    auto fields = request.all();
    std::erase_if(fields, [](const auto& f) { return f.tag == Tag::bridge || f.tag == Tag::leg; });
    std::ranges::stable_sort(fields, {}, &Fields::Field::tag);
    std::unique_ptr<EVP_MD_CTX, Free> context(EVP_MD_CTX_new());
    bool is_good = context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
    StatedLeg out;
    for (const auto& field : fields) {
        std::array<std::byte, 4> head;
        store_be(head.data(), static_cast<std::uint16_t>(field.tag));
        store_be(head.data() + 2, static_cast<std::uint16_t>(field.value.size()));
        is_good = is_good && EVP_DigestUpdate(context.get(), head.data(), head.size()) == 1
                  && EVP_DigestUpdate(context.get(), field.value.data(), field.value.size()) == 1;
        if (is_secret(field.tag)) continue;
        out.bytes.insert(out.bytes.end(), head.begin(), head.end());
        out.bytes.insert(out.bytes.end(), field.value.begin(), field.value.end());
    }
    unsigned length = 0;
    if (!is_good || EVP_DigestFinal_ex(context.get(), uchars(out.digest.data()), &length) != 1)
        throw std::runtime_error("SHA-256 is not available");
    return out;
}

std::vector<Fields::Field> StatedLeg::fields() const {
    std::vector<Fields::Field> out;
    ByteReader reader(bytes);
    while (auto tag = reader.integer<std::uint16_t>()) {
        auto length = reader.integer<std::uint16_t>();
        auto value = length ? reader.take(*length) : std::nullopt;
        if (!value) break;
        out.push_back({Tag{*tag}, *value});
    }
    return out;
}

}  // namespace hushwire::control
