// Carries out the controller's requests on the workers and the writer, keeps the register of bridges, and the
// rule of epochs. Control thread only; workers and writer answer through the mailbox.
#pragma once
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "control/events.hpp"
#include "control/leg_fields.hpp"
#include "control/sounds.hpp"
#include "control/stated_leg.hpp"
#include "io/mailbox.hpp"
#include "io/ports.hpp"
#include "io/worker.hpp"
#include "io/writer.hpp"

namespace hushwire::control {

using ConnectionId = std::uint64_t;

/// Where replies and events go; connections that are gone swallow them.
class Outlet {
  public:
    virtual ~Outlet() = default;
    virtual void send(ConnectionId to, const std::vector<std::byte>& frame) = 0;
    /// What may get lost: sent unless the connection has much to read already.
    virtual void offer(ConnectionId to, const std::vector<std::byte>& frame) = 0;
    virtual void close(ConnectionId connection) = 0;
};

/// A frame that may hold keys: wiped when done with.
struct Request {
    Request(ConnectionId from, Header head, ConstBytes frame)
        : connection(from), header(head), bytes(frame.begin(), frame.end()) {}
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;
    ~Request() { OPENSSL_cleanse(bytes.data(), bytes.size()); }
    ConnectionId connection;
    Header header;
    std::vector<std::byte> bytes;
};

struct ControllerOptions {
    Ip local_ip;         ///< what SDP shall say
    bool is_v6 = false;  ///< what the media sockets speak
    std::int64_t orphan_timeout_us = 60'000'000;
    Allowance leg_allowance{400, 200};  ///< packets taken from one party
};

class Controller {
  public:
    Controller(const ControllerOptions& options, Outlet& outlet, io::Mailbox& mailbox, io::PortPool& ports,
               std::vector<io::Worker*> workers, io::Writer& writer, std::int64_t now_us);

    void handle(ConnectionId from, const Header& header, ConstBytes frame);
    void disconnected(ConnectionId connection, std::int64_t now_us);
    void leg_event(const Uuid& bridge, const LegEvent& event);
    void dtls_datagram(const Uuid& bridge, unsigned leg, ConstBytes datagram);
    void recording_failed(io::RecordingId id, io::RecordingResult result);
    /// Ends what no controller looks after any more.
    void tick(std::int64_t now_us);
    /// Closes all bridges; done when `is_empty`.
    void stop();
    bool is_controller(ConnectionId connection) const { return connection == controller_; }
    bool is_empty() const { return bridges_.empty(); }

  private:
    static constexpr std::size_t kMaxBridges = 20'000;
    static constexpr std::size_t kMaxWaiting = 1024;  // requests of one bridge behind its disk
    enum class Reason : std::uint8_t { asked_for = 1, no_controller = 2, program_ends = 3 };

    struct Recording {
        io::RecordingId id = 0;
        hwr::Identity identity;
        std::int64_t start_us = 0;
        std::string file;
        bool is_paused = false, is_failed = false;
    };
    struct LegEntry {
        std::uint16_t rtp_port = 0;  ///< what SDP says
        std::uint16_t own_port = 0;  ///< to be given back; 0 where the leg is on a shared port
        std::optional<StatedLeg> stated;
    };
    struct BridgeEntry {
        Uuid id{};
        Mode mode = Mode::relay;
        std::size_t worker = 0;
        std::array<std::optional<LegEntry>, Bridge::kMaxLegs> legs;
        std::optional<Recording> recording;
        std::optional<Recording> ending;  // the segment before, until the disk has it
        bool is_busy = false;             // an operation waits for the disk; further requests wait for it
        std::deque<std::shared_ptr<Request>> waiting;
    };
    using Outcome = std::optional<Refusal>;  // nothing: answered, or to be answered later

    Outcome dispatch(const std::shared_ptr<Request>& request, const Fields& fields, Op op);
    Outcome hello(const Request& request, const Fields& fields);
    Outcome open_bridge(const Request& request, const Fields& fields);
    Outcome list_bridges(const Request& request, const Fields& fields);
    Outcome on_bridge(const std::shared_ptr<Request>& request, const Fields& fields, Op op);
    Outcome open_leg(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome open_shared_leg(const Request& request, BridgeEntry& bridge, unsigned leg,
                            const io::SharedWish& wish);
    Outcome open_own_leg(ConnectionId to, const Header& header, BridgeEntry& bridge, unsigned leg);
    Outcome reopen_leg(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome get_ports(const Request& request);
    FrameWriter leg_reply(const Header& header, unsigned leg, std::uint16_t rtp, std::uint16_t rtcp) const;
    Outcome set_leg(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome get_bridge(const Request& request, BridgeEntry& bridge);
    Outcome start_recording(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome switch_recording(const Request& request, const Fields& fields, BridgeEntry& bridge);
    std::variant<std::shared_ptr<io::RecordingOrder>, Refusal> recording_order(const Fields& fields);
    /// Called once the file exists.
    using RecordingBegun = std::function<void(BridgeEntry& bridge, const Recording& recording,
                                              ConnectionId to, const Header& header)>;
    Outcome open_recording(const Request& request, const Fields& fields, BridgeEntry& bridge,
                           RecordingBegun begun);
    void reply_ended(ConnectionId to, const Header& header, const io::RecordingResult& result);
    void drop_failed(BridgeEntry& bridge);
    Outcome mark_recording(const Request& request, const Fields& fields, BridgeEntry& bridge, Op op);
    Outcome send_digits(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome detect_tones(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome detect_speech(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome set_sensitive(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome stop_recording(const Request& request, BridgeEntry& bridge);
    Outcome send_dtls(const std::shared_ptr<Request>& request, const Fields& fields, BridgeEntry& bridge);
    // ops_hearing.cpp
    Outcome set_hears(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome close_leg(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome set_recorded(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome move_leg(const std::shared_ptr<Request>& request, const Fields& fields, BridgeEntry& bridge);
    Outcome is_beside(const Request& request, const Fields& fields, const BridgeEntry& bridge);
    void move_far(const Request& request, BridgeEntry& bridge, unsigned leg, BridgeEntry& to,
                  unsigned to_leg);
    // ops_sounds.cpp
    Outcome load_sound(const Request& request, const Fields& fields);
    Outcome play(const Request& request, const Fields& fields, BridgeEntry& bridge);
    Outcome stop_play(const Request& request, const Fields& fields, BridgeEntry& bridge);
    void close_bridge(ConnectionId from, const Header& header, BridgeEntry& bridge, Reason reason);
    void close_all(Reason reason);
    void finish_close(const Uuid& id, ConnectionId from, const Header& header, Reason reason,
                      const io::BridgeReport& report, const io::RecordingResult* result);
    void end_recording(const Uuid& bridge, const Recording& recording, const io::RecorderEnd& end,
                       std::function<void(const io::RecordingResult&)> then);
    void now_idle(const Uuid& id);
    /// Runs `work` in the bridge's worker, and replies with the fields that it adds; a Refusal that it
    /// returns is the reply instead.
    using BridgeWork = std::function<Outcome(io::Worker& worker, Bridge& bridge, FrameWriter& reply)>;
    Outcome on_worker(const Request& request, BridgeEntry& bridge, BridgeWork work);
    void describe(FrameWriter& out, const BridgeEntry& bridge) const;

    BridgeEntry* find(const Uuid& id);
    io::Worker& worker(const BridgeEntry& bridge) { return *workers_[bridge.worker]; }
    FrameWriter ok(const Header& header) const;
    void reply(ConnectionId to, FrameWriter frame) { outlet_.send(to, std::move(frame).finish()); }
    void tell(EventType type, const std::function<void(FrameWriter&)>& fields);
    /// An event that is neither kept nor acknowledged.
    void tell_transient(EventType type, const std::function<void(FrameWriter&)>& fields);

    ControllerOptions options_;
    Outlet& outlet_;
    io::Mailbox& mailbox_;
    io::PortPool& ports_;
    std::vector<io::Worker*> workers_;
    std::vector<std::size_t> load_;
    io::Writer& writer_;
    Uuid instance_{};
    std::map<Uuid, BridgeEntry> bridges_;
    EventLog events_;
    Sounds sounds_;
    io::RecordingId next_recording_ = 1;
    std::uint64_t highest_epoch_ = 0;
    ConnectionId controller_ = 0;
    std::int64_t heard_us_;  ///< when a controller last asked for something, or went
    std::optional<Reason> closing_all_;
    bool is_stopping_ = false;
};

}  // namespace hushwire::control
