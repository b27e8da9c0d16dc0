#include "core/goertzel.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

namespace hushwire::dtmf {
namespace {

constexpr double kRate = 8000;
constexpr std::array<double, 8> kFrequencies{697, 770, 852, 941, 1209, 1336, 1477, 1633};
constexpr char kKeypad[] = "123A456B789C*0#D";
constexpr std::uint8_t kNone = 0xff;

constexpr float kMinTone = 3.0e8F;  // |X|^2 of a block: about -36 dBm0 in each tone
// A tone that is 1.5 % off shows up to 1.5 dB too little at its nominal frequency.
constexpr float kLowOverHigh = 9.5F;          // 8 dB, and that
constexpr float kHighOverLow = 3.6F;          // 4 dB, and that
constexpr float kOverNeighbours = 5.0F;       // 7 dB
constexpr float kOverHarmonic = 10.0F;        // 10 dB: vowels have strong second harmonics, keypads none
constexpr float kShareOfEnergy = 42.0F / 51;  // of the block's energy in the two tones, wherever in tune
constexpr float kLeastShare = 0.62F;          // at their nominal frequencies, as far off as they may be
// Between the 1.5 % that Q.24 takes and the 3.5 % that it refuses. A high tone that is 3.5 % off may look
// like one 2.4 % off to the other side.
constexpr float kOffPitchLow = 0.025F, kOffPitchHigh = 0.022F;
constexpr unsigned kBlocksToBegin = 2, kBlocksToEnd = 3;

float coefficient(double frequency) {
    return static_cast<float>(2 * std::cos(2 * std::numbers::pi * frequency / kRate));
}
const std::array<float, 8> kTone = [] {
    std::array<float, 8> out{};
    for (std::size_t i = 0; i < 8; i++) out[i] = coefficient(kFrequencies[i]);
    return out;
}();
const std::array<float, 8> kSine = [] {
    std::array<float, 8> out{};
    for (std::size_t i = 0; i < 8; i++)
        out[i] = static_cast<float>(std::sin(2 * std::numbers::pi * kFrequencies[i] / kRate));
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

std::uint8_t ToneDetector::heard_in_block(const Turned& now) const {
    std::array<float, kTones> powers{};
    for (std::size_t i = 0; i < kTones; i++) powers[i] = std::norm(now[i]);
    auto low =
        static_cast<std::size_t>(std::max_element(powers.begin(), powers.begin() + 4) - powers.begin());
    auto high = static_cast<std::size_t>(std::max_element(powers.begin() + 4, powers.end()) - powers.begin());
    auto a = powers[low], b = powers[high];
    if (a < kMinTone || b < kMinTone || a > b * kLowOverHigh || b > a * kHighOverLow) return kNone;
    for (std::size_t i = 0; i < kTones; i++) {
        if (i != low && i != high && powers[i] * kOverNeighbours > (i < 4 ? a : b)) return kNone;
    }
    // Those of the low tones lie too near the high tones to tell.
    const auto& second = harmonics_[high - 4];
    auto harmonic = second.first * second.first + second.second * second.second
                    - second.first * second.second * kHarmonic[high - 4];
    if (harmonic * kOverHarmonic > b) return kNone;
    if (a + b < kLeastShare * energy_ * kBlock / 2) return kNone;
    return code_of(kKeypad[low * 4 + (high - 4)]).value_or(kNone);
}

ToneDetector::Turned ToneDetector::turned() const {
    Turned out;
    for (std::size_t i = 0; i < kTones; i++)
        out[i] = {filters_[i].first - filters_[i].second * kTone[i] / 2, filters_[i].second * kSine[i]};
    return out;
}

/// Whether a digit that was heard in this block and the one before is one by its pitch: each tone near its
/// frequency, and both together nearly all that there was in either block. A turn of more than half a circle
/// (39 Hz) looks like one to the other side; but then the tone has lost more power than its turn explains.
bool ToneDetector::is_in_tune(std::uint8_t heard, const Turned& now) const {
    auto place = static_cast<std::size_t>(std::strchr(kKeypad, digit_of(heard)) - kKeypad);
    float share = 0, share_before = 0;
    for (auto i : {place / 4, 4 + place % 4}) {
        auto per_block = static_cast<float>(2 * std::numbers::pi * kFrequencies[i] / kRate * kBlock);
        auto off = std::arg(now[i] * std::conj(before_[i]) * std::polar(1.0F, -per_block));
        if (std::abs(off) > (i < 4 ? kOffPitchLow : kOffPitchHigh) * per_block) return false;
        // A block of a tone that is off by that much has lost so much of its power.
        auto left = std::abs(off) < 0.01F ? 1.0F : std::sin(off / 2) / (off / 2);
        share += std::norm(now[i]) / (left * left);
        share_before += std::norm(before_[i]) / (left * left);
    }
    constexpr auto kLeast = kShareOfEnergy * kBlock / 2;
    return share >= kLeast * energy_ && share_before >= kLeast * energy_before_;
}

void ToneDetector::end_block() {
    auto now = turned();
    auto heard = heard_in_block(now);
    bool goes_on = heard == last_ && (heard == kNone || is_in_tune(heard, now));
    before_ = now;
    energy_before_ = energy_;
    filters_ = {};
    harmonics_ = {};
    energy_ = 0;
    filled_ = 0;
    same_ = goes_on ? same_ + 1 : 1;
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
