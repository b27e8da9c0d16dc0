#include "core/player.hpp"

#include <algorithm>
#include <cstring>

namespace hushwire {

Player::Player(const PlayOrder& order, std::int64_t now_us) : order_(order) {
    auto at = std::int64_t{order_.offset_ms} * 1000 / order_.sound->frame_us();
    first_frame_ = static_cast<std::uint32_t>(at % static_cast<std::int64_t>(order_.sound->frames()));
    begin(now_us);
}

void Player::begin(std::int64_t at_us) {
    frame_ = first_frame_;
    left_ = order_.times ? order_.times - 1 : 0;
    begun_us_ = due_us_ = at_us;
    is_beginning_ = true;
    is_pausing_ = is_over_ = false;
}

void Player::begin_at(std::int64_t at_us) {
    begun_us_ = due_us_;
    due_us_ = at_us;
    is_beginning_ = is_pausing_ = false;
}

Playout::Made Player::make(std::int64_t now_us, Bytes payload) {
    if (is_over_) {
        end_of_time();
        return {};
    }
    const auto& sound = *order_.sound;
    auto step_us = sound.frame_us();
    if (is_beginning_) begin_at(due_us_);
    if (auto late_us = now_us - due_us_; late_us > kMaxLateUs) {
        // The clock goes on as it was for who listens: time stamps count what is skipped, sequence numbers
        // don't.
        auto skipped = late_us / step_us;
        due_us_ += skipped * step_us;
        timestamp_ +=
            static_cast<std::uint32_t>(static_cast<std::uint64_t>(skipped) * sound.clock().frame_samples);
    }
    auto frame = sound.frame(frame_);
    auto length = std::min(frame.size(), payload.size());
    std::memcpy(payload.data(), frame.data(), length);
    Made made{{.index = index_++,
               .timestamp = timestamp_,
               .clock_rate = sound.clock().rate,
               .payload_type = order_.payload_type,
               .has_marker = index_ == 1},
              length};
    sent_++;
    timestamp_ += sound.clock().frame_samples;
    due_us_ += step_us;
    if (++frame_ < sound.frames()) return made;
    auto next_us = begun_us_ + std::int64_t{order_.interval_ms} * 1000;
    if ((order_.times && !left_) || next_us > due_us_) {
        is_over_ = true;
        return made;
    }
    if (order_.times) left_--;
    frame_ = 0;
    begun_us_ = due_us_;
    return made;
}

/// The last packet's time is over as well: only now is anything else heard.
void Player::end_of_time() {
    is_over_ = false;
    if (order_.times && !left_) {
        due_us_ = kNever;
        return;
    }
    if (order_.times) left_--;
    frame_ = 0;
    auto next_us = std::max(begun_us_ + std::int64_t{order_.interval_ms} * 1000, due_us_);
    auto pause_us = next_us - due_us_;
    timestamp_ +=
        static_cast<std::uint32_t>(pause_us * order_.sound->clock().frame_samples / order_.sound->frame_us());
    due_us_ = next_us;
    is_beginning_ = is_pausing_ = true;
}

void Player::unsent(std::int64_t now_us) {
    if (--sent_ == 0) begin(now_us + order_.sound->frame_us());
}

}  // namespace hushwire
