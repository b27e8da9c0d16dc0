#include "io/worker.hpp"

#include <openssl/rand.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <stdexcept>
#include <utility>

#include "io/clock.hpp"

namespace hushwire::io {
namespace {

constexpr int kMaxEvents = 512;
constexpr std::int64_t kSweepUs = Recorder::kTurnUs;
constexpr unsigned kQuietTicks = 8;
constexpr std::uint64_t kIsShared = 1;  // in the data of an epoll event: a pointer's lowest bit is free

std::uint32_t random_u32() {
    std::uint32_t value = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&value), sizeof value) != 1)
        throw std::runtime_error("no randomness");
    return value;
}

std::uint64_t random_u64() {
    return std::uint64_t{random_u32()} << 32 | random_u32();
}

/// RFC 7983: STUN begins with 0 to 3.
bool is_stun(ConstBytes packet) {
    return !packet.empty() && std::to_integer<unsigned>(packet[0]) < 4;
}

/// 0 where the packet is not RTP.
std::uint32_t ssrc_of(ConstBytes packet) {
    bool is_rtp = packet.size() >= rtp::kFixedHeader && (std::to_integer<unsigned>(packet[0]) & 0xc0) == 0x80
                  && !rtp::looks_like_rtcp(packet);
    return is_rtp ? load_be32(packet.data() + 8) : 0;
}

void sleep_us(std::int64_t us) {
    timespec t{us / 1'000'000, us % 1'000'000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr);
}

}  // namespace

Worker::Host::Host(const Uuid& bridge_id, Mode mode, const DtlsReceiver& receiver)
    : id(bridge_id), bridge(mode, random_u32, unix_us() - monotonic_us()), dtls_receiver(receiver) {
    bridge.set_dtls_sink(this);
}

Worker::Worker(std::int64_t tick_us, bool is_v6, std::vector<Fd> shared, ChunkExchange& exchange,
               LegEventSink sink, DtlsReceiver dtls_receiver)
    : tick_(tick_us),
      is_v6_(is_v6),
      exchange_(exchange),
      sink_(std::move(sink)),
      dtls_receiver_(std::move(dtls_receiver)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      batch_(std::make_unique<Batch>()) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;  // the mailbox
    if (!epoll_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, mailbox_.fd(), &event) != 0)
        throw std::runtime_error("epoll failed");
    for (auto& fd : shared) {
        shared_.push_back(std::make_unique<Shared>(std::move(fd), HashKey(random_u64(), random_u64())));
        watch(*shared_.back(), true);
    }
    thread_ = std::thread([this] { run(); });
}

Worker::~Worker() {
    post([this] { is_stopping_ = true; });
    thread_.join();
}

void Worker::run() {
    prctl(PR_SET_NAME, "media-worker");
    prctl(PR_SET_TIMERSLACK, 1000UL);  // ns; the default of 50 us would lengthen each tick
    bool is_busy = false;
    while (!is_stopping_) {
        int idle_ms = hosts_.empty() ? -1 : static_cast<int>(kSweepUs / 1000);
        is_busy = serve(is_busy ? 0 : idle_ms);
        if (has_tasks_) {
            has_tasks_ = false;
            now_us_ = monotonic_us();
            mailbox_.run_all();
        }
        if (scheduled_) {
            serve_due();
            is_busy = true;
        }
        sweep();
        tick_.note(std::exchange(packets_, 0), now_us_);
        // What was left in a socket is late already: with a sleep before each 512 of them, a worker that was
        // held up once would stay behind for as long again, or for good where its core has little to spare.
        if (std::exchange(is_behind_, false)) continue;
        if (is_busy && !is_stopping_) sleep_us(tick_.us());
    }
}

/// Serves every socket that has something; true where any had, or will be looked at on the next tick anyway.
bool Worker::serve(int timeout_ms) {
    std::array<epoll_event, kMaxEvents> events;
    bool is_busy = false;
    for (;;) {
        int count = epoll_wait(epoll_.get(), events.data(), kMaxEvents, timeout_ms);
        now_us_ = monotonic_us();
        for (int i = 0; i < count; i++) {
            auto data = events[static_cast<std::size_t>(i)].data.u64;
            if (!data) {
                has_tasks_ = true;
                continue;
            }
            is_busy = true;
            if (!(data & kIsShared))
                drain(*reinterpret_cast<Port*>(data));
            else
                drain(*reinterpret_cast<Shared*>(data & ~kIsShared));
        }
        if (count < kMaxEvents || has_tasks_) break;
        timeout_ms = 0;
    }
    for (auto& port : shared_) {
        if (port->is_watched) continue;
        is_busy = true;
        port->quiet_ticks = drain(*port) ? 0 : port->quiet_ticks + 1;
        if (port->quiet_ticks >= kQuietTicks) watch(*port, true);
    }
    flush();
    return is_busy;
}

/// At most one batch per socket and tick, so that a flood at one port does not delay the others. A voice
/// party sends a packet each 20 ms, and one recvfrom is cheaper than recvmmsg for one; only a socket that is
/// ready again shortly after (late packets all at once, or a flood) is read in batches.
void Worker::drain(Port& port) {
    constexpr std::int64_t kBurstUs = 5000;
    bool is_bursting = now_us_ - port.served_us < kBurstUs;
    port.served_us = now_us_;
    if (!batch_->has_room(kOwnRead)) flush();
    auto [first, count] = batch_->read(port.fd.get(), is_bursting ? kOwnRead : 1);
    packets_ += count;
    auto& host = *port.host;
    for (unsigned i = first; i < first + count; i++)
        if (auto forward = host.bridge.receive(port.leg, port.channel, batch_->from(i), batch_->data(i),
                                               batch_->length(i), now_us_))
            send(host, *forward);
    follow_up(host);
}

/// Whole batches over all legs of the port; returns how many packets came. Eight batches are four times what
/// 1,200 calls bring in a tick; what is more waits in the socket until all others had their turn, so that a
/// flood here delays them little.
unsigned Worker::drain(Shared& port) {
    constexpr unsigned kRounds = 8, kManyPackets = 4;
    unsigned total = 0;
    for (unsigned round = 0; round < kRounds; round++) {
        if (!batch_->has_room(Batch::kRead)) flush();
        auto [first, count] = batch_->read(port.fd.get(), Batch::kRead);
        total += count;
        take(port, first, count);
        if (count < Batch::kRead) break;
        is_behind_ |= round + 1 == kRounds;
    }
    port.counts.packets += total;
    packets_ += total;
    if (total >= kManyPackets) watch(port, false);
    return total;
}

/// The packets of a batch one after the other, and on the way ahead of each the memory that it will need.
void Worker::take(Shared& port, unsigned first, unsigned count) {
    constexpr unsigned kStep = 3, kLegs = kStep, kSender = 2 * kStep, kTake = 3 * kStep;
    std::array<Address, Batch::kRead> from;
    std::array<Seat, Batch::kRead> seats;
    for (unsigned i = 0; i < count; i++) port.demux.fetch(from[i] = batch_->from(first + i));
    for (unsigned i = 0; i < count; i++) port.fetch_place(seats[i] = port.demux.find(from[i]));
    for (unsigned i = 0; i < count + kTake; i++) {
        if (i < count) port.fetch_host(seats[i]);
        if (i >= kLegs && i - kLegs < count) port.fetch_legs(seats[i - kLegs]);
        if (i >= kSender && i - kSender < count) port.fetch_sender(seats[i - kSender]);
        if (i >= kTake) take(port, first + i - kTake, from[i - kTake], seats[i - kTake]);
    }
}

/// One packet of the batch, and the seat that its address had when the batch was read.
void Worker::take(Shared& port, unsigned at, const Address& from, Seat seat) {
    auto packet = batch_->data(at).first(batch_->length(at));
    auto ssrc = ssrc_of(packet);                        // before it is changed
    if (seat == kNoSeat) seat = port.demux.find(from);  // known by now, perhaps
    bool is_known = seat != kNoSeat;
    if (!is_known) seat = find_stranger(port, from, packet, kNoSeat);
    if (seat == kNoSeat) return;
    auto* place = &port.places[seat];
    auto give = [&] {
        return place->host->bridge.receive(place->leg, Channel::rtp, from, batch_->data(at), packet.size(),
                                           now_us_);
    };
    const auto* counters = &place->host->bridge.leg(place->leg).counters;
    auto failures = counters->dropped_tag;
    auto forward = give();
    if (is_known && counters->dropped_tag != failures) {
        // The address may be another leg's by now: phones use their ports again.
        seat = find_stranger(port, from, packet, seat);
        if (seat == kNoSeat) return;
        is_known = false;
        place = &port.places[seat];
        forward = give();
    }
    if (!is_known || ssrc != place->ssrc) note_proof(port, seat, from, ssrc);
    if (forward) send(*place->host, *forward);
    follow_up(*place->host);
}

/// Whose packet this may be, though its address says nothing (or the leg `tried` that it points to has
/// refused it). The price of finding that out is limited for each source and for all of them.
Seat Worker::find_stranger(Shared& port, const Address& from, ConstBytes packet, Seat tried) {
    auto& counts = port.counts;
    auto nobody = [&](std::uint64_t& counter) {
        if (tried == kNoSeat) counter++;  // else the leg has counted it
        return kNoSeat;
    };
    if (is_stun(packet)) {
        auto name = tried == kNoSeat ? stun_name(packet) : std::nullopt;
        auto seat = name ? port.demux.named(*name) : kNoSeat;
        return seat == kNoSeat ? nobody(counts.strangers) : seat;
    }
    auto header = rtp::looks_like_rtcp(packet) ? std::nullopt : rtp::parse(packet);
    if (!header) return nobody(counts.strangers);
    auto candidates = port.demux.candidates(from, header->ssrc, tried);
    if (!candidates.count) return nobody(counts.strangers);
    if (!port.strangers.has(from, now_us_) || !port.all_strangers.has(now_us_, Shared::kAllStrangers))
        return nobody(counts.over_budget);
    for (auto seat : candidates) {
        const auto& place = port.places[seat];
        std::copy(packet.begin(), packet.end(), trial_.begin());
        if (place.host->bridge.leg(place.leg).proves(*header, std::span(trial_).first(packet.size())))
            return seat;
    }
    port.strangers.charge(from, now_us_, candidates.count);
    port.all_strangers.charge(now_us_, Shared::kAllStrangers, candidates.count);
    return nobody(counts.unproven);
}

/// The leg took something from a new address or under a new SSRC: where that proves anything, it is found by
/// them from now on.
void Worker::note_proof(Shared& port, Seat seat, const Address& from, std::uint32_t ssrc) {
    constexpr std::int64_t kSilentUs = 1'000'000;
    auto& place = port.places[seat];
    const auto& leg = place.host->bridge.leg(place.leg);
    if (!leg.is_known_at(from, now_us_)) return;
    if (ssrc) {
        place.ssrc = ssrc;
        port.demux.note_ssrc(seat, ssrc);
    }
    auto holder = port.demux.find(from);
    bool is_free = holder == kNoSeat || holder == seat;
    if (!is_free) {
        const auto& other = port.places[holder];
        is_free = now_us_ - other.host->bridge.leg(other.leg).last_media_us() > kSilentUs;
    }
    if (port.demux.settle(seat, from, is_free)) return;
    auto& line = *place.host->lines[place.leg];
    if (!std::exchange(line.is_told_ambiguous, true))
        sink_(place.host->id, {LegEvent::Kind::ambiguous, place.leg, {}});
}

void Worker::send(Host& host, const Forward& forward) {
    auto& line = *host.lines[forward.leg];
    if (line.sends_shared) return line.shared->outbox.add(forward, is_v6_, host.bridge);
    SmallAddress to;
    auto length = to_socket(forward.to, is_v6_, to);
    auto fd = line.own[static_cast<std::size_t>(forward.channel)].fd.get();
    if (::sendto(fd, forward.data.data(), forward.data.size(), MSG_DONTWAIT, &to.any, length) < 0)
        host.bridge.unsent(forward.leg);
}

/// Sends what waits for shared ports; all places of the batch are free then.
void Worker::flush() {
    for (auto& port : shared_)
        if (!port->outbox.is_empty()) port->outbox.send(port->fd.get());
    batch_->clear();
}

/// A watched shared port wakes the thread. At load it need not: the kernel then saves the wake-up's work on
/// every packet.
void Worker::watch(Shared& port, bool is_watched) {
    if (std::exchange(port.is_watched, is_watched) == is_watched) return;
    port.quiet_ticks = 0;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = reinterpret_cast<std::uint64_t>(&port) | kIsShared;
    epoll_ctl(epoll_.get(), is_watched ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, port.fd.get(), &event);
}

void Worker::watch(Port& port) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = reinterpret_cast<std::uint64_t>(&port);
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, port.fd.get(), &event);
}

void Worker::schedule(Host& host) {
    unschedule(host);
    auto due_us = host.bridge.due_us();
    if (due_us == kNever) return;
    auto now_ms = now_us_ / 1000;
    if (!scheduled_) wheel_ms_ = now_ms;
    // Never into the slot that is being served, and the last one but one round is far enough.
    auto at_ms = std::clamp((due_us + 999) / 1000, wheel_ms_ + 1, wheel_ms_ + kSlots - 1);
    host.slot = static_cast<int>(at_ms % kSlots);
    wheel_[static_cast<std::size_t>(host.slot)].push_back(&host);
    scheduled_++;
}

void Worker::unschedule(Host& host) {
    if (host.slot < 0) return;
    auto& slot = wheel_[static_cast<std::size_t>(host.slot)];
    *std::find(slot.begin(), slot.end(), &host) = slot.back();
    slot.pop_back();
    host.slot = -1;
    scheduled_--;
}

/// Sends what bridges make by the clock: prompts and mixes.
void Worker::serve_due() {
    auto now_ms = now_us_ / 1000;
    wheel_ms_ = std::max(wheel_ms_, now_ms - kSlots + 1);  // after a long stop each slot is served once
    while (wheel_ms_ < now_ms) {
        wheel_ms_++;
        due_.swap(wheel_[static_cast<std::size_t>(wheel_ms_ % kSlots)]);
        scheduled_ -= due_.size();
        for (auto* host : due_) host->slot = -1;
        for (auto* host : due_) {
            for (;;) {
                if (!batch_->has_room(1)) flush();
                auto forward = host->bridge.produce(now_us_, batch_->take());
                if (!forward) break;
                send(*host, *forward);
            }
            batch_->give_back();
            tell_events(*host);
            schedule(*host);
        }
        due_.clear();
    }
    flush();
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

/// What came of a packet or of time passing: events, and perhaps something to be made by the clock.
void Worker::follow_up(Host& host) {
    tell_events(host);
    if (host.slot < 0 && host.bridge.due_us() != kNever) schedule(host);
}

void Worker::tell_events(Host& host) {
    while (auto event = host.bridge.take_event()) sink_(host.id, *event);
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

/// Every bridge has its turn ten times a second, a few on each tick: all at once would hold up packets.
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

Worker::Host* Worker::find(const Uuid& id) const {
    auto found = hosts_.find(id);
    return found == hosts_.end() ? nullptr : found->second.get();
}

void Worker::open_bridge(const Uuid& id, Mode mode) {
    auto& host = hosts_[id];
    host = std::make_unique<Host>(id, mode, dtls_receiver_);
    host->turn = turns_.size();
    turns_.push_back(host.get());
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

void Worker::close_line(Host& host, unsigned leg) {
    auto line = std::move(host.lines[leg]);
    if (!line || !line->shared) return;
    line->shared->demux.remove(line->seat);
    line->shared->places[line->seat] = {};
}

std::vector<SharedPortReport> Worker::shared_ports() const {
    std::vector<SharedPortReport> reports;
    for (const auto& port : shared_) {
        reports.push_back(port->counts);
        reports.back().legs = static_cast<std::uint32_t>(port->demux.size());
    }
    return reports;
}

std::uint32_t Worker::ssrc(const Uuid& id, unsigned leg) const {
    auto* host = find(id);
    return host ? host->bridge.ssrc(leg) : 0;
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

std::optional<BridgeReport> Worker::report(const Uuid& id, bool is_last) {
    auto* host = find(id);
    if (!host) return std::nullopt;
    if (is_last) host->bridge.assess(now_us_);
    BridgeReport report{.mode = host->bridge.mode(), .legs = {}};
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++)
        if (host->bridge.has_leg(leg)) report.legs[leg] = host->bridge.report(leg, now_us_);
    return report;
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
    if (!moving || (moving->shared && moving->sends_shared)) return nullptr;
    flush();               // what waits to be sent names the bridge and the sockets
    if (moving->shared) {  // its party was told of its own pair: the place on the shared port is over
        moving->shared->demux.remove(moving->seat);
        moving->shared->places[moving->seat] = {};
        moving->shared = nullptr;
        moving->seat = kNoSeat;
    }
    auto passage = std::make_shared<Passage>();
    passage->line = std::move(source->lines[leg]);
    for (auto& port : passage->line->own)
        if (port.fd.get() >= 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, port.fd.get(), nullptr);
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
        if (port.fd.get() >= 0) watch(port);
    }
    tell_events(*target);
    schedule(*target);
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

void Worker::close_bridge(const Uuid& id) {
    if (auto* host = find(id)) {
        unschedule(*host);
        say_goodbye(*host);
        for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++) close_line(*host, leg);
        leave_turns(*host);
    }
    hosts_.erase(id);
}

void Worker::start_recorder(const Uuid& id, RecordingId recording, std::int64_t start_us) {
    auto* host = find(id);
    if (!host) return;
    host->recorder = std::make_unique<Recorder>(recording, exchange_, start_us);
    host->bridge.set_tap(host->recorder.get());
    if (host->bridge.is_sensitive()) host->recorder->pause(Recorder::Pause::sensitive, now_us_);
}

RecorderEnd Worker::switch_recorder(const Uuid& id, std::int64_t old_start_us, RecordingId next,
                                    std::int64_t next_start_us) {
    auto* old = recorder(id);
    bool was_paused = old && old->is_paused(Recorder::Pause::asked);
    auto end = end_recorder(id, old_start_us);
    start_recorder(id, next, next_start_us);
    if (auto* fresh = recorder(id); fresh && was_paused) fresh->pause(Recorder::Pause::asked, now_us_);
    return end;
}

Recorder* Worker::recorder(const Uuid& id) {
    auto* host = find(id);
    return host ? host->recorder.get() : nullptr;
}

RecorderEnd Worker::end_recorder(const Uuid& id, std::int64_t start_us) {
    RecorderEnd end{static_cast<std::uint32_t>((now_us_ - start_us) / 100), 0};
    auto* host = find(id);
    if (!host || !host->recorder) return end;
    host->recorder->flush();
    end.gaps = host->recorder->gaps();
    host->bridge.set_tap(nullptr);
    host->recorder.reset();
    return end;
}

}  // namespace hushwire::io
