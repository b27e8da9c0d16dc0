#include "core/codec_g711.hpp"

#include <array>

namespace hushwire::codec::g711 {
namespace {

constexpr std::size_t kMaxBytes = 8 * kMaxPacketMs;

/// Decision levels of table 1/G.711 (A-law: negative inputs by their one's complement, even bits inverted).
constexpr std::uint8_t compress_a(std::int16_t sample) {
    int level = (sample < 0 ? ~sample : sample) >> 4;
    if (level > 15) {
        int segment = 1;
        for (; level > 31; level >>= 1) segment++;
        level += (segment - 1) * 16;
    }
    return static_cast<std::uint8_t>((level | (sample >= 0 ? 0x80 : 0)) ^ 0x55);
}

constexpr std::int16_t expand_a(std::uint8_t code) {
    int bits = (code ^ 0x55) & 0x7f;
    int segment = bits >> 4, mantissa = bits & 0x0f;
    int value = ((segment ? mantissa + 16 : mantissa) << 4) + 8;
    if (segment > 1) value <<= segment - 1;
    return static_cast<std::int16_t>(code & 0x80 ? value : -value);
}

/// Table 2/G.711 (mu-law: biased by 33, all bits inverted).
constexpr std::uint8_t compress_mu(std::int16_t sample) {
    int level = ((sample < 0 ? ~sample : sample) >> 2) + 33;
    if (level > 0x1fff) level = 0x1fff;
    int segment = 1;
    for (int rest = level >> 6; rest; rest >>= 1) segment++;
    int code = ((8 - segment) << 4) | (0x0f - ((level >> segment) & 0x0f));
    return static_cast<std::uint8_t>(code | (sample >= 0 ? 0x80 : 0));
}

constexpr std::int16_t expand_mu(std::uint8_t code) {
    int inverted = ~code, exponent = (inverted >> 4) & 7, mantissa = inverted & 0x0f;
    int step = 8 << exponent;
    int value = (0x80 << exponent) + step * mantissa + step / 2 - 4 * 33;
    return static_cast<std::int16_t>(code & 0x80 ? value : -value);
}

using ExpandTable = std::array<std::int16_t, 256>;
constexpr ExpandTable expand_table(std::int16_t (*expand_one)(std::uint8_t)) {
    ExpandTable table{};
    for (unsigned code = 0; code < table.size(); code++)
        table[code] = expand_one(static_cast<std::uint8_t>(code));
    return table;
}
constexpr ExpandTable kExpandMu = expand_table(expand_mu), kExpandA = expand_table(expand_a);

/// All that the laws can tell apart: the upper 14 bits.
using CompressTable = std::array<std::uint8_t, 1 << 14>;
CompressTable compress_table(std::uint8_t (*compress_one)(std::int16_t)) {
    CompressTable table{};
    for (unsigned i = 0; i < table.size(); i++)
        table[i] = compress_one(static_cast<std::int16_t>(static_cast<std::uint16_t>(i << 2)));
    return table;
}
const CompressTable& compress_table(Law law) {
    static const CompressTable mu = compress_table(compress_mu), a = compress_table(compress_a);
    return law == Law::mu ? mu : a;
}

}  // namespace

std::uint8_t compress(Law law, std::int16_t sample) {
    return law == Law::mu ? compress_mu(sample) : compress_a(sample);
}

std::int16_t expand(Law law, std::uint8_t code) {
    return law == Law::mu ? kExpandMu[code] : kExpandA[code];
}

std::size_t Decoder::samples(ConstBytes payload) const {
    return payload.size() <= kMaxBytes ? payload.size() : 0;
}

std::size_t Decoder::decode(ConstBytes payload, Samples out) {
    auto count = samples(payload);
    const auto& table = law_ == Law::mu ? kExpandMu : kExpandA;
    for (std::size_t i = 0; i < count; i++) out[i] = table[std::to_integer<std::uint8_t>(payload[i])];
    return count;
}

std::size_t Encoder::encode(ConstSamples pcm, Bytes out) {
    const auto& table = compress_table(law_);
    for (std::size_t i = 0; i < pcm.size(); i++)
        out[i] = static_cast<std::byte>(table[static_cast<std::uint16_t>(pcm[i]) >> 2]);
    return pcm.size();
}

}  // namespace hushwire::codec::g711
