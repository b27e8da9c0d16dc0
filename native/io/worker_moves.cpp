// Legs on their way to other bridges, of the same worker or, with sockets of their own, of another.
#include <sys/epoll.h>

#include <utility>

#include "io/worker.hpp"

namespace hushwire::io {

void Worker::move_leg(const Uuid& from, unsigned leg, const Uuid& to, unsigned to_leg) {
    auto *source = find(from), *target = find(to);
    if (!source || !target || !source->lines[leg]) return;
    flush();  // what waits to be sent names the bridge that it came out of
    auto& line = target->lines[to_leg] = std::move(source->lines[leg]);
    for (auto& port : line->own) {
        port.host = target;
        port.leg = to_leg;
    }
    target->bridge.put_leg(to_leg, source->bridge.take_leg(leg, now_us_), now_us_);
    if (line->shared) {
        auto& place = line->shared->places[line->seat];
        place.host = target;
        place.leg = to_leg;
        place.state = &target->bridge.leg(to_leg);
    }
    for (auto* host : {source, target}) {
        tell_events(*host);
        schedule(*host);
    }
}

struct Worker::Passage {
    std::unique_ptr<Line> line;
    Bridge::Moving moving;
};

/// What comes for it meanwhile waits in its sockets.
std::shared_ptr<Worker::Passage> Worker::take_out(const Uuid& from, unsigned leg) {
    auto* source = find(from);
    auto* moving = source ? source->lines[leg].get() : nullptr;
    if (!moving || moving->sends_shared) return nullptr;
    flush();                // what waits to be sent names the bridge and the sockets
    leave_shared(*moving);  // its party was told of its own pair
    auto passage = std::make_shared<Passage>();
    passage->line = std::move(source->lines[leg]);
    for (auto& port : passage->line->own)
        if (port.fd) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, port.fd.get(), nullptr);
    passage->moving = source->bridge.take_leg(leg, now_us_);
    tell_events(*source);
    schedule(*source);
    return passage;
}

void Worker::put_in(const Uuid& to, unsigned leg, Passage& passage) {
    auto* target = find(to);
    if (!target || target->lines[leg]) return;
    auto& line = target->lines[leg] = std::move(passage.line);
    target->bridge.put_leg(leg, std::move(passage.moving), now_us_);
    for (auto& port : line->own) {
        port.host = target;
        port.leg = leg;
        if (port.fd) watch(port);
    }
    tell_events(*target);
    schedule(*target);
}

}  // namespace hushwire::io
