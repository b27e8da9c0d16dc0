// A worker thread: owns its bridges and their sockets, and moves their packets. Nothing here is shared with
// another worker.
//
// Packets are collected on a short tick: while there is traffic the thread sleeps for 1 to 2.5 ms
// (io/tick.hpp) and then serves every socket that has something, which costs far fewer wake-ups than a
// wake-up per packet. Ports that many legs share are read and written in batches over all of their legs, and
// read on without a sleep where more waits than is read at once; a leg's own port costs a system call per
// packet.
#pragma once
#include <sys/socket.h>

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "core/bridge.hpp"
#include "io/batch.hpp"
#include "io/mailbox.hpp"
#include "io/ports.hpp"
#include "io/recorder.hpp"
#include "io/shared_port.hpp"
#include "io/tick.hpp"

namespace hushwire::io {

/// A leg's event, as the worker tells it. Called in the worker's thread.
using LegEventSink = std::function<void(const Uuid& bridge, const LegEvent& event)>;

/// A datagram of a leg's DTLS handshake. Called in the worker's thread.
using DtlsReceiver = std::function<void(const Uuid& bridge, unsigned leg, ConstBytes datagram)>;

struct BridgeReport {
    Mode mode = Mode::relay;
    std::array<std::optional<LegReport>, Bridge::kMaxLegs> legs;
};

/// How a recording left its bridge.
struct RecorderEnd {
    std::uint32_t end_100us = 0;
    std::uint64_t gaps = 0;
};

class Worker {
  public:
    /// `tick_us`: see Tick; `shared`: sockets that its legs may share.
    Worker(std::int64_t tick_us, bool is_v6, std::vector<Fd> shared, ChunkExchange& exchange,
           LegEventSink sink, DtlsReceiver dtls_receiver);
    ~Worker();

    /// Any thread: runs in the worker, in the order posted. A bridge that is not there makes the operations
    /// below do nothing.
    void post(Mailbox::Task task) { mailbox_.post(std::move(task)); }

    // The worker's thread only. Bridges and their legs (worker_bridges.cpp)
    void open_bridge(const Uuid& id, Mode mode);
    void open_leg(const Uuid& id, unsigned leg, PortPair ports);
    /// The shared port that the leg is on from now, or nothing where none has room for it (then it was not
    /// opened).
    std::optional<std::uint16_t> open_leg(const Uuid& id, unsigned leg, const SharedWish& wish);
    /// Gives a leg on a shared port a pair of its own. Both are listened to; the next SET_LEG moves what is
    /// sent to the new one.
    void reopen_leg(const Uuid& id, unsigned leg, PortPair ports);
    /// The SSRC; nothing, and nothing changed, where another leg of the shared port owns the announced
    /// address.
    std::optional<std::uint32_t> set_leg(const Uuid& id, unsigned leg, const LegSettings& settings);
    std::uint32_t ssrc(const Uuid& id, unsigned leg) const;
    /// `is_last`: the bridge is about to be closed, and what was not yet assessed is.
    std::optional<BridgeReport> report(const Uuid& id, bool is_last = false);
    std::vector<SharedPortReport> shared_ports() const;
    /// The leg's last report; its sockets are closed.
    std::optional<LegReport> close_leg(const Uuid& id, unsigned leg);
    void close_bridge(const Uuid& id);
    /// When the thread last looked at the clock.
    std::int64_t now_us() const { return now_us_; }
    /// For what concerns one bridge alone; null where it is not there. After a change of what it plays or
    /// mixes: `schedule`.
    Bridge* bridge(const Uuid& id);
    void schedule(const Uuid& id);
    /// Sends at once, beside what is relayed.
    void send(const Uuid& id, const Forward& forward);

    // Legs that change their bridge (worker_moves.cpp)
    /// Moves a leg, sockets and all, to another bridge of this worker, where its number is free.
    void move_leg(const Uuid& from, unsigned leg, const Uuid& to, unsigned to_leg);
    /// A leg with sockets of its own on its way to another worker's bridge.
    struct Passage;
    /// Null, and nothing changed, where it is on a shared port: that one is this worker's. One that was
    /// reopened and set anew since is on it no more.
    std::shared_ptr<Passage> take_out(const Uuid& from, unsigned leg);
    /// Where the number is free.
    void put_in(const Uuid& to, unsigned leg, Passage& passage);

    // Recorders (worker_recorders.cpp)
    void start_recorder(const Uuid& id, RecordingId recording, std::int64_t start_us);
    /// Ends one recorder and begins the next between two packets; what was paused stays so.
    RecorderEnd switch_recorder(const Uuid& id, std::int64_t old_start_us, RecordingId next,
                                std::int64_t next_start_us);
    RecorderEnd end_recorder(const Uuid& id, std::int64_t start_us);
    Recorder* recorder(const Uuid& id);

  private:
    struct Host;
    using Shared = SharedPort<Host>;
    struct Port {  ///< where input of one leg's own socket belongs
        Fd fd;
        Host* host = nullptr;
        unsigned leg = 0;
        Channel channel = Channel::rtp;
        std::int64_t served_us = 0;
    };
    struct alignas(kLine) Line {  ///< a leg's ways to the network
        Shared* shared = nullptr;
        Seat seat = kNoSeat;
        bool sends_shared = false;
        bool is_told = false;  // that it is unheard, since the last SET_LEG
        bool is_told_ambiguous = false;
        std::array<Port, 2> own;  // by channel
    };
    struct alignas(kLine) Host final : DtlsSink {
        Host(const Uuid& bridge_id, Mode mode, const DtlsReceiver& receiver);
        void dtls(unsigned leg, ConstBytes datagram) override { dtls_receiver(id, leg, datagram); }
        void fetch() const {
            prefetch(this, 64);
            bridge.fetch();
        }
        void fetch_legs(unsigned leg) const {
            bridge.fetch_legs(leg);
            for (unsigned i = 0; i < 2; i++) prefetch(lines[i].get());
            prefetch(recorder.get());
        }
        void fetch_sender(unsigned leg) const {
            bridge.fetch_sender(leg);
            if (recorder) recorder->fetch();
        }
        Uuid id;
        int slot = -1;         // of the wheel
        std::size_t turn = 0;  // among `turns_`
        std::unique_ptr<Recorder> recorder;
        std::array<std::unique_ptr<Line>, Bridge::kMaxLegs> lines;
        Bridge bridge;
        const DtlsReceiver& dtls_receiver;
    };
    static constexpr unsigned kOwnRead = 16;
    static constexpr std::int64_t kSweepUs = Recorder::kTurnUs;

    // worker.cpp: packets, and what bridges make by the clock. In one file, so that what a packet takes is
    // compiled together.
    void run();
    bool serve(int timeout_ms);
    void drain(Port& port);
    unsigned drain(Shared& port);
    void watch(Shared& port, bool is_watched);
    void watch(Port& port);
    void take(Shared& port, unsigned first, unsigned count);
    void take(Shared& port, unsigned at, const Address& from, Seat seat);
    Seat find_stranger(Shared& port, const Address& from, ConstBytes packet, Seat tried);
    void note_proof(Shared& port, Seat seat, const Address& from, std::uint32_t ssrc);
    void send(Host& host, const Forward& forward);
    void flush();
    void serve_due();
    void schedule(Host& host);
    void unschedule(Host& host);
    void follow_up(Host& host);
    void tell_events(Host& host);

    // worker_bridges.cpp
    Host* find(const Uuid& id) const;
    Line& line(Host& host, unsigned leg);
    void listen(Host& host, unsigned leg, PortPair pair);
    void close_line(Host& host, unsigned leg);
    static void leave_shared(Line& line);

    // worker_upkeep.cpp: turns
    void sweep();
    void sweep(Host& host);
    void look_for_unheard(Host& host);
    void send_reports(Host& host);
    void leave_turns(const Host& host);
    void say_goodbye(Host& host);

    Tick tick_;
    std::uint64_t packets_ = 0;  // since the last tick
    bool is_v6_;
    ChunkExchange& exchange_;
    LegEventSink sink_;
    DtlsReceiver dtls_receiver_;
    Fd epoll_;
    Mailbox mailbox_;
    std::map<Uuid, std::unique_ptr<Host>> hosts_;
    std::vector<Host*> turns_;  // all of them, in the order in which they are looked after
    std::size_t next_turn_ = 0;
    std::vector<std::unique_ptr<Shared>> shared_;
    std::unique_ptr<Batch> batch_;
    std::array<std::byte, Bridge::kBuffer> trial_;
    // Bridges that have something due by the clock, by the millisecond; what is further off waits in the last
    // slot.
    static constexpr int kSlots = 64;
    std::array<std::vector<Host*>, kSlots> wheel_;
    std::vector<Host*> due_;
    std::int64_t wheel_ms_ = 0;
    std::size_t scheduled_ = 0;
    std::int64_t now_us_ = 0, swept_until_us_ = 0;
    bool is_stopping_ = false, has_tasks_ = false;
    bool is_behind_ = false;  // a shared port had as much as is read of it at once, or more
    std::thread thread_;
};

}  // namespace hushwire::io
