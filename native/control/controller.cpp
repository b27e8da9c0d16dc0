#include "control/controller.hpp"

#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "io/clock.hpp"
#include "io/log.hpp"
#include "version.hpp"

namespace hushwire::control {
namespace {

Refusal refusal(Status status, std::string_view message) {
    return {status, message};
}

void put_reports(FrameWriter& out, const io::BridgeReport& report,
                 const std::array<std::uint16_t, Bridge::kMaxLegs>& ports) {
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++)
        if (report.legs[leg]) out.put(Tag::leg_stats, leg_stats(leg, ports[leg], *report.legs[leg]));
}

}  // namespace

Controller::Controller(const ControllerOptions& options, Outlet& outlet, io::Mailbox& mailbox,
                       io::PortPool& ports, std::vector<io::Worker*> workers, io::Writer& writer,
                       std::int64_t now_us)
    : options_(options),
      outlet_(outlet),
      mailbox_(mailbox),
      ports_(ports),
      workers_(std::move(workers)),
      load_(workers_.size()),
      writer_(writer),
      heard_us_(now_us) {
    if (RAND_bytes(uchars(instance_.data()), static_cast<int>(instance_.size())) != 1)
        throw std::runtime_error("no randomness");
}

Controller::BridgeEntry* Controller::find(const Uuid& id) {
    auto found = bridges_.find(id);
    return found == bridges_.end() ? nullptr : &found->second;
}

FrameWriter Controller::ok(const Header& header) const {
    FrameWriter frame(FrameKind::reply, header.opcode, header.id);
    frame.put(Tag::status, static_cast<std::uint16_t>(Status::ok));
    return frame;
}

void Controller::tell(EventType type, const std::function<void(FrameWriter&)>& fields) {
    const auto& frame = events_.add(type, fields);
    if (controller_) outlet_.send(controller_, frame);
}

void Controller::tell_transient(EventType type, const std::function<void(FrameWriter&)>& fields) {
    if (!controller_) return;
    FrameWriter frame(FrameKind::event, static_cast<std::uint16_t>(type), 0);
    fields(frame);
    outlet_.offer(controller_, std::move(frame).finish());
}

void Controller::handle(ConnectionId from, const Header& header, ConstBytes frame) {
    if (from == controller_) heard_us_ = io::monotonic_us();
    auto request = std::make_shared<Request>(from, header, frame);
    auto op = static_cast<Op>(header.opcode);
    auto parsed = parse_fields(request->bytes, op);
    if (const auto* wrong = std::get_if<Refusal>(&parsed)) {
        outlet_.send(from, refuse(header, *wrong));
        if (wrong->status == Status::malformed) outlet_.close(from);
        return;
    }
    if (auto refused = dispatch(request, std::get<Fields>(parsed), op))
        outlet_.send(from, refuse(header, *refused));
}

Controller::Outcome Controller::dispatch(const std::shared_ptr<Request>& request, const Fields& fields,
                                         Op op) {
    if (op == Op::hello) return hello(*request, fields);
    if (op == Op::ping) {
        reply(request->connection, ok(request->header));
        return std::nullopt;
    }
    if (request->connection != controller_)
        return refusal(Status::fenced, "this connection is not the controller");
    switch (op) {
        case Op::ack:
            for (const auto& field : fields.all()) events_.acknowledge(load_be32(field.value.data()));
            reply(request->connection, ok(request->header));
            return std::nullopt;
        case Op::open_bridge: return open_bridge(*request, fields);
        case Op::list_bridges: return list_bridges(*request, fields);
        case Op::load_sound: return load_sound(*request, fields);
        case Op::get_ports: return get_ports(*request);
        default: return on_bridge(request, fields, op);
    }
}

Controller::Outcome Controller::hello(const Request& request, const Fields& fields) {
    auto epoch = fields.integer<std::uint64_t>(Tag::epoch);
    if (epoch <= highest_epoch_)
        return refusal(Status::fenced, "the epoch is not greater than every epoch seen");
    highest_epoch_ = epoch;
    sounds_.forget_loading();
    closing_all_.reset();  // somebody looks after the bridges again
    heard_us_ = io::monotonic_us();
    auto older = std::exchange(controller_, request.connection);
    if (older && older != request.connection) outlet_.close(older);
    auto frame = ok(request.header);
    frame.put(Tag::instance, ConstBytes(instance_))
        .put(Tag::count, static_cast<std::uint32_t>(bridges_.size()))
        .put(Tag::program, std::string_view(kProgram))
        .put(Tag::local_ip, options_.local_ip.wire());
    reply(request.connection, std::move(frame));
    events_.for_each([&](const auto& event) { outlet_.send(controller_, event); });
    io::log_event("info", "media.controller", {{"epoch", static_cast<std::int64_t>(epoch)}});
    return std::nullopt;
}

void Controller::disconnected(ConnectionId connection, std::int64_t now_us) {
    if (connection != controller_) return;
    controller_ = 0;
    heard_us_ = now_us;
}

void Controller::tick(std::int64_t now_us) {
    if (is_stopping_ || bridges_.empty()) return;
    if (now_us - heard_us_ < options_.orphan_timeout_us) return;
    io::log_event("warning", "media.orphaned", {{"bridges", static_cast<std::int64_t>(bridges_.size())}});
    heard_us_ = now_us;
    // A controller that hangs could neither pause nor erase: its socket alone is no sign of life.
    if (controller_) outlet_.close(std::exchange(controller_, 0));
    close_all(Reason::no_controller);
}

void Controller::stop() {
    is_stopping_ = true;
    close_all(Reason::program_ends);
}

void Controller::close_all(Reason reason) {
    std::vector<Uuid> ids;
    for (const auto& [id, bridge] : bridges_) ids.push_back(id);
    for (const auto& id : ids) {
        auto* bridge = find(id);
        if (!bridge) continue;
        if (bridge->is_busy) {
            closing_all_ = reason;  // picked up when the disk has answered
        } else {
            close_bridge(0, {}, *bridge, reason);
        }
    }
}

/// What waited for the disk goes on: first an end of everything, then the requests in their order.
void Controller::now_idle(const Uuid& id) {
    auto* bridge = find(id);
    if (!bridge) return;
    bridge->is_busy = false;
    if (bridge->recording && bridge->recording->is_failed) drop_failed(*bridge);
    bool is_unattended = is_stopping_ || !controller_;
    if (closing_all_ && is_unattended) return close_bridge(0, {}, *bridge, *closing_all_);
    while (bridge && !bridge->is_busy && !bridge->waiting.empty()) {
        auto request = std::move(bridge->waiting.front());
        bridge->waiting.pop_front();
        auto op = static_cast<Op>(request->header.opcode);
        auto parsed = parse_fields(request->bytes, op);
        auto refused = dispatch(request, std::get<Fields>(parsed), op);
        if (refused) outlet_.send(request->connection, refuse(request->header, *refused));
        bridge = find(id);
    }
}

Controller::Outcome Controller::open_bridge(const Request& request, const Fields& fields) {
    auto mode = fields.integer<std::uint8_t>(Tag::mode);
    if (mode > 1) return refusal(Status::unsupported, "unknown mode");
    if (is_stopping_) return refusal(Status::stopping, "the program is ending");
    if (bridges_.size() >= kMaxBridges) return refusal(Status::limit, "too many bridges");
    auto id = fields.uuid(Tag::bridge);
    if (find(id)) return refusal(Status::exists, "the bridge is open already");
    // Legs can be moved between bridges of one worker only.
    const auto* neighbour = fields.has(Tag::beside) ? find(fields.uuid(Tag::beside)) : nullptr;
    auto index = neighbour
                     ? neighbour->worker
                     : static_cast<std::size_t>(std::min_element(load_.begin(), load_.end()) - load_.begin());
    load_[index]++;
    auto& bridge = bridges_[id];
    bridge.id = id;
    bridge.mode = static_cast<Mode>(mode);
    bridge.worker = index;
    auto* target = &worker(bridge);
    target->post([target, id, m = bridge.mode] { target->open_bridge(id, m); });
    reply(request.connection, ok(request.header));
    return std::nullopt;
}

void Controller::describe(FrameWriter& out, const BridgeEntry& bridge) const {
    out.put(Tag::mode, static_cast<std::uint8_t>(bridge.mode));
    if (!bridge.recording) return;
    auto state = bridge.recording->is_paused ? RecordingState::paused : RecordingState::running;
    out.put(Tag::recording, ConstBytes(bridge.recording->identity.recording))
        .put(Tag::segment, bridge.recording->identity.segment)
        .put(Tag::recording_state, static_cast<std::uint8_t>(state));
}

Controller::Outcome Controller::list_bridges(const Request& request, const Fields& fields) {
    constexpr std::size_t kRoomForOne = 128;
    auto frame = ok(request.header);
    auto at = fields.has(Tag::after) ? bridges_.upper_bound(fields.uuid(Tag::after)) : bridges_.begin();
    for (; at != bridges_.end() && frame.size() + kRoomForOne < kMaxFrame; ++at) {
        FrameWriter entry;
        entry.put(Tag::bridge, ConstBytes(at->first));
        describe(entry, at->second);
        frame.put(Tag::bridge_entry, entry);
    }
    frame.put(Tag::more, static_cast<std::uint8_t>(at != bridges_.end()));
    reply(request.connection, std::move(frame));
    return std::nullopt;
}

Controller::Outcome Controller::on_bridge(const std::shared_ptr<Request>& request, const Fields& fields,
                                          Op op) {
    auto* bridge = find(fields.uuid(Tag::bridge));
    if (!bridge) return refusal(Status::not_found, "no such bridge");
    if (bridge->is_busy) {
        if (bridge->waiting.size() >= kMaxWaiting) return refusal(Status::limit, "too many requests wait");
        bridge->waiting.push_back(request);
        return std::nullopt;
    }
    switch (op) {
        case Op::open_leg: return open_leg(*request, fields, *bridge);
        case Op::set_leg: return set_leg(*request, fields, *bridge);
        case Op::reopen_leg: return reopen_leg(*request, fields, *bridge);
        case Op::get_bridge: return get_bridge(*request, *bridge);
        case Op::start_recording: return start_recording(*request, fields, *bridge);
        case Op::switch_recording: return switch_recording(*request, fields, *bridge);
        case Op::pause_recording:
        case Op::resume_recording:
        case Op::set_format: return mark_recording(*request, fields, *bridge, op);
        case Op::stop_recording: return stop_recording(*request, *bridge);
        case Op::dtls_send: return send_dtls(request, fields, *bridge);
        case Op::play: return play(*request, fields, *bridge);
        case Op::stop_play: return stop_play(*request, fields, *bridge);
        case Op::send_digits: return send_digits(*request, fields, *bridge);
        case Op::detect_tones: return detect_tones(*request, fields, *bridge);
        case Op::detect_speech: return detect_speech(*request, fields, *bridge);
        case Op::set_hears: return set_hears(*request, fields, *bridge);
        case Op::close_leg: return close_leg(*request, fields, *bridge);
        case Op::set_recorded: return set_recorded(*request, fields, *bridge);
        case Op::move_leg: return move_leg(request, fields, *bridge);
        case Op::is_beside: return is_beside(*request, fields, *bridge);
        case Op::set_sensitive: return set_sensitive(*request, fields, *bridge);
        case Op::close_bridge:
            close_bridge(request->connection, request->header, *bridge, Reason::asked_for);
            return std::nullopt;
        default: return refusal(Status::unsupported, "unknown operation");
    }
}

Controller::Outcome Controller::open_leg(const Request& request, const Fields& fields, BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || (leg > 0 && bridge.mode == Mode::echo))
        return refusal(Status::invalid, "this bridge has no such leg");
    if (bridge.legs[leg]) return refusal(Status::exists, "the leg is open already");
    auto wish = shared_wish(fields, !options_.is_v6);
    if (const auto* wrong = std::get_if<Refusal>(&wish)) return *wrong;
    if (const auto& shared = std::get<0>(wish)) return open_shared_leg(request, bridge, leg, *shared);
    return open_own_leg(request.connection, request.header, bridge, leg);
}

Controller::Outcome Controller::set_leg(const Request& request, const Fields& fields, BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return refusal(Status::not_found, "the leg is not open");
    auto parsed = leg_settings(fields, !options_.is_v6);
    if (const auto* wrong = std::get_if<Refusal>(&parsed)) return *wrong;
    auto settings = std::make_shared<LegSettings>(std::get<LegSettings>(parsed));
    settings->allowance = options_.leg_allowance;
    auto before = std::exchange(bridge.legs[leg]->stated, stated_leg(fields));
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, leg, settings, before, to = request.connection,
                  header = request.header] {
        auto ssrc = target->set_leg(id, leg, *settings);
        mailbox_.post([this, id, leg, before, to, header, ssrc] {
            auto* entry = find(id);
            if (!ssrc && entry && entry->legs[leg]) entry->legs[leg]->stated = before;  // nothing was changed
            if (!ssrc)
                return outlet_.send(
                    to, refuse(header, refusal(Status::exists,
                                               "another leg of the shared port has this remote address")));
            auto frame = ok(header);
            frame.put(Tag::ssrc, *ssrc);
            reply(to, std::move(frame));
        });
    });
    return std::nullopt;
}

Controller::Outcome Controller::on_worker(const Request& request, BridgeEntry& bridge, BridgeWork work) {
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, work = std::move(work), to = request.connection,
                  header = request.header] {
        auto frame = std::make_shared<FrameWriter>(ok(header));
        Outcome refused = refusal(Status::not_found, "no such bridge");
        if (auto* found = target->bridge(id)) {
            refused = work(*target, *found, *frame);
            target->schedule(id);
        }
        mailbox_.post([this, frame, refused, to, header] {
            if (refused) return outlet_.send(to, refuse(header, *refused));
            reply(to, std::move(*frame));
        });
    });
    return std::nullopt;
}

/// All that a controller needs to go on with a bridge that it did not open, but no key.
Controller::Outcome Controller::get_bridge(const Request& request, BridgeEntry& bridge) {
    auto frame = ok(request.header);
    describe(frame, bridge);
    if (bridge.recording) frame.put(Tag::file, std::string_view(bridge.recording->file));
    std::array<std::uint16_t, Bridge::kMaxLegs> ports{};
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++)
        if (bridge.legs[leg]) ports[leg] = bridge.legs[leg]->rtp_port;
    auto known = std::make_shared<FrameWriter>(std::move(frame));
    auto legs = bridge.legs;  // what was stated, as it was when this was asked
    return on_worker(
        request, bridge,
        [id = bridge.id, known, ports, legs](io::Worker& worker, Bridge& in_worker,
                                             FrameWriter& out) -> Outcome {
            out = std::move(*known);
            out.put(Tag::is_sensitive, static_cast<std::uint8_t>(in_worker.is_sensitive()));
            if (auto report = worker.report(id)) put_reports(out, *report, ports);
            for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++) {
                if (!legs[leg] || !in_worker.has_leg(leg)) continue;
                FrameWriter state;
                state.put(Tag::leg, static_cast<std::uint8_t>(leg))
                    .put(Tag::rtp_port, ports[leg])
                    .put(Tag::rtcp_port,
                         static_cast<std::uint16_t>(ports[leg] + (legs[leg]->own_port ? 1 : 0)))
                    .put(Tag::is_shared, static_cast<std::uint8_t>(legs[leg]->own_port == 0))
                    .put(Tag::ssrc, in_worker.ssrc(leg));
                if (const auto& stated = legs[leg]->stated) {
                    state.put(Tag::settings_digest, ConstBytes(stated->digest));
                    for (const auto& field : stated->fields()) state.put(field.tag, field.value);
                    const auto& source = in_worker.leg(leg).source();
                    state.put(Tag::source_ip, source.ip.wire()).put(Tag::source_port, source.port);
                }
                out.put(Tag::leg_state, state);
            }
            return std::nullopt;
        });
}

void Controller::close_bridge(ConnectionId from, const Header& header, BridgeEntry& bridge, Reason reason) {
    bridge.is_busy = true;
    auto recording = bridge.recording;
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, recording, from, header, reason] {
        io::RecorderEnd end;
        if (recording) end = target->end_recorder(id, recording->start_us);
        auto report = target->report(id, true).value_or(io::BridgeReport{});
        target->close_bridge(id);
        mailbox_.post([this, id, recording, from, header, reason, end, report] {
            if (!recording) return finish_close(id, from, header, reason, report, nullptr);
            end_recording(id, *recording, end,
                          [this, id, from, header, reason, report](const io::RecordingResult& result) {
                              finish_close(id, from, header, reason, report, &result);
                          });
        });
    });
}

void Controller::finish_close(const Uuid& id, ConnectionId from, const Header& header, Reason reason,
                              const io::BridgeReport& report, const io::RecordingResult* result) {
    auto node = bridges_.extract(id);
    if (node.empty()) return;
    auto& bridge = node.mapped();
    load_[bridge.worker]--;
    std::array<std::uint16_t, Bridge::kMaxLegs> ports{};
    for (unsigned leg = 0; leg < Bridge::kMaxLegs; leg++) {
        if (!bridge.legs[leg]) continue;
        ports[leg] = bridge.legs[leg]->rtp_port;
        if (bridge.legs[leg]->own_port) ports_.give_back(bridge.legs[leg]->own_port);
    }
    if (from) {
        auto frame = ok(header);
        put_reports(frame, report, ports);
        if (result) frame.put(Tag::recording_result, recording_result(*result));
        reply(from, std::move(frame));
    } else {
        tell(EventType::bridge_closed, [&](FrameWriter& out) {
            out.put(Tag::bridge, ConstBytes(id)).put(Tag::reason, static_cast<std::uint8_t>(reason));
            put_reports(out, report, ports);
        });
    }
    for (const auto& request : bridge.waiting)
        outlet_.send(request->connection,
                     refuse(request->header, refusal(Status::not_found, "no such bridge")));
    if (bridges_.empty()) closing_all_.reset();
}

void Controller::leg_event(const Uuid& bridge, const LegEvent& event) {
    auto about_leg = [&](FrameWriter& out) -> FrameWriter& {
        return out.put(Tag::bridge, ConstBytes(bridge)).put(Tag::leg, static_cast<std::uint8_t>(event.leg));
    };
    auto about_place = [&](FrameWriter& out) {
        about_leg(out).put(Tag::remote_ip, event.source.ip.wire()).put(Tag::remote_port, event.source.port);
    };
    switch (event.kind) {
        case LegEvent::Kind::key:
            return tell(EventType::digit, [&](FrameWriter& out) {
                about_leg(out)
                    .put(Tag::digits, std::string_view(&event.digit, 1))
                    .put(Tag::digit_ms,
                         static_cast<std::uint16_t>(std::min<std::uint32_t>(event.held_ms, 0xffff)))
                    .put(Tag::heard_as, static_cast<std::uint8_t>(event.was_tones ? 2 : 1));
            });
        case LegEvent::Kind::source: return tell(EventType::leg_source, about_place);
        case LegEvent::Kind::ice_selected: return tell(EventType::ice_selected, about_place);
        case LegEvent::Kind::consent_lost: return tell(EventType::consent_lost, about_leg);
        case LegEvent::Kind::media_timeout: return tell(EventType::media_timeout, about_leg);
        case LegEvent::Kind::unheard:
        case LegEvent::Kind::ambiguous:
            return tell(EventType::leg_ports, [&](FrameWriter& out) {
                bool is_unheard = event.kind == LegEvent::Kind::unheard;
                about_leg(out).put(Tag::cause, static_cast<std::uint8_t>(is_unheard ? 1 : 2));
            });
        case LegEvent::Kind::play_ended:
            return tell(EventType::play_ended, [&](FrameWriter& out) {
                about_leg(out)
                    .put(Tag::playback, event.playback)
                    .put(Tag::play_end, static_cast<std::uint8_t>(event.end))
                    .put(Tag::sent_ms, event.sent_ms);
            });
        case LegEvent::Kind::silence:
            return tell(EventType::one_way_audio, [&](FrameWriter& out) {
                about_leg(out).put(Tag::silence_cause, static_cast<std::uint8_t>(event.cause));
            });
        case LegEvent::Kind::quality:
            return tell_transient(EventType::quality, [&](FrameWriter& out) {
                out.put(Tag::bridge, ConstBytes(bridge));
                for (const auto& leg : *event.quality) out.put(Tag::leg_quality, leg_quality(leg));
            });
    }
}

}  // namespace hushwire::control
