// What legs hear that can't be relayed: another codec (transcoding), or several legs at once (mixing). All
// voices of a bridge are decoded once and advance together, 20 ms at a time; each listener gets the sum of
// those that it hears, in its own codec. Pure; allocates in `arrange`, never after.
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "core/limiter.hpp"
#include "core/playout.hpp"
#include "core/voice.hpp"

namespace hushwire {

class Mixer {
  public:
    static constexpr unsigned kLegs = 16;
    /// Of more voices than these, a listener hears the loudest.
    static constexpr unsigned kMaxAtOnce = 4;

    struct Seat {
        Formats formats;
        std::uint16_t hears = 0;  ///< what the mixer makes for this leg, a bit for each leg; 0: nothing
    };

    explicit Mixer(std::int64_t now_us);
    ~Mixer();

    /// Who speaks and hears from now on. What stays as it was goes on without a seam; returns whose listeners
    /// must be made anew.
    std::uint16_t arrange(const std::array<Seat, kLegs>& seats, std::int64_t now_us);
    /// What a listener reports as lost, in percent: what is coded for it from now on is protected
    /// accordingly.
    void expect_loss(unsigned leg, unsigned percent);
    /// A plain packet of a leg.
    void heard(unsigned leg, const rtp::Header& header, ConstBytes plain, std::int64_t now_us);
    /// Makes the leg's stream; refers to this mixer. Only where the leg's seat hears somebody.
    std::unique_ptr<Playout> listen(unsigned leg);
    bool has_voice(unsigned leg) const { return voices_[leg] != nullptr; }
    std::optional<VoiceReport> report(unsigned leg) const;

  private:
    class Listener;
    friend class Listener;
    struct Mouth;  ///< the encoder's side of a seat
    struct Key {   ///< a telephone event that a leg sends
        bool is_running = false;
        std::uint8_t event = 0;
        std::uint32_t begin = 0, length = 0, run = 0;
    };

    void advance(std::int64_t step);
    void press(unsigned leg, const codec::Format& format, const rtp::Header& header, ConstBytes payload,
               std::int64_t now_us);
    std::uint16_t choose(std::uint16_t heard) const;
    std::optional<double> silence(std::uint16_t heard) const;
    std::int64_t time_of(std::int64_t step) const { return origin_us_ + step * kStepUs; }

    static constexpr std::int64_t kStepUs = Voice::kFrameMs * 1000;
    static constexpr std::int64_t kTooLateUs = 100'000;  ///< a thread that stopped longer leaves steps out

    std::int64_t origin_us_, step_ = -1;  ///< the last step that voices were taken for
    unsigned rate_ = 0;
    std::array<Seat, kLegs> seats_;
    std::array<std::unique_ptr<Voice>, kLegs> voices_;
    std::array<std::vector<std::int16_t>, kLegs> frames_;
    std::array<std::unique_ptr<Mouth>, kLegs> mouths_;
    std::array<Key, kLegs> keys_{};
};

}  // namespace hushwire
