#include "core/goertzel.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace hushwire::dtmf {
namespace {

constexpr double kRate = 8000;
constexpr std::array<double, 8> kFrequencies{697, 770, 852, 941, 1209, 1336, 1477, 1633};
constexpr char kKeypad[] = "123A456B789C*0#D";
constexpr std::uint8_t kNone = 0xff;

constexpr float kMinTone = 3.0e8F;            // |X|^2 of a block: about -36 dBm0 in each tone
constexpr float kLowOverHigh = 6.3F;          // 8 dB
constexpr float kHighOverLow = 2.5F;          // 4 dB
constexpr float kOverNeighbours = 6.3F;       // 8 dB
constexpr float kOverHarmonic = 10.0F;        // 10 dB: vowels have strong second harmonics, keypads none
constexpr float kShareOfEnergy = 42.0F / 51;  // of the block's energy in the two tones
constexpr unsigned kBlocksToBegin = 2, kBlocksToEnd = 3;

float coefficient(double frequency) {
    return static_cast<float>(2 * std::cos(2 * std::numbers::pi * frequency / kRate));
}
const std::array<float, 8> kTone = [] {
    std::array<float, 8> out{};
    for (std::size_t i = 0; i < 8; i++) out[i] = coefficient(kFrequencies[i]);
    return out;
}();
const std::array<float, 4> kHarmonic = [] {
    std::array<float, 4> out{};
    for (std::size_t i = 0; i < 4; i++) out[i] = coefficient(2 * kFrequencies[4 + i]);
    return out;
}();

}  // namespace

void ToneDetector::samples(std::span<const std::int16_t> pcm) {
    auto step = [](Filter& f, float c, float x) {
        auto next = x + c * f.first - f.second;
        f.second = f.first;
        f.first = next;
    };
    for (auto sample : pcm) {
        auto x = static_cast<float>(sample);
        for (std::size_t i = 0; i < kTones; i++) step(filters_[i], kTone[i], x);
        for (std::size_t i = 0; i < harmonics_.size(); i++) step(harmonics_[i], kHarmonic[i], x);
        energy_ += x * x;
        if (++filled_ == kBlock) end_block();
    }
}

std::uint8_t ToneDetector::heard_in_block() const {
    auto power = [](const Filter& f, float c) {
        return f.first * f.first + f.second * f.second - f.first * f.second * c;
    };
    std::array<float, kTones> powers{};
    for (std::size_t i = 0; i < kTones; i++) powers[i] = power(filters_[i], kTone[i]);
    auto low =
        static_cast<std::size_t>(std::max_element(powers.begin(), powers.begin() + 4) - powers.begin());
    auto high = static_cast<std::size_t>(std::max_element(powers.begin() + 4, powers.end()) - powers.begin());
    auto a = powers[low], b = powers[high];
    if (a < kMinTone || b < kMinTone || a > b * kLowOverHigh || b > a * kHighOverLow) return kNone;
    for (std::size_t i = 0; i < kTones; i++) {
        if (i != low && i != high && powers[i] * kOverNeighbours > (i < 4 ? a : b)) return kNone;
    }
    // Those of the low tones lie too near the high tones to tell.
    if (power(harmonics_[high - 4], kHarmonic[high - 4]) * kOverHarmonic > b) return kNone;
    if (a + b < kShareOfEnergy * energy_ * kBlock / 2) return kNone;
    return code_of(kKeypad[low * 4 + (high - 4)]).value_or(kNone);
}

void ToneDetector::end_block() {
    auto heard = heard_in_block();
    filters_ = {};
    harmonics_ = {};
    energy_ = 0;
    filled_ = 0;
    same_ = heard == last_ ? same_ + 1 : 1;
    last_ = heard;
    if (digit_ != kNone) {
        blocks_ += heard == digit_ ? 1 + std::exchange(other_, 0) : 0;
        if (heard != digit_) other_++;
        bool has_ended =
            other_ >= kBlocksToEnd || (heard != kNone && heard != digit_ && same_ >= kBlocksToBegin);
        if (!has_ended) return;
        if (waiting_ < digits_.size())
            digits_[(first_ + waiting_++) % digits_.size()] = {
                digit_of(digit_), static_cast<std::uint32_t>(blocks_ * kBlock * 1000 / 8000)};
        digit_ = kNone;
    }
    if (heard == kNone || same_ < kBlocksToBegin) return;
    digit_ = heard;
    blocks_ = same_;
    other_ = 0;
}

std::optional<Digit> ToneDetector::take() {
    if (!waiting_) return std::nullopt;
    auto digit = digits_[first_];
    first_ = (first_ + 1) % digits_.size();
    waiting_--;
    return digit;
}

ToneGenerator::ToneGenerator(char digit, std::uint32_t duration_ms, unsigned rate)
    : total_(duration_ms * (rate / 1000)), edge_(rate / 500) {
    for (std::size_t i = 0; i < 16; i++) {
        if (kKeypad[i] != digit) continue;
        low_ = 2 * std::numbers::pi * kFrequencies[i / 4] / rate;
        high_ = 2 * std::numbers::pi * kFrequencies[4 + i % 4] / rate;
    }
}

std::size_t ToneGenerator::samples(std::span<std::int16_t> out) {
    // 0 dBm0 is 3.17 dB below the overload of mu-law: a sine of 22,800.
    constexpr double kLow = 10'200, kHigh = 12'800;
    std::size_t n = 0;
    for (; n < out.size() && at_ < total_; n++, at_++) {
        auto edge = std::min({at_ + 1, total_ - at_, edge_});  // 2 ms: no click
        auto value = kLow * std::sin(low_ * at_) + kHigh * std::sin(high_ * at_);
        out[n] = static_cast<std::int16_t>(value * edge / edge_);
    }
    return n;
}

}  // namespace hushwire::dtmf
