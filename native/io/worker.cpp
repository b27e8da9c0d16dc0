#include "io/worker.hpp"

#include <openssl/rand.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <ctime>
#include <stdexcept>
#include <utility>

#include "io/clock.hpp"

namespace hushwire::io {
namespace {

constexpr int kMaxEvents = 512;
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
        // What was left in a socket is late already: with a sleep before each further read, a worker that was
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
/// 1,200 calls bring in a tick; what is more waits in the socket until all others were served, so that a
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
    }
    if (total == kRounds * Batch::kRead) is_behind_ = true;
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

/// What came of a packet or of time passing: events, and perhaps something to be made by the clock.
void Worker::follow_up(Host& host) {
    tell_events(host);
    if (host.slot < 0 && host.bridge.due_us() != kNever) schedule(host);
}

void Worker::tell_events(Host& host) {
    while (auto event = host.bridge.take_event()) sink_(host.id, *event);
}

}  // namespace hushwire::io
