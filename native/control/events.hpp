// Events that the controller has not acknowledged yet. They outlive its connection. Control thread only.
#pragma once
#include <algorithm>
#include <deque>
#include <functional>
#include <vector>

#include "control/protocol.hpp"

namespace hushwire::control {

class EventLog {
  public:
    static constexpr std::size_t kMaxKept = 200'000;

    /// Keeps the event and returns its frame, to be sent now. `fields` begins with BRIDGE in every event.
    const std::vector<std::byte>& add(EventType type, const std::function<void(FrameWriter&)>& fields) {
        if (kept_.size() >= kMaxKept) {  // a controller that never acknowledges must not take all memory
            kept_.pop_front();
            lost_++;
        }
        FrameWriter frame(FrameKind::event, static_cast<std::uint16_t>(type), next_id_);
        fields(frame);
        kept_.push_back({next_id_++, std::move(frame).finish()});
        return kept_.back().frame;
    }
    void acknowledge(std::uint32_t id) {
        auto at = std::lower_bound(kept_.begin(), kept_.end(), id,
                                   [](const Kept& k, std::uint32_t i) { return k.id < i; });
        if (at != kept_.end() && at->id == id) kept_.erase(at);
    }
    template <typename Use>
    void for_each(Use use) const {
        for (const auto& kept : kept_) use(kept.frame);
    }
    std::uint64_t lost() const { return lost_; }

  private:
    struct Kept {
        std::uint32_t id;
        std::vector<std::byte> frame;
    };
    std::deque<Kept> kept_;
    std::uint32_t next_id_ = 1;
    std::uint64_t lost_ = 0;
};

}  // namespace hushwire::control
