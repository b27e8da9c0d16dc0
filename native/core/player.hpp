// Plays a sound to one leg, by the clock: once, some times, or until it is stopped; without a pause, or at
// intervals (a beep) between which the leg hears what it hears otherwise. Pure; one thread; no allocation
// once it is made.
#pragma once
#include <cstdint>
#include <memory>

#include "core/playout.hpp"
#include "core/sound.hpp"

namespace hushwire {

/// What PLAY asks for.
struct PlayOrder {
    std::shared_ptr<const Sound> sound;
    std::uint32_t playback = 0;     ///< the controller's name for it
    std::uint8_t payload_type = 0;  ///< of the sound's codec on this leg
    std::uint32_t times = 1;        ///< 0: until it is stopped
    std::uint32_t offset_ms =
        0;  ///< where the first time begins; behind the end counts from the beginning again
    std::uint32_t interval_ms =
        0;                 ///< from one beginning to the next; shorter than the sound: without a pause
    bool is_beep = false;  ///< over whatever else is played to the leg, which goes on below
};

class Player final : public Playout {
  public:
    /// So late (a program that was stopped, a machine that slept), the time that passed is skipped and not
    /// made up for.
    static constexpr std::int64_t kMaxLateUs = 200'000;

    Player(const PlayOrder& order, std::int64_t now_us);

    std::int64_t due_us() const override { return due_us_; }
    Made make(std::int64_t now_us, Bytes payload) override;
    /// What was made last could not be sent. A sound of which nothing was heard yet begins again with the
    /// next packet: it waits for a leg that is not set, or whose address is not known yet.
    void unsent(std::int64_t now_us) override;
    bool is_beginning() const override { return is_beginning_; }
    void begin_at(std::int64_t at_us) override;
    bool is_pausing() const override { return is_pausing_; }
    bool is_over() const override { return is_over_; }
    std::optional<Told> told() const override {
        auto sent_ms = sent_ * static_cast<std::uint64_t>(order_.sound->frame_us()) / 1000;
        return Told{order_.playback, static_cast<std::uint32_t>(sent_ms)};
    }

  private:
    void begin(std::int64_t at_us);
    void end_of_time();

    PlayOrder order_;
    std::uint32_t first_frame_ = 0;
    std::uint32_t frame_ = 0, left_ = 0;  // of this time; times left after it
    std::uint64_t index_ = 0, sent_ = 0;  // packets made; packets sent
    std::uint32_t timestamp_ = 0;
    std::int64_t due_us_ = kNever, begun_us_ = 0;
    bool is_beginning_ = true, is_pausing_ = false;
    bool is_over_ = false;  // the last packet of this time was made, and lasts until `due_us_`
};

}  // namespace hushwire
