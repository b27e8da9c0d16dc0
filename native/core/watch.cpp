#include "core/watch.hpp"

#include <algorithm>

namespace hushwire {

/// What was refused since the silence began.
std::optional<SilenceCause> SilenceWatch::refusal(const Counters& now) const {
    if (now.dropped_tag > before_.tag) return SilenceCause::wrong_tag;
    if (now.dropped_source > before_.source) return SilenceCause::source_refused;
    if (now.dropped_malformed > before_.malformed || now.dropped_replay > before_.replay)
        return SilenceCause::unreadable;
    return std::nullopt;
}

std::optional<SilenceCause> SilenceWatch::cause_of(const View& view, std::int64_t now_us) {
    auto began_us = std::max(view.since_us, view.last_media_us);
    if (began_us != began_us_) {
        began_us_ = began_us;
        const auto& now = view.counters;
        before_ = {now.dropped_tag, now.dropped_source, now.dropped_malformed, now.dropped_replay};
    }
    if (now_us - began_us >= kSilenceUs) {
        // Its word counts where it was given after the last packet, not on the way to it.
        constexpr std::int64_t kAfterUs = 500'000;
        bool is_meant = view.meant_silence_us > view.last_media_us + kAfterUs;
        bool is_since_change =
            view.since_us > view.last_media_us;  // answered, re-keyed, moved: all may differ now
        if (!is_meant && (is_since_change || !view.may_pause))
            if (auto cause = refusal(view.counters)) return cause;
        if (view.last_media_us < 0) return SilenceCause::nothing_came;
        if (!is_meant && !view.may_pause) return SilenceCause::stopped;
    }
    if (view.is_deaf) return SilenceCause::not_heard;
    return std::nullopt;
}

std::optional<SilenceCause> SilenceWatch::look(const View& view, std::int64_t now_us) {
    auto cause = view.is_expected ? cause_of(view, now_us) : std::nullopt;
    if (!view.is_expected) began_us_ = -1;
    if (told_ == SilenceCause::over) {
        if (!cause || now_us < next_us_) return std::nullopt;
        next_us_ = now_us + kQuietUs;
        return told_ = *cause;
    }
    if (cause) return std::nullopt;
    told_ = SilenceCause::over;
    return told_;
}

}  // namespace hushwire
