#include "core/conceal.hpp"

#include <algorithm>
#include <cmath>

namespace hushwire {
namespace {

constexpr unsigned kSearchRate = 8000;
constexpr std::size_t kMinLag = 40, kMaxLag = 120, kCompared = 160;  // 5, 15 and 20 ms at kSearchRate
constexpr std::size_t kSearched = kMaxLag + kCompared;
constexpr double kMaxNoise = 32768.0 * 32768.0 * 1e-5;  // -50 dBov: louder is no background
constexpr double kFullPower = 32768.0 * 32768.0;

std::int16_t sample(double value) {
    return static_cast<std::int16_t>(std::lround(std::clamp(value, -32768.0, 32767.0)));
}

std::size_t ms(unsigned rate, unsigned milliseconds) {
    return std::size_t{rate} * milliseconds / 1000;
}

}  // namespace

double power(codec::ConstSamples pcm) {
    if (pcm.empty()) return 0;
    std::int64_t sum = 0;
    for (auto s : pcm) sum += std::int32_t{s} * s;
    return static_cast<double>(sum) / static_cast<double>(pcm.size());
}

Pitch find_pitch(codec::ConstSamples pcm, unsigned rate) {
    std::size_t factor = std::max(rate / kSearchRate, 1U);
    std::array<float, kSearched> x{};
    if (pcm.size() < kSearched * factor) return {};
    auto tail = pcm.last(kSearched * factor);
    for (std::size_t i = 0; i < kSearched; i++) {
        float sum = 0;
        for (std::size_t k = 0; k < factor; k++) sum += tail[i * factor + k];
        x[i] = sum / static_cast<float>(factor);
    }
    const float* recent = x.data() + kSearched - kCompared;
    double own = 1;
    for (std::size_t i = 0; i < kCompared; i++) own += recent[i] * recent[i];
    double energy = 1;
    for (std::size_t i = 0; i < kCompared; i++) energy += recent[i - kMinLag] * recent[i - kMinLag];
    Pitch best;
    for (std::size_t lag = kMinLag; lag <= kMaxLag; lag++) {
        const float* earlier = recent - lag;
        // Four sums, so that they need not wait for each other.
        std::array<float, 4> sums{};
        for (std::size_t i = 0; i < kCompared; i += 4)
            for (std::size_t k = 0; k < 4; k++) sums[k] += recent[i + k] * earlier[i + k];
        double product = sums[0] + sums[1] + sums[2] + sums[3];
        double likeness = product / std::sqrt(own * energy);
        if (likeness > best.likeness) best = {lag * factor, likeness};
        if (lag == kMaxLag) break;
        energy += earlier[-1] * earlier[-1] - earlier[kCompared - 1] * earlier[kCompared - 1];
        energy = std::max(energy, 1.0);
    }
    if (!best.lag) best.lag = kMaxLag * factor;
    return best;
}

Concealer::Concealer(unsigned rate)
    : rate_(rate), history_(ms(rate, kPitchWindowMs)), cycle_(ms(rate, kPitchWindowMs)) {}

void Concealer::remember(codec::ConstSamples pcm) {
    auto kept = std::min(pcm.size(), history_.size());
    std::copy(history_.begin() + static_cast<std::ptrdiff_t>(kept), history_.end(), history_.begin());
    std::ranges::copy(pcm.last(kept), history_.end() - static_cast<std::ptrdiff_t>(kept));
}

void Concealer::forget() {
    concealed_ = 0;
    std::ranges::fill(history_, std::int16_t{0});
}

/// One pitch period, its end blended into what came before its beginning so that it repeats without a seam.
void Concealer::begin() {
    period_ = find_pitch(history_, rate_).lag;
    cycle_length_ = period_;
    auto blend = period_ / 4;
    const auto* end = history_.data() + history_.size();
    std::copy(end - period_, end, cycle_.begin());
    for (std::size_t i = 0; i < blend; i++) {
        double in = static_cast<double>(i + 1) / static_cast<double>(blend + 1);
        auto at = period_ - blend + i;
        cycle_[at] = sample(cycle_[at] * (1 - in) + *(end - period_ - blend + i) * in);
    }
    at_ = 0;
    step_ = history_.back() + (history_.back() - history_[history_.size() - 2]) * 0.5 - cycle_[0];
}

std::int16_t Concealer::next() {
    constexpr double kFadeMs = 50;
    double value = cycle_[at_];
    if (++at_ == cycle_length_) at_ = 0;
    double played_ms = static_cast<double>(concealed_) * 1000 / rate_;
    if (played_ms < 1) value += step_ * (1 - played_ms);
    concealed_++;
    return sample(value * std::clamp(1 - (played_ms - 10) / kFadeMs, 0.0, 1.0));
}

void Concealer::conceal(codec::Samples out) {
    if (!concealed_) begin();
    for (auto& s : out) s = next();
    // The history stays what was really heard last: the pitch is looked for once.
}

void Concealer::good(codec::Samples pcm) {
    if (concealed_) {
        // Blended over a quarter of a pitch period and 4 ms for each 10 ms that were lost (appendix I.2.7).
        double lost_ms = static_cast<double>(concealed_) * 1000 / rate_;
        auto wanted = period_ / 4 + ms(rate_, static_cast<unsigned>(lost_ms * 0.4));
        auto blend = std::min({pcm.size(), wanted, ms(rate_, 10)});
        for (std::size_t i = 0; i < blend; i++) {
            double in = static_cast<double>(i + 1) / static_cast<double>(blend + 1);
            pcm[i] = sample(next() * (1 - in) + pcm[i] * in);
        }
        concealed_ = 0;
    }
    remember(pcm);
}

void ComfortNoise::observe(codec::ConstSamples pcm) {
    constexpr unsigned kWindow = 50;  // a second of frames
    candidate_ = std::min(candidate_, power(pcm));
    if (++frames_ < kWindow) return;
    floor_ = candidate_;
    candidate_ = 1e12;
    frames_ = 0;
}

void ComfortNoise::describe(ConstBytes payload) {
    if (payload.empty()) return;
    // "The noise level is expressed in -dBov, with values from 0 to 127" (section 3.1)
    auto below = std::to_integer<unsigned>(payload[0]) & 0x7f;
    is_described_ = true;
    described_ = kFullPower * std::pow(10.0, -static_cast<double>(below) / 10);
    order_ = std::min(payload.size() - 1, kMaxOrder);
    for (std::size_t i = 0; i < order_; i++)
        reflection_[i] =
            std::clamp((std::to_integer<int>(payload[1 + i]) - 127) * 258 / 32768.0, -0.98, 0.98);
}

double ComfortNoise::level_dbov() const {
    double level = is_described_ ? described_ : std::min(floor_, kMaxNoise);
    return 10 * std::log10(std::max(level, 1e-3) / kFullPower);
}

double ComfortNoise::noise() {
    seed_ = seed_ * 1'664'525 + 1'013'904'223;
    return static_cast<double>(static_cast<std::int32_t>(seed_)) / 2147483648.0 * 1.7320508;  // mean square 1
}

void ComfortNoise::fill(codec::Samples out) {
    if (is_described_ && order_ && rate_ == 8000) {
        // The all-pole lattice of the reflection coefficients; its input is scaled so that its output has the
        // level told.
        double gain = described_;
        for (std::size_t i = 0; i < order_; i++) gain *= 1 - reflection_[i] * reflection_[i];
        gain = std::sqrt(gain);
        for (auto& s : out) {
            double forward = noise() * gain;
            for (std::size_t i = order_; i-- > 0;) {
                forward -= reflection_[i] * lattice_[i];
                if (i + 1 < kMaxOrder) lattice_[i + 1] = lattice_[i] + reflection_[i] * forward;
            }
            lattice_[0] = forward;
            s = sample(forward);
        }
        return;
    }
    // A low-pass of one pole: rooms hum more than they hiss. Its output has 1/3 of the input's power.
    double gain = std::sqrt(3 * (is_described_ ? described_ : std::min(floor_, kMaxNoise)));
    for (auto& s : out) {
        last_ = 0.5 * last_ + 0.5 * noise() * gain;
        s = sample(last_);
    }
}

}  // namespace hushwire
