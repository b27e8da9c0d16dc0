#include "core/jitter.hpp"

#include <algorithm>

namespace hushwire {
namespace {

constexpr std::int64_t kRestartAhead = 3000,
                       kRestartBehind = 256;    // wider leaps of sequence numbers: another stream
constexpr std::int64_t kAheadUs = 1'000'000;    // time stamps that leap forward, against the clock
constexpr std::int64_t kBehindUs = 500'000;     // that leap back, or stood still while the source paused
constexpr std::int64_t kStaleUs = 60'000;       // what is this much overdue after silence is skipped
constexpr std::int64_t kMaxExcessUs = 250'000;  // more is not made good by playing faster
constexpr std::int64_t kMaxHoldUs = 120'000;    // concealed so long with nothing there: the source is silent
constexpr std::int64_t kMaxGapUs = 200'000;     // a longer loss is silence, not concealed
constexpr std::size_t kKnown = 32;              // packets until a stream is known
constexpr std::size_t kLearnEvery = 8;
constexpr std::int64_t kMarginUs = 5000;

}  // namespace

JitterBuffer::JitterBuffer(const Options& options)
    : options_(options), bytes_(kSlots * options.max_payload), target_us_(options.first_delay_us) {}

void JitterBuffer::reset() {
    for (auto& slot : slots_) slot.is_used = false;
    used_ = 0;
    has_stream_ = false;
    transit_count_ = since_learnt_ = 0;
    target_us_ = options_.first_delay_us;
    fall_silent();
    has_played_ = false;
}

void JitterBuffer::fall_silent() {
    is_playing_ = is_paused_ = false;
    held_us_ = 0;
}

ConstBytes JitterBuffer::payload(const Slot& slot) const {
    auto at = static_cast<std::size_t>(&slot - slots_.data()) * options_.max_payload;
    return ConstBytes(bytes_).subspan(at, slot.size);
}

JitterBuffer::Slot* JitterBuffer::find(std::int64_t sequence) {
    auto& slot = slots_[static_cast<std::size_t>(sequence) & (kSlots - 1)];
    return slot.is_used && slot.sequence == sequence ? &slot : nullptr;
}

JitterBuffer::Slot* JitterBuffer::first_after(std::int64_t sequence) {
    if (!used_) return nullptr;
    auto from = std::max(sequence + 1, newest_ - static_cast<std::int64_t>(kSlots) + 1);
    for (auto s = from; s <= newest_; s++)
        if (auto* slot = find(s)) return slot;
    return nullptr;
}

void JitterBuffer::put(const rtp::Header& header, ConstBytes payload, std::int64_t now_us) {
    if (payload.size() > options_.max_payload) {
        counters_.discarded++;
        return;
    }
    std::int64_t sequence =
        newest_ + static_cast<std::int16_t>(header.sequence - static_cast<std::uint16_t>(newest_));
    std::int64_t timestamp =
        newest_timestamp_
        + static_cast<std::int32_t>(header.timestamp - static_cast<std::uint32_t>(newest_timestamp_));
    bool is_other = !has_stream_ || header.ssrc != ssrc_ || sequence > newest_ + kRestartAhead
                    || sequence < newest_ - kRestartBehind;
    std::int64_t played =
        has_played_ && !is_other ? sequence - next_ : -1;  // how far behind is the last one played
    if (!is_other && transit_count_) {
        auto later_us = now_us - to_us(timestamp) - base_us_;
        is_other = sequence > newest_ && (later_us < -kAheadUs || later_us > kBehindUs);
    }
    if (is_other) {
        if (has_stream_) counters_.resets++;
        reset();
        has_stream_ = true;
        ssrc_ = header.ssrc;
        // Far from 0, so that what is older than the first packet still has a number.
        sequence = (std::int64_t{1} << 32) + header.sequence;
        timestamp = (std::int64_t{1} << 40) + header.timestamp;
        newest_ = sequence;
        newest_timestamp_ = timestamp;
        // A clock that leapt within one stream: what was played once, and what was before it, is not played
        // now.
        floor_ = played >= 0 ? sequence - played : 0;
    }
    if (sequence < floor_ || (has_played_ && sequence < next_)) {
        // Late is worth knowing of too: the wait will be longer.
        note_transit(now_us - to_us(timestamp));
        counters_.late++;
        return;
    }
    if (find(sequence) || sequence <= newest_ - static_cast<std::int64_t>(kSlots)) {
        counters_.discarded++;
        return;
    }
    note_transit(now_us - to_us(timestamp));
    auto& slot = slots_[static_cast<std::size_t>(sequence) & (kSlots - 1)];
    if (slot.is_used) {
        counters_.discarded++;
        used_--;
    }
    slot = {true, sequence, timestamp, static_cast<std::uint16_t>(payload.size()), header.payload_type};
    std::ranges::copy(
        payload,
        bytes_.begin() + (&slot - slots_.data()) * static_cast<std::ptrdiff_t>(options_.max_payload));
    used_++;
    counters_.taken++;
    if (sequence > newest_) {
        newest_ = sequence;
        newest_timestamp_ = timestamp;
    }
}

void JitterBuffer::note_transit(std::int64_t transit_us) {
    transits_[transit_count_ % kTransits] = transit_us;
    transit_count_++;
    bool is_news = transit_count_ < kKnown || transit_us < base_us_ || transit_us - base_us_ > target_us_;
    if (++since_learnt_ >= kLearnEvery || is_news) learn();
}

void JitterBuffer::learn() {
    since_learnt_ = 0;
    auto count = std::min(transit_count_, kTransits);
    std::copy_n(transits_.begin(), count, sorted_.begin());
    auto at = (count * 98 + 99) / 100 - 1;
    auto end = sorted_.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(sorted_.begin(), sorted_.begin() + static_cast<std::ptrdiff_t>(at), end);
    base_us_ = *std::min_element(sorted_.begin(), sorted_.begin() + static_cast<std::ptrdiff_t>(at) + 1);
    auto least_us = transit_count_ < kKnown ? options_.first_delay_us : options_.min_delay_us;
    target_us_ = std::clamp(sorted_[at] - base_us_ + kMarginUs, least_us, options_.max_delay_us);
}

JitterBuffer::Next JitterBuffer::play(Slot& slot, bool is_start) {
    slot.is_used = false;
    used_--;
    next_ = slot.sequence + 1;
    next_timestamp_ = slot.timestamp;
    held_us_ = 0;
    is_playing_ = has_played_ = true;
    is_paused_ = false;
    return {Kind::packet, payload(slot), slot.payload_type, 0, is_start};
}

/// After silence: the first packet is played once it has waited for the target delay.
JitterBuffer::Next JitterBuffer::begin(std::int64_t now_us) {
    auto* first = first_after(has_played_ ? next_ - 1 : newest_ - static_cast<std::int64_t>(kSlots));
    while (first) {
        auto* second = first_after(first->sequence);
        if (!second || delay_us(now_us, second->timestamp) < target_us_ + kStaleUs) break;
        first->is_used = false;
        used_--;
        counters_.discarded++;
        first = second;
    }
    if (!first || delay_us(now_us, first->timestamp) < target_us_) return {};
    return play(*first, true);
}

JitterBuffer::Next JitterBuffer::next(std::int64_t now_us) {
    if (!is_playing_) return begin(now_us);
    if (delay_us(now_us, next_timestamp_) > target_us_ + kMaxExcessUs && used_) {
        fall_silent();  // a backlog: begin anew with what is due
        return begin(now_us);
    }
    auto tolerance = static_cast<std::int64_t>(options_.clock_rate / 1000);
    if (auto* slot = find(next_)) {
        if (slot->timestamp > next_timestamp_ + tolerance) {
            // Nothing is missing, but time has passed: the source paused.
            fall_silent();
            return begin(now_us);
        }
        return play(*slot, false);
    }
    if (auto* later = first_after(next_)) {
        auto missing = later->timestamp - next_timestamp_;
        auto covered = std::min(missing, held_us_ * options_.clock_rate / 1'000'000);
        if (missing - covered <= tolerance || is_paused_) {
            if (missing > tolerance && is_paused_) {
                fall_silent();
                return begin(now_us);
            }
            return play(*later, false);
        }
        if (to_us(missing) > kMaxGapUs) {
            fall_silent();
            return begin(now_us);
        }
        next_timestamp_ += covered;
        held_us_ = 0;
        counters_.lost++;
        return {Kind::lost, payload(*later), later->payload_type,
                static_cast<std::uint32_t>(missing - covered), false};
    }
    if (is_paused_ || held_us_ >= kMaxHoldUs) {
        fall_silent();
        return {};
    }
    return {Kind::empty, {}, 0, 0, false};
}

void JitterBuffer::advance(std::uint32_t clock_units) {
    next_timestamp_ += clock_units;
}

void JitterBuffer::hold(std::int64_t us) {
    held_us_ += us;
}

std::int64_t JitterBuffer::excess_us(std::int64_t now_us, std::int64_t waiting_us) const {
    if (!is_playing_ || is_paused_) return 0;
    return delay_us(now_us, next_timestamp_) + waiting_us - target_us_;
}

bool JitterBuffer::has_next() const {
    const auto& slot = slots_[static_cast<std::size_t>(next_) & (kSlots - 1)];
    return is_playing_ && slot.is_used && slot.sequence == next_ && slot.timestamp <= next_timestamp_;
}

}  // namespace hushwire
