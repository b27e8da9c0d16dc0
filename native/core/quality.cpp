#include "core/quality.hpp"

#include <algorithm>
#include <cmath>

namespace hushwire::quality {
namespace {

// G.107 table 2: default values.
constexpr double kSlr = 8, kRlr = 2, kOlr = kSlr + kRlr;      // loudness, dB
constexpr double kStmr = 15, kLstr = 18, kDs = 3;             // sidetone, dB
constexpr double kTelr = 65, kWepl = 110;                     // echo, dB
constexpr double kNc = -70, kNfor = -64, kPs = 35, kPr = 35;  // noise, dBm0p and dB(A)
constexpr double kQdu = 1;

/// Section 7.2: the noise of circuit, rooms and receiver at the 0 dBr point.
double noise() {
    double sending_room = kPs - kSlr - kDs - 100 + 0.004 * std::pow(kPs - kOlr - kDs - 14, 2);
    double effective = kPr + 10 * std::log10(1 + std::pow(10, (10 - kLstr) / 10));
    double receiving_room = kRlr - 121 + effective + 0.008 * std::pow(effective - 35, 2);
    double floor = kNfor + kRlr;
    double sum = 0;
    for (double level : {kNc, sending_room, receiving_room, floor}) sum += std::pow(10, level / 10);
    return 10 * std::log10(sum);
}

/// Section 7.3: what comes at once with the voice.
double simultaneous(double ro, double no, double t_ms) {
    double x = kOlr + 0.2 * (64 + no - kRlr);
    double loudness = 20 * (std::pow(1 + std::pow(x / 8, 8), 1.0 / 8) - x / 8);
    double s = -10 * std::log10(std::pow(10, -kStmr / 10) + std::exp(-t_ms / 4) * std::pow(10, -kTelr / 10));
    auto term = [](double base, double power) { return std::pow(1 + std::pow(base, power), 1 / power); };
    double sidetone =
        12 * term((s - 13) / 6, 8) - 28 * term((s + 1) / 19.4, 35) - 13 * term((s - 3) / 33, 13) + 29;
    double q = 37 - 15 * std::log10(kQdu), g = 1.07 + 0.258 * q + 0.0602 * q * q;
    double y = (ro - 100) / 15 + 46 / 8.4 - g / 9, z = 46.0 / 30 - g / 40;
    double quantising = 15 * std::log10(1 + std::pow(10, y) + std::pow(10, z));
    return loudness + sidetone + quantising;
}

/// Section 7.4: talker echo, listener echo, and too long a wait even without echo.
double delay(double ro, double no, double t_ms) {
    double terv =
        kTelr - 40 * std::log10((1 + t_ms / 10) / (1 + t_ms / 150)) + 6 * std::exp(-0.3 * t_ms * t_ms);
    double echo = (-1.5 * (no - kRlr) - (80 + 2.5 * (terv - 14))) / 2;
    double talker = (echo + std::sqrt(echo * echo + 100) - 1) * (1 - std::exp(-t_ms));
    double round_trip_ms = 2 * t_ms;
    double loop = (ro - 10.5 * (kWepl + 7) * std::pow(round_trip_ms + 1, -0.25)) / 2;
    double listener = loop + std::sqrt(loop * loop + 169);
    double wait = 0;
    if (t_ms > 100) {
        double x = std::log2(t_ms / 100);
        wait =
            25 * (std::pow(1 + std::pow(x, 6), 1.0 / 6) - 3 * std::pow(1 + std::pow(x / 3, 6), 1.0 / 6) + 2);
    }
    return talker + listener + wait;
}

/// Section 7.5: the codec, and what loss makes of it.
double equipment(const Coding& coding, double loss_percent, double burst_ratio) {
    return coding.ie + (95 - coding.ie) * loss_percent / (loss_percent / burst_ratio + coding.bpl);
}

}  // namespace

double rating(const Connection& connection) {
    double t_ms = std::clamp(connection.one_way_ms, 0.0, 5000.0);
    double no = noise(), ro = 15 - 1.5 * (kSlr + no);
    double ie = equipment(connection.coding, std::clamp(connection.loss_percent, 0.0, 100.0),
                          std::clamp(connection.burst_ratio, 1.0, 8.0));
    return std::clamp(ro - simultaneous(ro, no, t_ms) - delay(ro, no, t_ms) - ie, 0.0, 100.0);
}

double opinion(double r) {
    if (r <= 0) return 1;
    if (r >= 100) return 4.5;
    // Below R = 6.5 the polynomial falls under 1, which no opinion does.
    return std::max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6);
}

double listening_delay_ms(const Coding& coding, double jitter_ms) {
    constexpr double kPacketMs = 20;
    return kPacketMs + coding.look_ahead_ms + std::clamp(2 * jitter_ms, 20.0, 200.0);
}

double burst_ratio(std::uint64_t lost, std::uint64_t bursts, std::uint64_t expected) {
    if (!lost || !bursts || lost >= expected) return 1;
    double observed = static_cast<double>(lost) / static_cast<double>(bursts);
    double random = 1 / (1 - static_cast<double>(lost) / static_cast<double>(expected));
    return std::clamp(observed / random, 1.0, 8.0);
}

}  // namespace hushwire::quality
