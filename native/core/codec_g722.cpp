#include "core/codec_g722.hpp"

#include <algorithm>

namespace hushwire::codec::g722 {
namespace {

constexpr std::size_t kMaxBytes = 8 * kMaxPacketMs;

// Tables of section 3.6.1 and annex A, in the Recommendation's names.
constexpr std::array<int, 30> q6{0,    35,   72,   110,  150,  190,  233,  276,  323,  370,
                                 422,  473,  530,  587,  650,  714,  786,  858,  940,  1023,
                                 1121, 1219, 1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919};
constexpr std::array<int, 32> iln{0,  63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19,
                                  18, 17, 16, 15, 14, 13, 12, 11, 10, 9,  8,  7,  6,  5,  4,  0};
constexpr std::array<int, 32> ilp{0,  61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47,
                                  46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 0};
constexpr std::array<int, 8> wl{-60, -30, 58, 172, 334, 538, 1198, 3042};
constexpr std::array<int, 16> rl42{0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0};
constexpr std::array<int, 32> ilb{2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543,
                                  2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025, 3091, 3158, 3228,
                                  3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008};
constexpr std::array<int, 16> qm4{0,     -20456, -12896, -8968, -6288, -4240, -2584, -1200,
                                  20456, 12896,  8968,   6288,  4240,  2584,  1200,  0};
constexpr std::array<int, 64> qm6{
    -136,  -136,  -136,  -136,  -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232,
    -9360, -8576, -7856, -7192, -6576,  -6000,  -5456,  -4944,  -4464,  -4008,  -3576,  -3168,  -2776,
    -2400, -2032, -1688, -1360, -1040,  -728,   24808,  21904,  19008,  16704,  14984,  13512,  12280,
    11192, 10232, 9360,  8576,  7856,   7192,   6576,   6000,   5456,   4944,   4464,   4008,   3576,
    3168,  2776,  2400,  2032,  1688,   1360,   1040,   728,    432,    136,    -432,   -136};
constexpr std::array<int, 4> qm2{-7408, -1616, 7408, 1616};
constexpr std::array<int, 3> ihn{0, 1, 0}, ihp{0, 3, 2}, wh{0, -214, 798};
constexpr std::array<int, 4> rh2{2, 1, 2, 1};
constexpr std::array<int, 12> kQmf{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11};

constexpr int saturate(int value) {
    return std::clamp(value, -32768, 32767);
}

constexpr std::size_t at(int index) {
    return static_cast<std::size_t>(index);
}

/// Block 3 (LOGSCL, SCALEL; LOGSCH, SCALEH): the quantiser's step follows the code just seen.
void scale(Band& band, int step, int limit, int shift_from) {
    band.nb = std::clamp(((band.nb * 127) >> 7) + step, 0, limit);
    int mantissa = ilb[at((band.nb >> 6) & 31)];
    int shift = shift_from - (band.nb >> 11);
    band.det = (shift < 0 ? mantissa << -shift : mantissa >> shift) << 2;
}

void adapt_low(Band& band, int code) {
    int four_bits = code >> 2;
    int difference = (band.det * qm4[at(four_bits)]) >> 15;
    scale(band, wl[at(rl42[at(four_bits)])], 18432, 8);
    band.adapt(difference);
}

void adapt_high(Band& band, int code) {
    int difference = (band.det * qm2[at(code)]) >> 15;
    scale(band, wh[at(rh2[at(code)])], 22528, 10);
    band.adapt(difference);
}

Band band(int det) {
    Band fresh;
    fresh.det = det;
    return fresh;
}

/// Sums of the even and the odd taps of the quadrature mirror filter (section 3.1).
struct Halves {
    int even = 0, odd = 0;
};
Halves filter(const std::array<int, 24>& x) {
    Halves sums;
    for (std::size_t i = 0; i < kQmf.size(); i++) {
        sums.odd += x[2 * i] * kQmf[i];
        sums.even += x[2 * i + 1] * kQmf[kQmf.size() - 1 - i];
    }
    return sums;
}

void shift_in(std::array<int, 24>& x, int first, int second) {
    std::copy(x.begin() + 2, x.end(), x.begin());
    x[22] = first;
    x[23] = second;
}

}  // namespace

void Band::adapt(int difference) {
    // RECONS, PARREC
    d[0] = difference;
    r[0] = saturate(s + difference);
    p[0] = saturate(sz + difference);
    // UPPOL2
    auto sign = [](int value) { return value >> 15; };
    int a1_times_4 = saturate(a[1] << 2);
    int step = sign(p[0]) == sign(p[1]) ? -a1_times_4 : a1_times_4;
    step = std::min(step, 32767);
    int second = (sign(p[0]) == sign(p[2]) ? 128 : -128) + (step >> 7) + ((a[2] * 32512) >> 15);
    second = std::clamp(second, -12288, 12288);
    // UPPOL1
    int first = saturate((sign(p[0]) == sign(p[1]) ? 192 : -192) + ((a[1] * 32640) >> 15));
    int limit = saturate(15360 - second);
    first = std::clamp(first, -limit, limit);
    // UPZERO
    int leak = difference == 0 ? 0 : 128;
    for (std::size_t i = 1; i < b.size(); i++)
        b[i] = saturate((sign(d[i]) == sign(difference) ? leak : -leak) + ((b[i] * 32640) >> 15));
    // DELAYA
    for (std::size_t i = d.size() - 1; i > 0; i--) d[i] = d[i - 1];
    r[2] = r[1];
    r[1] = r[0];
    p[2] = p[1];
    p[1] = p[0];
    a[1] = first;
    a[2] = second;
    // FILTEP, FILTEZ, PREDIC
    sp = saturate(((a[1] * saturate(2 * r[1])) >> 15) + ((a[2] * saturate(2 * r[2])) >> 15));
    int zeros = 0;
    for (std::size_t i = d.size() - 1; i > 0; i--) zeros += (b[i] * saturate(2 * d[i])) >> 15;
    sz = saturate(zeros);
    s = saturate(sp + sz);
}

Decoder::Decoder() : low_(band(32)), high_(band(8)) {}
Encoder::Encoder() : low_(band(32)), high_(band(8)) {}

std::size_t Decoder::samples(ConstBytes payload) const {
    return payload.size() <= kMaxBytes ? 2 * payload.size() : 0;
}

std::size_t Decoder::decode(ConstBytes payload, Samples out) {
    if (!samples(payload)) return 0;
    std::size_t n = 0;
    for (auto byte : payload) {
        int code = std::to_integer<int>(byte);
        int low_code = code & 0x3f, high_code = code >> 6;
        int low = std::clamp(low_.s + ((low_.det * qm6[at(low_code)]) >> 15), -16384, 16383);
        adapt_low(low_, low_code);
        int high = std::clamp(high_.s + ((high_.det * qm2[at(high_code)]) >> 15), -16384, 16383);
        adapt_high(high_, high_code);
        shift_in(history_, low + high, low - high);
        auto sums = filter(history_);
        out[n++] = static_cast<std::int16_t>(saturate(sums.even >> 11));
        out[n++] = static_cast<std::int16_t>(saturate(sums.odd >> 11));
    }
    return n;
}

std::size_t Encoder::encode(ConstSamples pcm, Bytes out) {
    std::size_t n = 0;
    for (std::size_t i = 0; i + 1 < pcm.size(); i += 2) {
        shift_in(history_, pcm[i], pcm[i + 1]);
        auto sums = filter(history_);
        int low = (sums.even + sums.odd) >> 14, high = (sums.even - sums.odd) >> 14;

        // QUANTL
        int difference = saturate(low - low_.s);
        int magnitude = difference >= 0 ? difference : -(difference + 1);
        std::size_t level = 1;
        while (level < q6.size() && magnitude >= (q6[level] * low_.det) >> 12) level++;
        int low_code = difference < 0 ? iln[level] : ilp[level];
        adapt_low(low_, low_code);

        // QUANTH
        difference = saturate(high - high_.s);
        magnitude = difference >= 0 ? difference : -(difference + 1);
        std::size_t outer = magnitude >= (564 * high_.det) >> 12 ? 2 : 1;
        int high_code = difference < 0 ? ihn[outer] : ihp[outer];
        adapt_high(high_, high_code);

        out[n++] = static_cast<std::byte>(high_code << 6 | low_code);
    }
    return n;
}

}  // namespace hushwire::codec::g722
