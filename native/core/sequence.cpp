#include "core/sequence.hpp"

#include <algorithm>

namespace hushwire {

SequenceTracker::Place SequenceTracker::begin(std::uint32_t ssrc, std::uint16_t sequence) {
    window_ = ReplayWindow();
    window_.mark(sequence);
    ssrc_ = ssrc;
    expected_after_jump_ = 0x10000;
    return {sequence, ++run_};
}

std::optional<SequenceTracker::Place> SequenceTracker::place(std::uint32_t ssrc, std::uint16_t sequence) {
    constexpr unsigned kMaxDropout = 3000;
    if (window_.is_empty() || ssrc != ssrc_) return begin(ssrc, sequence);
    auto ahead = static_cast<std::uint16_t>(sequence - static_cast<std::uint16_t>(window_.top()));
    std::uint64_t index = 0;
    if (ahead < kMaxDropout) {
        index = window_.top() + ahead;
    } else if (std::uint64_t behind = 0x10000U - ahead; behind <= ReplayWindow::kSize) {
        if (behind > window_.top()) return std::nullopt;
        index = window_.top() - behind;
    } else if (sequence == expected_after_jump_) {
        return begin(ssrc, sequence);  // "two sequential packets: assume that the other side restarted" (A.1)
    } else {
        expected_after_jump_ = (sequence + 1U) & 0xffff;
        return std::nullopt;
    }
    if (window_.was_seen(index)) return std::nullopt;
    window_.mark(index);
    return Place{index, run_};
}

std::optional<OutputMap::Mapped> OutputMap::map(StreamId source, std::uint64_t index, std::uint32_t timestamp,
                                                std::uint32_t clock_rate, std::int64_t now_us,
                                                std::uint32_t span) {
    bool is_new_run = !is_running_ || source != source_;
    if (is_new_run ? is_running_ && source.origin == source_.origin && source.ssrc == source_.ssrc
                         && source.run < source_.run
                   : index < base_in_)
        return std::nullopt;
    // A gap that a receiver could take for the far side of a rollover is closed up; the clock goes on as it
    // was.
    bool is_too_far = !is_new_run && has_sent_ && index - base_in_ + base_out_ >= next_ + kMaxGap;
    if (is_new_run || is_too_far) {
        base_in_ = index;
        base_out_ = next_;
    }
    if (is_new_run) {
        std::int64_t elapsed_us = has_sent_ ? std::max<std::int64_t>(now_us - last_us_, kMinStepUs) : 0;
        auto elapsed = static_cast<std::uint64_t>(elapsed_us) * clock_rate / 1'000'000;
        timestamp_offset_ = last_timestamp_ + static_cast<std::uint32_t>(elapsed) - timestamp;
        source_ = source;
        is_running_ = true;
    }
    Mapped out{index - base_in_ + base_out_, timestamp + timestamp_offset_, is_new_run && has_sent_};
    if (out.index >= next_) {
        next_ = out.index + 1;
        last_timestamp_ = out.timestamp + span;
        last_us_ = now_us;
    }
    has_sent_ = true;
    return out;
}

}  // namespace hushwire
