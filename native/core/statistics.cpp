#include "core/statistics.hpp"

namespace hushwire {

void Reception::begin(StreamId stream, std::uint64_t index) {
    if (is_running_) {
        expected_before_ += highest_ - base_ + 1;
        // What was missing of the old stream will not come any more.
        for (unsigned i = kWindow; i-- > 0;) settle((seen_ >> i & 1) != 0);
    }
    received_before_ = received_;
    reported_expected_ = reported_received_ = 0;
    stream_ = stream;
    base_ = highest_ = index;
    seen_ = ~std::uint64_t{0};
    was_settled_come_ = true;
    is_running_ = true;
    has_transit_ = false;
}

void Reception::advance_far(std::uint64_t steps) {
    auto in_window = std::min<std::uint64_t>(steps, kWindow);
    for (std::uint64_t i = 0; i < in_window; i++) settle((seen_ >> (kWindow - 1 - i) & 1) != 0);
    if (steps > kWindow) {
        settled_lost_ += steps - kWindow;
        bursts_ += was_settled_come_;
        was_settled_come_ = false;
    }
    seen_ = in_window == kWindow ? 1 : seen_ << in_window | 1;
}

std::optional<ReceptionReport> Reception::take_report() {
    if (!is_running_) return std::nullopt;
    auto expected = highest_ - base_ + 1, received = received_ - received_before_;
    if (received == reported_received_) return std::nullopt;
    auto expected_now = static_cast<std::int64_t>(expected - reported_expected_);
    auto lost_now = expected_now - static_cast<std::int64_t>(received - reported_received_);
    reported_expected_ = expected;
    reported_received_ = received;
    auto fraction =
        expected_now > 0 && lost_now > 0 ? std::min<std::int64_t>(256 * lost_now / expected_now, 255) : 0;
    auto lost = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(expected) - static_cast<std::int64_t>(received), -0x800000, 0x7fffff);
    // The cycles are ours to count, from the first packet that came (A.1).
    auto first_cycle = base_ & ~std::uint64_t{0xffff};
    return ReceptionReport{stream_.ssrc, static_cast<std::uint8_t>(fraction), static_cast<std::int32_t>(lost),
                           static_cast<std::uint32_t>(highest_ - first_cycle),
                           static_cast<std::uint32_t>(jitter_)};
}

}  // namespace hushwire
