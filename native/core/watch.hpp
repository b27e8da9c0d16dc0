// Notices that one side of a call is not heard, and why (a guess, from what is counted). Looked at by the
// clock, about twenty times a second; nothing per packet.
#pragma once
#include <cstdint>
#include <optional>

#include "core/statistics.hpp"

namespace hushwire {

enum class SilenceCause : std::uint8_t {
    over = 0,            ///< it is heard again, or need not be
    nothing_came = 1,    ///< never a packet: its network does not let media out, or it has a wrong address
    wrong_tag = 2,       ///< packets come, but protected with another key
    source_refused = 3,  ///< packets come from an address that was not announced
    unreadable = 4,      ///< packets come that are no RTP, or only replays
    stopped = 5,         ///< it was heard, and then no more
    not_heard = 6,       ///< its own reports say that it does not hear what is sent to it
};

class SilenceWatch {
  public:
    static constexpr std::int64_t kSilenceUs = 4'000'000;
    /// A stream that flaps is told of at this distance.
    static constexpr std::int64_t kQuietUs = 30'000'000;

    struct View {
        bool is_expected = false;         ///< answered, not held, and somebody is there to hear it
        std::int64_t since_us = 0;        ///< when that began
        std::int64_t last_media_us = -1;  ///< below 0: nothing ever came
        bool may_pause = false;  ///< it sends nothing when nothing is said (comfort noise, pauses before)
        std::int64_t meant_silence_us =
            -1;  ///< when its own report last said that it sends no more than came
        bool is_deaf = false;
        const Counters& counters;
    };

    /// What there is to tell: a cause when one begins, `over` when it ends.
    std::optional<SilenceCause> look(const View& view, std::int64_t now_us);

  private:
    std::optional<SilenceCause> cause_of(const View& view, std::int64_t now_us);
    std::optional<SilenceCause> refusal(const Counters& now) const;

    struct Refused {
        std::uint64_t tag = 0, source = 0, malformed = 0, replay = 0;
    };
    Refused before_;  // when the silence began
    std::int64_t began_us_ = -1, next_us_ = 0;
    SilenceCause told_ = SilenceCause::over;
};

}  // namespace hushwire
