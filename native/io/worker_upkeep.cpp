// What bridges need beside their packets, by turns: reports to send, events to tell, recordings to hand over.
#include <algorithm>

#include "io/worker.hpp"

namespace hushwire::io {

/// Every bridge has its turn about ten times a second, a few on each tick: all at once would hold up packets.
void Worker::sweep() {
    constexpr std::size_t kAhead = 2;
    auto count = static_cast<std::int64_t>(turns_.size());
    auto since_us = std::min(now_us_ - swept_until_us_, kSweepUs);
    auto due = count * since_us / kSweepUs;
    if (!due) {
        if (!count) swept_until_us_ = now_us_;
        return;
    }
    swept_until_us_ = now_us_ - since_us + due * kSweepUs / count;
    auto ahead = [&](std::size_t by) { return turns_[(next_turn_ + by) % turns_.size()]; };
    for (; due > 0; due--) {
        ahead(2 * kAhead)->fetch();
        ahead(kAhead)->bridge.fetch_legs();
        sweep(*ahead(0));
        next_turn_ = (next_turn_ + 1) % turns_.size();
    }
    flush();
}

void Worker::sweep(Host& host) {
    host.bridge.tick(now_us_);
    send_reports(host);
    follow_up(host);
    look_for_unheard(host);
    if (host.recorder) host.recorder->take_turn(now_us_);
}

void Worker::send_reports(Host& host) {
    for (;;) {
        if (!batch_->has_room(1)) flush();
        auto report = host.bridge.report_due(now_us_, batch_->take());
        if (!report) break;
        send(host, *report);
    }
    batch_->give_back();
}

/// Media that never comes on a shared port may come from where it can't be told from other legs'.
void Worker::look_for_unheard(Host& host) {
    constexpr std::int64_t kPatienceUs = 2'000'000;
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++) {
        auto* line = host.lines[leg].get();
        if (!line || !line->sends_shared || line->is_told) continue;
        auto since_us = host.bridge.leg(leg).unheard_since_us();
        if (!since_us || now_us_ - *since_us < kPatienceUs) continue;
        line->is_told = true;
        sink_(host.id, {LegEvent::Kind::unheard, leg, {}});
    }
}

/// The last bridge takes its place in the order, and its turn at once: it may have moved behind the one
/// that is next.
void Worker::leave_turns(const Host& host) {
    auto* last = turns_.back();
    turns_.pop_back();
    if (last == &host) return;
    turns_[host.turn] = last;
    last->turn = host.turn;
    sweep(*last);
}

/// Each leg is told that nothing more will come from here.
void Worker::say_goodbye(Host& host) {
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++) {
        if (!host.bridge.has_leg(leg)) continue;
        if (!batch_->has_room(1)) flush();
        auto goodbye = host.bridge.goodbye(leg, now_us_, batch_->take());
        if (goodbye)
            send(host, *goodbye);
        else
            batch_->give_back();
    }
    flush();
}

}  // namespace hushwire::io
