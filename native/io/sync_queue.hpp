// Which spool files are to be synced when: each 4 s after it was last, so that their turns stay as spread out
// as their beginnings were. What falls due within a moment goes together. Pure: time is an argument.
//
// All at once would keep the disk and a core for hundreds of milliseconds, in which packets wait; and by the
// time the last file's turn came most would have been written to again, and be paid for twice.
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace hushwire::io {

template <typename File>
class SyncQueue {
  public:
    /// Less than the 5 s that are promised, by what a busy disk may take for a group.
    static constexpr std::int64_t kPeriodUs = 4'000'000, kGatherUs = 200'000;

    void add(const std::shared_ptr<File>& file, std::int64_t now_us) {
        places_.push_back({now_us + kPeriodUs, file});
    }
    bool is_empty() const { return places_.empty(); }
    /// When `take` is to be called next, at the latest kPeriodUs + kGatherUs after a file was added or taken.
    std::optional<std::int64_t> due_us() const {
        if (places_.empty()) return std::nullopt;
        return places_.front().due_us + kGatherUs;
    }
    /// Those whose turn it is, of those that still exist. Their next turn counts from now.
    std::vector<std::shared_ptr<File>> take(std::int64_t now_us) {
        std::vector<std::shared_ptr<File>> taken;
        while (!places_.empty() && places_.front().due_us <= now_us) {
            if (auto file = places_.front().file.lock()) taken.push_back(std::move(file));
            places_.pop_front();
        }
        for (const auto& file : taken) add(file, now_us);
        return taken;
    }

  private:
    struct Place {
        std::int64_t due_us = 0;
        std::weak_ptr<File> file;
    };
    std::deque<Place> places_;  // what is due first is first: all have the same period
};

}  // namespace hushwire::io
