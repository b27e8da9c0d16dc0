#include "core/assessment.hpp"

#include <algorithm>
#include <cmath>

namespace hushwire {
namespace {

/// A report of the party older than this says nothing of now.
constexpr std::int64_t kFreshUs = 15'000'000;

std::uint16_t ten_thousandths(double share) {
    return static_cast<std::uint16_t>(std::lround(std::clamp(share, 0.0, 1.0) * 10'000));
}

std::uint16_t score(const quality::Connection& connection) {
    return static_cast<std::uint16_t>(std::lround(quality::opinion(quality::rating(connection)) * 100));
}

template <typename T>
void keep_lowest(std::optional<T>& worst, T value) {
    worst = worst ? std::min(*worst, value) : value;
}

double half_ms(const std::optional<std::uint32_t>& round_trip_us) {
    return round_trip_us.value_or(0) / 2000.0;
}

}  // namespace

void Assessment::take_reception(const Reception& reception, const Reporting& reporting,
                                const quality::Coding& coding) {
    auto totals = reception.totals();
    auto expected = totals.expected - before_.expected;
    latest_ = {};
    latest_.round_trip_us = reporting.round_trip_us();
    uplink_ = {0, 1, half_ms(latest_.round_trip_us)};
    if (latest_.round_trip_us) {
        round_trip_.add(*latest_.round_trip_us);
        worst_.round_trip_max_us = std::max(worst_.round_trip_max_us.value_or(0), *latest_.round_trip_us);
    }
    if (!expected || totals.received == before_.received) return;
    // What comes late is taken off the loss of the interval in which it comes.
    auto lost = totals.lost() > before_.lost() ? totals.lost() - before_.lost() : 0;
    uplink_.loss = static_cast<double>(std::min(lost, expected)) / static_cast<double>(expected);
    uplink_.burst_ratio = quality::burst_ratio(totals.settled_lost - before_.settled_lost,
                                               totals.bursts - before_.bursts, expected);
    before_ = totals;
    latest_.jitter_us = reception.jitter_us();
    latest_.loss_received = ten_thousandths(uplink_.loss);
    latest_.burst_ratio = static_cast<std::uint16_t>(std::lround(uplink_.burst_ratio * 100));
    auto jitter_ms = latest_.jitter_us / 1000.0;
    latest_.mos_received = score({uplink_.one_way_ms + quality::listening_delay_ms(coding, jitter_ms),
                                  uplink_.loss * 100, uplink_.burst_ratio, coding});
    loss_received_.add(*latest_.loss_received);
    jitter_.add(latest_.jitter_us);
    burst_ratio_.add(latest_.burst_ratio);
    mos_received_.add(*latest_.mos_received);
    worst_.jitter_max_us = std::max(worst_.jitter_max_us, latest_.jitter_us);
    keep_lowest(worst_.mos_received_worst, *latest_.mos_received);
}

void Assessment::take_hearing(const Reporting& reporting, const quality::Coding& coding, const Uplink* from,
                              bool is_relayed, std::int64_t now_us) {
    const auto& remote = reporting.remote();
    if (!remote || now_us - remote->at_us > kFreshUs) return;
    double reported = remote->fraction_lost / 256.0;
    double loss = reported, burst_ratio = 1, delay_ms = half_ms(latest_.round_trip_us);
    if (from) {
        if (!is_relayed) loss = 1 - (1 - reported) * (1 - from->loss);
        burst_ratio = from->burst_ratio;
        delay_ms += from->one_way_ms;
    }
    latest_.loss_reported = ten_thousandths(reported);
    latest_.remote_jitter_us = remote->jitter_us;
    latest_.mos_heard = score({delay_ms + quality::listening_delay_ms(coding, remote->jitter_us / 1000.0),
                               loss * 100, burst_ratio, coding});
    loss_reported_.add(*latest_.loss_reported);
    remote_jitter_.add(*latest_.remote_jitter_us);
    mos_heard_.add(*latest_.mos_heard);
    keep_lowest(worst_.mos_heard_worst, *latest_.mos_heard);
}

CallQuality Assessment::call() const {
    CallQuality call = worst_;
    call.mean.round_trip_us = round_trip_.value<std::uint32_t>();
    call.mean.loss_received = loss_received_.value<std::uint16_t>();
    call.mean.loss_reported = loss_reported_.value<std::uint16_t>();
    call.mean.jitter_us = jitter_.value<std::uint32_t>().value_or(0);
    call.mean.remote_jitter_us = remote_jitter_.value<std::uint32_t>();
    call.mean.burst_ratio = burst_ratio_.value<std::uint16_t>().value_or(100);
    call.mean.mos_received = mos_received_.value<std::uint16_t>();
    call.mean.mos_heard = mos_heard_.value<std::uint16_t>();
    return call;
}

}  // namespace hushwire
