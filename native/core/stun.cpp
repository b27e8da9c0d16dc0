#include "core/stun.hpp"

#include <algorithm>
#include <stdexcept>

namespace hushwire::stun {
namespace {

constexpr std::size_t kAttributeHeader = 4, kIntegritySize = 20, kFingerprintSize = 4;
constexpr std::uint32_t kFingerprintXor = 0x5354554e;  // RFC 8489 section 14.7

constexpr std::array<std::uint32_t, 256> kCrcTable = [] {
    std::array<std::uint32_t, 256> table{};
    for (std::uint32_t i = 0; i < table.size(); i++) {
        std::uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320U ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
    return table;
}();

/// CRC-32 of ITU-T V.42 over both parts.
std::uint32_t crc32(ConstBytes first, ConstBytes second) {
    std::uint32_t c = 0xffffffffU;
    for (auto part : {first, second})
        for (auto b : part) c = kCrcTable[(c ^ std::to_integer<std::uint32_t>(b)) & 0xff] ^ (c >> 8);
    return ~c;
}

constexpr std::size_t padded(std::size_t length) {
    return (length + 3) & ~std::size_t{3};
}

/// The header with the length that a message ending after `total` bytes would have: integrity and fingerprint
/// are computed as if nothing followed them (sections 14.5, 14.7).
std::array<std::byte, kHeader> header_ending_at(ConstBytes datagram, std::size_t total) {
    std::array<std::byte, kHeader> header;
    std::copy_n(datagram.begin(), kHeader, header.begin());
    store_be(header.data() + 2, static_cast<std::uint16_t>(total - kHeader));
    return header;
}

std::array<std::byte, kIntegritySize> digest(ConstBytes datagram, std::size_t attribute_at,
                                             const IntegrityKey& key) {
    auto header = header_ending_at(datagram, attribute_at + kAttributeHeader + kIntegritySize);
    return key.digest(header, datagram.subspan(kHeader, attribute_at - kHeader));
}

std::uint32_t checksum(ConstBytes datagram, std::size_t attribute_at) {
    auto header = header_ending_at(datagram, attribute_at + kAttributeHeader + kFingerprintSize);
    return crc32(header, datagram.subspan(kHeader, attribute_at - kHeader)) ^ kFingerprintXor;
}

/// RFC 8489 section 14.2: what the address is XORed with: cookie, then transaction id.
std::array<std::byte, 16> address_mask(const TransactionId& id) {
    std::array<std::byte, 16> mask;
    store_be(mask.data(), kMagicCookie);
    std::copy(id.begin(), id.end(), mask.begin() + 4);
    return mask;
}

std::optional<Address> xor_mapped(ConstBytes value, const TransactionId& id) {
    if (value.size() != 8 && value.size() != 20) return std::nullopt;
    auto family = std::to_integer<unsigned>(value[1]);
    if (family != (value.size() == 8 ? 1U : 2U)) return std::nullopt;
    auto mask = address_mask(id);
    std::array<std::byte, 16> raw{};
    auto ip = value.subspan(4);
    for (std::size_t i = 0; i < ip.size(); i++) raw[i] = ip[i] ^ mask[i];
    auto port = static_cast<std::uint16_t>(load_be16(value.data() + 2) ^ (kMagicCookie >> 16));
    return Address{*Ip::from(ConstBytes(raw).first(ip.size())), port};
}

template <typename T>
bool keep_first(std::optional<T>& field, ConstBytes value) {
    if (value.size() != sizeof(T)) return false;
    if (!field) field = load_be<T>(value.data());
    return true;
}

/// False where the attribute can't be what its type says.
bool take(Message& message, std::uint16_t type, ConstBytes value) {
    switch (type) {
        case kUsername:
            if (value.size() > 508) return false;  // section 14.3: fewer than 509 bytes
            if (!message.username)
                message.username =
                    std::string_view(reinterpret_cast<const char*>(value.data()), value.size());
            return true;
        case kPriority: return keep_first(message.priority, value);
        case kIceControlling: return keep_first(message.controlling, value);
        case kIceControlled: return keep_first(message.controlled, value);
        case kUseCandidate: message.has_use_candidate = true; return value.empty();
        case kXorMappedAddress: {
            auto mapped = xor_mapped(value, message.id);
            if (mapped && !message.mapped) message.mapped = mapped;
            return mapped.has_value();
        }
        case kErrorCode: {
            if (value.size() < 4) return false;
            auto hundreds = std::to_integer<unsigned>(value[2]) & 7,
                 rest = std::to_integer<unsigned>(value[3]);
            if (hundreds < 3 || hundreds > 6 || rest > 99) return false;
            if (!message.error_code) message.error_code = static_cast<std::uint16_t>(hundreds * 100 + rest);
            return true;
        }
        case kUnknownAttributes:
        case kRealm:
        case kNonce: return true;  // of no meaning in ICE
        default:
            if (type < 0x8000 && message.unknown_count < kMaxUnknown)
                message.unknown[message.unknown_count++] = type;
            return true;
    }
}

/// The header's own checks: type, cookie, and a length that is the datagram's (section 5).
bool is_framed(ConstBytes datagram) {
    if (datagram.size() < kHeader || datagram.size() % 4) return false;
    return (load_be16(datagram.data()) & 0xC000) == 0 && load_be32(datagram.data() + 4) == kMagicCookie
           && load_be16(datagram.data() + 2) == datagram.size() - kHeader;
}

struct Attribute {
    std::uint16_t type;
    ConstBytes value;
};

/// The attribute at `at`, which is moved behind it; nothing where it runs over the end.
std::optional<Attribute> next_attribute(ConstBytes datagram, std::size_t& at) {
    if (datagram.size() - at < kAttributeHeader) return std::nullopt;
    auto type = load_be16(datagram.data() + at);
    std::size_t length = load_be16(datagram.data() + at + 2);
    if (padded(length) > datagram.size() - at - kAttributeHeader) return std::nullopt;
    auto value = datagram.subspan(at + kAttributeHeader, length);
    at += kAttributeHeader + padded(length);
    return Attribute{type, value};
}

}  // namespace

std::optional<Message> parse(ConstBytes datagram) {
    if (!is_framed(datagram)) return std::nullopt;
    Message message;
    auto type = load_be16(datagram.data());
    // Section 5: the class lies in bits 4 and 8, the method in the others.
    message.kind = static_cast<Class>(((type >> 4) & 1) | ((type >> 7) & 2));
    message.method = static_cast<std::uint16_t>((type & 0xf) | ((type >> 1) & 0x70) | ((type >> 2) & 0xf80));
    std::copy_n(datagram.begin() + 8, message.id.size(), message.id.begin());
    for (auto at = kHeader; at < datagram.size();) {
        auto begin = at;
        auto attribute = next_attribute(datagram, at);
        if (!attribute) return std::nullopt;
        if (attribute->type == kFingerprint) {
            bool is_right = attribute->value.size() == kFingerprintSize && at == datagram.size()
                            && load_be32(attribute->value.data()) == checksum(datagram, begin);
            if (!is_right) return std::nullopt;
            message.has_fingerprint = true;
        } else if (message.integrity_at) {
            continue;  // section 14.5: what follows MESSAGE-INTEGRITY is not protected, and ignored
        } else if (attribute->type == kMessageIntegrity) {
            if (attribute->value.size() != kIntegritySize) return std::nullopt;
            message.integrity_at = begin;
        } else if (!take(message, attribute->type, attribute->value)) {
            return std::nullopt;
        }
    }
    return message;
}

bool has_integrity(ConstBytes datagram, const Message& message, const IntegrityKey& key) {
    if (!message.integrity_at) return false;
    auto expected = digest(datagram, *message.integrity_at, key);
    return CRYPTO_memcmp(expected.data(), datagram.data() + *message.integrity_at + kAttributeHeader,
                         expected.size())
           == 0;
}

IntegrityKey integrity_key(ConstBytes password) {
    if (password.size() <= SHA_CBLOCK) return IntegrityKey(password);
    Secret<SHA_DIGEST_LENGTH> hashed;
    SHA1(uchars(password.data()), password.size(), uchars(hashed.writable(SHA_DIGEST_LENGTH).data()));
    return IntegrityKey(hashed.bytes());
}

std::optional<std::string_view> peek_local_ufrag(ConstBytes datagram) {
    if (!is_framed(datagram) || load_be16(datagram.data()) != kBinding) return std::nullopt;
    for (auto at = kHeader; at < datagram.size();) {
        auto attribute = next_attribute(datagram, at);
        if (!attribute) return std::nullopt;
        if (attribute->type != kUsername) continue;
        std::string_view name(reinterpret_cast<const char*>(attribute->value.data()),
                              attribute->value.size());
        auto colon = name.find(':');
        if (colon == std::string_view::npos || colon == 0) return std::nullopt;
        return name.substr(0, colon);
    }
    return std::nullopt;
}

Writer::Writer(Bytes out, Class kind, std::uint16_t method, const TransactionId& id) : out_(out), id_(id) {
    auto bits = static_cast<unsigned>(kind);
    auto type = (method & 0xfU) | ((method & 0x70U) << 1) | ((method & 0xf80U) << 2) | ((bits & 1) << 4)
                | ((bits & 2) << 7);
    store_be(out.data(), static_cast<std::uint16_t>(type));
    store_be(out.data() + 4, kMagicCookie);
    std::copy(id.begin(), id.end(), out.begin() + 8);
    set_length(kHeader);
}

void Writer::set_length(std::size_t total) {
    store_be(out_.data() + 2, static_cast<std::uint16_t>(total - kHeader));
}

/// Room for a value of this length, padding zeroed.
Bytes Writer::begin(std::uint16_t type, std::size_t length) {
    if (out_.size() - size_ < kAttributeHeader + padded(length))
        throw std::length_error("no room for a STUN attribute");
    store_be(out_.data() + size_, type);
    store_be(out_.data() + size_ + 2, static_cast<std::uint16_t>(length));
    auto value = out_.subspan(size_ + kAttributeHeader, padded(length));
    std::fill(value.begin(), value.end(), std::byte{0});
    size_ += kAttributeHeader + value.size();
    set_length(size_);
    return value.first(length);
}

Writer& Writer::attribute(std::uint16_t type, ConstBytes value) {
    std::ranges::copy(value, begin(type, value.size()).begin());
    return *this;
}

Writer& Writer::username(std::string_view name) {
    return attribute(kUsername, as_bytes(name));
}

Writer& Writer::mapped_address(const Address& address) {
    auto ip = address.ip.wire();
    auto value = begin(kXorMappedAddress, 4 + ip.size());
    auto mask = address_mask(id_);
    value[1] = std::byte{address.ip.is_v4() ? std::uint8_t{1} : std::uint8_t{2}};
    store_be(value.data() + 2, static_cast<std::uint16_t>(address.port ^ (kMagicCookie >> 16)));
    for (std::size_t i = 0; i < ip.size(); i++) value[4 + i] = ip[i] ^ mask[i];
    return *this;
}

Writer& Writer::error(std::uint16_t code, std::string_view reason) {
    auto value = begin(kErrorCode, 4 + reason.size());
    value[2] = static_cast<std::byte>(code / 100);
    value[3] = static_cast<std::byte>(code % 100);
    std::ranges::copy(as_bytes(reason), value.begin() + 4);
    return *this;
}

Writer& Writer::unknown_attributes(std::span<const std::uint16_t> types) {
    auto value = begin(kUnknownAttributes, types.size() * 2);
    for (std::size_t i = 0; i < types.size(); i++) store_be(value.data() + i * 2, types[i]);
    return *this;
}

Writer& Writer::integrity(const IntegrityKey& key) {
    auto at = size_;
    auto value = begin(kMessageIntegrity, kIntegritySize);
    std::ranges::copy(digest(out_.first(size_), at, key), value.begin());
    return *this;
}

std::size_t Writer::fingerprint() {
    auto at = size_;
    auto value = begin(kFingerprint, kFingerprintSize);
    store_be(value.data(), checksum(out_.first(size_), at));
    return size_;
}

}  // namespace hushwire::stun
