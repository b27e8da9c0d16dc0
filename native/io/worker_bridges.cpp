// What control asks for of bridges and their legs: opened, stated, reported, closed.
#include <utility>

#include "io/worker.hpp"

namespace hushwire::io {

void Worker::open_bridge(const Uuid& id, Mode mode) {
    auto& host = hosts_[id];
    host = std::make_unique<Host>(id, mode, dtls_receiver_);
    host->turn = turns_.size();
    turns_.push_back(host.get());
}

void Worker::open_leg(const Uuid& id, unsigned leg, PortPair pair) {
    auto* host = find(id);
    if (!host) return;
    host->bridge.open_leg(leg);
    listen(*host, leg, std::move(pair));
}

std::optional<std::uint16_t> Worker::open_leg(const Uuid& id, unsigned leg, const SharedWish& wish) {
    auto* host = find(id);
    if (!host) return std::nullopt;
    for (auto& port : shared_) {
        if (port->demux.size() >= Shared::kMaxLegs) continue;
        bool is_taken =
            wish.way == FoundBy::address && wish.remote && port->demux.find(*wish.remote) != kNoSeat;
        if (is_taken) continue;
        auto seat = port->demux.add(wish.way, wish.signalling);
        if (!seat) continue;
        if (*seat >= port->places.size()) port->places.resize(*seat + 1);
        host->bridge.open_leg(leg);
        port->places[*seat] = {host, leg, 0, &host->bridge.leg(leg)};
        auto& line = this->line(*host, leg);
        line.shared = port.get();
        line.seat = *seat;
        line.sends_shared = true;
        return port->number;
    }
    return std::nullopt;
}

void Worker::reopen_leg(const Uuid& id, unsigned leg, PortPair pair) {
    if (auto* host = find(id)) listen(*host, leg, std::move(pair));
}

std::optional<std::uint32_t> Worker::set_leg(const Uuid& id, unsigned leg, const LegSettings& settings) {
    auto* host = find(id);
    auto* line = host ? host->lines[leg].get() : nullptr;
    if (!line) return 0;
    if (line->own[0].fd) {
        line->sends_shared = false;
    } else if (!line->shared->demux.announce(line->seat, settings.remote_rtp,
                                             settings.recv_key.has_value())) {
        return std::nullopt;
    }
    if (line->shared && settings.ice)
        line->shared->demux.name(line->seat, as_bytes(settings.ice->local_ufrag));
    line->is_told = line->is_told_ambiguous = false;
    auto stated = settings;
    stated.has_rtcp_port = !line->sends_shared;
    auto ssrc = host->bridge.set_leg(leg, stated, now_us_);
    if (!batch_->has_room(1)) flush();
    if (auto answer = host->bridge.receive_early(leg, batch_->take(), now_us_))
        send(*host, *answer);
    else
        batch_->give_back();
    flush();
    tell_events(*host);
    schedule(*host);
    return ssrc;
}

std::uint32_t Worker::ssrc(const Uuid& id, unsigned leg) const {
    auto* host = find(id);
    return host ? host->bridge.ssrc(leg) : 0;
}

std::optional<BridgeReport> Worker::report(const Uuid& id, bool is_last) {
    auto* host = find(id);
    if (!host) return std::nullopt;
    if (is_last) host->bridge.assess(now_us_);
    BridgeReport report{.mode = host->bridge.mode(), .legs = {}};
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++)
        if (host->bridge.has_leg(leg)) report.legs[leg] = host->bridge.report(leg, now_us_);
    return report;
}

std::vector<SharedPortReport> Worker::shared_ports() const {
    std::vector<SharedPortReport> reports;
    for (const auto& port : shared_) {
        reports.push_back(port->counts);
        reports.back().legs = static_cast<std::uint32_t>(port->demux.size());
    }
    return reports;
}

std::optional<LegReport> Worker::close_leg(const Uuid& id, unsigned leg) {
    auto* host = find(id);
    if (!host || !host->bridge.has_leg(leg)) return std::nullopt;
    auto report = host->bridge.report(leg, now_us_);
    host->bridge.close_leg(leg, now_us_);
    close_line(*host, leg);
    schedule(*host);
    tell_events(*host);
    return report;
}

void Worker::close_bridge(const Uuid& id) {
    if (auto* host = find(id)) {
        unschedule(*host);
        say_goodbye(*host);
        for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++) close_line(*host, leg);
        leave_turns(*host);
    }
    hosts_.erase(id);
}

Bridge* Worker::bridge(const Uuid& id) {
    auto* host = find(id);
    return host ? &host->bridge : nullptr;
}

void Worker::schedule(const Uuid& id) {
    auto* host = find(id);
    if (!host) return;
    tell_events(*host);
    schedule(*host);
}

void Worker::send(const Uuid& id, const Forward& forward) {
    auto* host = find(id);
    if (!host) return;
    send(*host, forward);
    flush();
}

Worker::Host* Worker::find(const Uuid& id) const {
    auto found = hosts_.find(id);
    return found == hosts_.end() ? nullptr : found->second.get();
}

Worker::Line& Worker::line(Host& host, unsigned leg) {
    if (!host.lines[leg]) host.lines[leg] = std::make_unique<Line>();
    return *host.lines[leg];
}

void Worker::listen(Host& host, unsigned leg, PortPair pair) {
    auto& line = this->line(host, leg);
    std::array<Fd, 2> fds{std::move(pair.rtp), std::move(pair.rtcp)};
    for (std::size_t c = 0; c < fds.size(); c++) {
        auto& port = line.own[c];
        port.fd = std::move(fds[c]);
        port.host = &host;
        port.leg = leg;
        port.channel = static_cast<Channel>(c);
        watch(port);
    }
}

void Worker::close_line(Host& host, unsigned leg) {
    if (auto line = std::move(host.lines[leg])) leave_shared(*line);
}

void Worker::leave_shared(Line& line) {
    if (!line.shared) return;
    line.shared->demux.remove(line.seat);
    line.shared->places[line.seat] = {};
    line.shared = nullptr;
    line.seat = kNoSeat;
}

}  // namespace hushwire::io
