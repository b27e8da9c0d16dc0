#include "core/resample.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace hushwire {
namespace {

constexpr double kCutOff = 0.4685;  // of the lower rate: 3,748 Hz at 8 kHz, in the middle of the transition
constexpr double kBeta = 5.65;      // Kaiser, 60 dB
constexpr int kUnity = 1 << 15;

double bessel_i0(double x) {
    double sum = 1, term = 1;
    for (int k = 1; k < 40; k++) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

std::vector<double> prototype(unsigned factor, std::size_t taps) {
    std::vector<double> h(taps * factor);
    double middle = (static_cast<double>(h.size()) - 1) / 2;
    for (std::size_t i = 0; i < h.size(); i++) {
        double t = (static_cast<double>(i) - middle) / factor;
        double x = 2 * kCutOff * t;
        double sinc = std::abs(x) < 1e-9 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x);
        double at = (static_cast<double>(i) - middle) / (middle + 0.5);
        h[i] = sinc * bessel_i0(kBeta * std::sqrt(1 - at * at));
    }
    return h;
}

/// To whole numbers whose sum is exactly one: silence and steady tones keep their level in every phase.
void quantise(const std::vector<double>& h, std::int16_t* out) {
    double sum = 0;
    for (double v : h) sum += v;
    int total = 0;
    std::size_t largest = 0;
    for (std::size_t i = 0; i < h.size(); i++) {
        auto value = static_cast<int>(std::lround(h[i] / sum * kUnity));
        out[i] = static_cast<std::int16_t>(value);
        total += value;
        if (h[i] > h[largest]) largest = i;
    }
    out[largest] = static_cast<std::int16_t>(out[largest] + kUnity - total);
}

std::int16_t dot(const std::int16_t* x, const std::int16_t* h, std::size_t n) {
    std::int32_t sum = kUnity / 2;
    for (std::size_t i = 0; i < n; i++) sum += std::int32_t{x[i]} * h[i];
    return static_cast<std::int16_t>(std::clamp(sum >> 15, -32768, 32767));
}

}  // namespace

const Resampler::Filter& Resampler::filter(unsigned factor, bool is_up) {
    auto make = [](unsigned f, bool up) {
        Filter made{f, std::vector<std::int16_t>(kTaps * f)};
        auto h = prototype(f, kTaps);
        if (!up) {
            quantise(h, made.taps.data());
            return made;
        }
        for (unsigned phase = 0; phase < f; phase++) {
            std::vector<double> row(kTaps);
            for (std::size_t tap = 0; tap < kTaps; tap++) row[kTaps - 1 - tap] = h[tap * f + phase];
            quantise(row, made.taps.data() + phase * kTaps);
        }
        return made;
    };
    static const std::array<Filter, 6> all{make(2, true),  make(3, true),  make(6, true),
                                           make(2, false), make(3, false), make(6, false)};
    for (std::size_t i = is_up ? 0 : 3; i < (is_up ? 3U : 6U); i++)
        if (all[i].factor == factor) return all[i];
    throw std::invalid_argument("no filter for these rates");
}

Resampler::Resampler(unsigned from, unsigned to, std::size_t max_input) {
    if (from == to) return;
    bool is_up = to > from;
    auto factor = is_up ? to / from : from / to;
    (is_up ? up_ : down_) = factor;
    filter_ = &filter(factor, is_up);
    memory_ = (is_up ? kTaps : kTaps * factor) - 1;
    line_.resize(memory_ + max_input);
}

std::size_t Resampler::run(codec::ConstSamples in, codec::Samples out) {
    if (!filter_) {
        std::ranges::copy(in, out.begin());
        return in.size();
    }
    std::ranges::copy(in, line_.begin() + static_cast<std::ptrdiff_t>(memory_));
    std::size_t n = 0;
    const auto* taps = filter_->taps.data();
    if (up_ > 1) {
        for (std::size_t i = 0; i < in.size(); i++)
            for (unsigned phase = 0; phase < up_; phase++)
                out[n++] = dot(line_.data() + i, taps + phase * kTaps, kTaps);
    } else {
        for (std::size_t i = down_ - 1; i < in.size(); i += down_)
            out[n++] = dot(line_.data() + i, taps, kTaps * down_);
    }
    std::copy_n(line_.begin() + static_cast<std::ptrdiff_t>(in.size()), memory_, line_.begin());
    return n;
}

}  // namespace hushwire
