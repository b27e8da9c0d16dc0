#include "io/worker.hpp"

#include <openssl/rand.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <stdexcept>

#include "io/clock.hpp"

namespace hushwire::io {
namespace {

constexpr int kMaxEvents = 512;
constexpr std::int64_t kSweepUs = 50'000;

std::uint32_t random_u32() {
    std::uint32_t value = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&value), sizeof value) != 1)
        throw std::runtime_error("no randomness");
    return value;
}

void sleep_us(std::int64_t us) {
    timespec t{us / 1'000'000, us % 1'000'000 * 1000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &t, nullptr);
}

}  // namespace

/// Packets of one reading of a socket, and what is to be sent of them.
struct Worker::Buffers {
    alignas(64) std::array<std::array<std::byte, Bridge::kBuffer>, kBatch> data;
    std::array<SocketAddress, kBatch> from, to;
    std::array<iovec, kBatch> in_vector{}, out_vector{};
    std::array<mmsghdr, kBatch> in{}, out{};
    std::array<Port*, kBatch> out_port{};
    unsigned out_count = 0;

    Buffers() {
        for (unsigned i = 0; i < kBatch; i++) {
            in_vector[i] = {data[i].data(), data[i].size()};
            in[i].msg_hdr = {};
            in[i].msg_hdr.msg_iov = &in_vector[i];
            in[i].msg_hdr.msg_iovlen = 1;
            in[i].msg_hdr.msg_name = &from[i].storage;
            out[i].msg_hdr.msg_iov = &out_vector[i];
            out[i].msg_hdr.msg_iovlen = 1;
            out[i].msg_hdr.msg_name = &to[i].storage;
        }
    }

    void add(Port& port, const Forward& forward, bool is_v6) {
        auto i = out_count++;
        out_port[i] = &port;
        out_vector[i] = {forward.data.data(), forward.data.size()};
        to_socket(forward.to, is_v6, to[i]);
        out[i].msg_hdr.msg_namelen = to[i].length;
    }

    /// One system call for each run of packets that leave by the same socket.
    void send() {
        for (unsigned begin = 0; begin < out_count;) {
            auto* port = out_port[begin];
            unsigned end = begin + 1;
            while (end < out_count && out_port[end] == port) end++;
            if (end - begin == 1) {
                const auto& v = out_vector[begin];
                if (::sendto(port->fd.get(), v.iov_base, v.iov_len, MSG_DONTWAIT,
                             reinterpret_cast<const sockaddr*>(&to[begin].storage), to[begin].length)
                    < 0)
                    port->host->bridge.unsent(port->leg);
                begin = end;
                continue;
            }
            auto sent = ::sendmmsg(port->fd.get(), &out[begin], end - begin, MSG_DONTWAIT);
            if (sent <= 0) {
                port->host->bridge.unsent(port->leg);
                sent = 1;
            }
            begin += static_cast<unsigned>(sent);
        }
        out_count = 0;
    }
};

Worker::Host::Host(const Uuid& bridge_id, Mode mode, const DtlsReceiver& receiver)
    : id(bridge_id), bridge(mode, random_u32), dtls_receiver(receiver) {
    bridge.set_dtls_sink(this);
}

Worker::Worker(std::int64_t tick_us, bool is_v6, ChunkExchange& exchange, LegEventSink sink,
               DtlsReceiver dtls_receiver)
    : tick_us_(tick_us),
      is_v6_(is_v6),
      exchange_(exchange),
      sink_(std::move(sink)),
      dtls_receiver_(std::move(dtls_receiver)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      buffers_(std::make_unique<Buffers>()) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;  // the mailbox
    if (!epoll_ || epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, mailbox_.fd(), &event) != 0)
        throw std::runtime_error("epoll failed");
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
        if (now_us_ >= next_sweep_us_) sweep();
        if (is_busy && !is_stopping_) sleep_us(tick_us_);
    }
}

/// Serves every socket that is ready; true where any was.
bool Worker::serve(int timeout_ms) {
    std::array<epoll_event, kMaxEvents> events;
    bool had_packets = false;
    for (;;) {
        int count = epoll_wait(epoll_.get(), events.data(), kMaxEvents, timeout_ms);
        now_us_ = monotonic_us();
        for (int i = 0; i < count; i++) {
            auto* port = static_cast<Port*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (!port) {
                has_tasks_ = true;
                continue;
            }
            had_packets = true;
            drain(*port);
        }
        if (count < kMaxEvents || has_tasks_) return had_packets;
        timeout_ms = 0;
    }
}

/// At most one batch per socket and tick, so that a flood at one port does not delay the others.
void Worker::drain(Port& port) {
    auto count = read(port);
    auto& b = *buffers_;
    auto& host = *port.host;
    for (unsigned i = 0; i < count; i++) {
        auto forward = host.bridge.receive(port.leg, port.channel, from_socket(b.from[i].storage), b.data[i],
                                           b.in[i].msg_len, now_us_);
        if (forward)
            b.add(host.ports[forward->leg][static_cast<std::size_t>(forward->channel)], *forward, is_v6_);
    }
    if (b.out_count) b.send();
    tell_events(host);
}

/// A voice party sends a packet each 20 ms, and one recvfrom is cheaper than recvmmsg for one; only a socket
/// that is ready again shortly after (late packets all at once, or a flood) is read in batches.
unsigned Worker::read(Port& port) {
    constexpr std::int64_t kBurstUs = 5000;
    bool is_bursting = now_us_ - port.served_us < kBurstUs;
    port.served_us = now_us_;
    auto& b = *buffers_;
    if (is_bursting) {
        for (auto& m : b.in) m.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
        auto count = ::recvmmsg(port.fd.get(), b.in.data(), kBatch, MSG_DONTWAIT, nullptr);
        return count > 0 ? static_cast<unsigned>(count) : 0;
    }
    b.from[0].length = sizeof(sockaddr_storage);
    auto got = ::recvfrom(port.fd.get(), b.data[0].data(), b.data[0].size(), MSG_DONTWAIT,
                          reinterpret_cast<sockaddr*>(&b.from[0].storage), &b.from[0].length);
    if (got < 0) return 0;
    b.in[0].msg_len = static_cast<unsigned>(got);
    return 1;
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
    auto& b = *buffers_;
    auto now_ms = now_us_ / 1000;
    wheel_ms_ = std::max(wheel_ms_, now_ms - kSlots + 1);  // after a long stop each slot is served once
    while (wheel_ms_ < now_ms) {
        wheel_ms_++;
        due_.swap(wheel_[static_cast<std::size_t>(wheel_ms_ % kSlots)]);
        scheduled_ -= due_.size();
        for (auto* host : due_) host->slot = -1;
        for (auto* host : due_) {
            while (auto forward = host->bridge.produce(now_us_, b.data[b.out_count])) {
                b.add(host->ports[forward->leg][static_cast<std::size_t>(forward->channel)], *forward,
                      is_v6_);
                if (b.out_count == kBatch) b.send();
            }
            if (b.out_count) b.send();
            tell_events(*host);
            schedule(*host);
        }
        due_.clear();
    }
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
    buffers_->add(host->ports[forward.leg][static_cast<std::size_t>(forward.channel)], forward, is_v6_);
    buffers_->send();
}

void Worker::tell_events(Host& host) {
    while (auto event = host.bridge.take_event()) sink_(host.id, *event);
}

void Worker::sweep() {
    for (auto& [id, host] : hosts_) {
        host->bridge.tick(now_us_);
        tell_events(*host);
        if (host->recorder) host->recorder->flush_old(now_us_);
    }
    next_sweep_us_ = now_us_ + kSweepUs;
}

Worker::Host* Worker::find(const Uuid& id) const {
    auto found = hosts_.find(id);
    return found == hosts_.end() ? nullptr : found->second.get();
}

void Worker::open_bridge(const Uuid& id, Mode mode) {
    hosts_[id] = std::make_unique<Host>(id, mode, dtls_receiver_);
}

void Worker::open_leg(const Uuid& id, unsigned leg, PortPair pair) {
    auto* host = find(id);
    if (!host) return;
    host->bridge.open_leg(leg);
    std::array<Fd, 2> fds{std::move(pair.rtp), std::move(pair.rtcp)};
    for (std::size_t c = 0; c < fds.size(); c++) {
        auto& port = host->ports[leg][c];
        port.fd = std::move(fds[c]);
        port.host = host;
        port.leg = leg;
        port.channel = static_cast<Channel>(c);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.ptr = &port;
        epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, port.fd.get(), &event);
    }
}

std::uint32_t Worker::ssrc(const Uuid& id, unsigned leg) const {
    auto* host = find(id);
    return host ? host->bridge.ssrc(leg) : 0;
}

std::uint32_t Worker::set_leg(const Uuid& id, unsigned leg, const LegSettings& settings) {
    auto* host = find(id);
    return host ? host->bridge.set_leg(leg, settings, now_us_) : 0;
}

std::optional<BridgeReport> Worker::report(const Uuid& id) const {
    auto* host = find(id);
    if (!host) return std::nullopt;
    BridgeReport report{.mode = host->bridge.mode(), .legs = {}};
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++)
        if (host->bridge.has_leg(leg)) report.legs[leg] = host->bridge.report(leg, now_us_);
    return report;
}

void Worker::close_bridge(const Uuid& id) {
    if (auto* host = find(id)) unschedule(*host);
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
