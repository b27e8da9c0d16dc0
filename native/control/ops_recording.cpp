// Recordings: begun, marked, carried on in a new segment, ended. What waits for the disk makes the bridge
// busy.
#include <algorithm>
#include <cerrno>

#include "control/controller.hpp"
#include "io/clock.hpp"
#include "io/log.hpp"

namespace hushwire::control {
namespace {

Refusal refusal(Status status, std::string_view message) {
    return {status, message};
}

Refusal not_opened(int error) {
    io::log_event("error", "media.recording_not_opened", {{"errno", std::int64_t{error}}});
    return refusal(error == EEXIST ? Status::exists : Status::spool, "the spool file could not be made");
}

}  // namespace

/// What START_RECORDING and SWITCH_RECORDING ask for.
std::variant<std::shared_ptr<io::RecordingOrder>, Refusal> Controller::recording_order(const Fields& fields) {
    auto raw_name = *fields.find(Tag::file);
    std::string_view name(reinterpret_cast<const char*>(raw_name.data()), raw_name.size());
    if (!is_spool_name(name)) return refusal(Status::invalid, "not a name for a spool file");
    auto order = std::make_shared<io::RecordingOrder>();
    order->id = next_recording_++;
    order->file = name;
    order->key = hwr::DataKey(*fields.find(Tag::data_key));
    order->identity = {fields.uuid(Tag::org), fields.uuid(Tag::recording),
                       fields.integer<std::uint32_t>(Tag::segment)};
    order->anchor_us =
        fields.integer<std::uint64_t>(Tag::anchor_us, static_cast<std::uint64_t>(io::unix_us()));
    auto format = *fields.find(Tag::format);
    order->format.assign(format.begin(), format.end());
    return order;
}

/// Opens the file that the request names, with the bridge busy meanwhile; `begun` goes on once it exists.
Controller::Outcome Controller::open_recording(const Request& request, const Fields& fields,
                                               BridgeEntry& bridge, RecordingBegun begun) {
    auto made = recording_order(fields);
    if (const auto* wrong = std::get_if<Refusal>(&made)) return *wrong;
    auto& order = std::get<0>(made);
    Recording recording{.id = order->id,
                        .identity = order->identity,
                        .start_us = io::monotonic_us(),
                        .file = order->file,
                        .is_paused = bridge.recording && bridge.recording->is_paused};
    bridge.is_busy = true;
    writer_.open(std::move(order), [this, id = bridge.id, recording, begun = std::move(begun),
                                    to = request.connection, header = request.header](int error) {
        mailbox_.post([this, id, recording, begun, to, header, error] {
            auto* entry = find(id);
            if (!entry) return;
            if (!error) return begun(*entry, recording, to, header);
            outlet_.send(to, refuse(header, not_opened(error)));
            now_idle(id);
        });
    });
    return std::nullopt;
}

Controller::Outcome Controller::start_recording(const Request& request, const Fields& fields,
                                                BridgeEntry& bridge) {
    if (bridge.recording) return refusal(Status::exists, "a recording is running already");
    return open_recording(
        request, fields, bridge,
        [this](BridgeEntry& entry, const Recording& recording, ConnectionId to, const Header& header) {
            entry.recording = recording;
            auto* target = &worker(entry);
            target->post([this, target, id = entry.id, recording, to, header] {
                target->start_recorder(id, recording.id, recording.start_us);
                mailbox_.post([this, id, to, header] {
                    // Only now: every packet sent after the reply is in the recording.
                    reply(to, ok(header));
                    now_idle(id);
                });
            });
        });
}

/// The next segment's file exists before the present one ends, and the worker goes from one to the other
/// between two packets: none is in both, and none in neither.
Controller::Outcome Controller::switch_recording(const Request& request, const Fields& fields,
                                                 BridgeEntry& bridge) {
    if (!bridge.recording) return refusal(Status::state, "no recording is running");
    return open_recording(
        request, fields, bridge,
        [this](BridgeEntry& entry, const Recording& next, ConnectionId to, const Header& header) {
            auto before = *entry.recording;
            entry.ending = std::exchange(entry.recording, next);
            auto* target = &worker(entry);
            target->post([this, target, id = entry.id, before, next, to, header] {
                auto end = target->switch_recorder(id, before.start_us, next.id, next.start_us);
                mailbox_.post([this, id, before, end, to, header] {
                    end_recording(id, before, end, [this, id, to, header](const io::RecordingResult& result) {
                        reply_ended(to, header, result);
                        if (auto* open = find(id)) open->ending.reset();
                        now_idle(id);
                    });
                });
            });
        });
}

/// The reply that says how a recording ended.
void Controller::reply_ended(ConnectionId to, const Header& header, const io::RecordingResult& result) {
    auto frame = ok(header);
    frame.put(Tag::recording_result, recording_result(result));
    reply(to, std::move(frame));
}

Controller::Outcome Controller::mark_recording(const Request& request, const Fields& fields,
                                               BridgeEntry& bridge, Op op) {
    if (!bridge.recording) return refusal(Status::state, "no recording is running");
    std::vector<std::byte> json;
    if (auto format = fields.find(Tag::format)) json.assign(format->begin(), format->end());
    if (op != Op::set_format) bridge.recording->is_paused = op == Op::pause_recording;
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, op, json, to = request.connection, header = request.header] {
        if (auto* recorder = target->recorder(id)) {
            auto now_us = io::monotonic_us();
            if (op == Op::pause_recording) recorder->pause(io::Recorder::Pause::asked, now_us);
            if (op == Op::resume_recording) recorder->resume(io::Recorder::Pause::asked, now_us);
            if (op == Op::set_format) recorder->format(json, now_us);
        }
        mailbox_.post([this, to, header] { reply(to, ok(header)); });
    });
    return std::nullopt;
}

void Controller::end_recording(const Uuid& bridge, const Recording& recording, const io::RecorderEnd& end,
                               std::function<void(const io::RecordingResult&)> then) {
    writer_.end(recording.id, end.end_100us, end.gaps,
                [this, bridge, then = std::move(then)](const io::RecordingResult& result) {
                    mailbox_.post([this, bridge, then, result] {
                        if (!result.is_failed)
                            tell(EventType::recording_closed, [&](FrameWriter& out) {
                                out.put(Tag::bridge, ConstBytes(bridge))
                                    .put(Tag::recording_result, recording_result(result));
                            });
                        then(result);
                    });
                });
}

Controller::Outcome Controller::stop_recording(const Request& request, BridgeEntry& bridge) {
    if (!bridge.recording) return refusal(Status::state, "no recording is running");
    bridge.is_busy = true;
    auto recording = *bridge.recording;
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, recording, to = request.connection, header = request.header] {
        auto end = target->end_recorder(id, recording.start_us);
        mailbox_.post([this, id, recording, end, to, header] {
            end_recording(id, recording, end, [this, id, to, header](const io::RecordingResult& result) {
                reply_ended(to, header, result);
                if (auto* entry = find(id)) entry->recording.reset();
                now_idle(id);
            });
        });
    });
    return std::nullopt;
}

/// Takes a recording that failed off its bridge. It has been told.
void Controller::drop_failed(BridgeEntry& bridge) {
    auto recording = *bridge.recording;
    bridge.recording.reset();
    auto* target = &worker(bridge);
    target->post([this, target, bridge_id = bridge.id, recording] {
        auto end = target->end_recorder(bridge_id, recording.start_us);
        mailbox_.post([this, recording, end] {
            writer_.end(recording.id, end.end_100us, end.gaps, [](const auto&) {});
        });
    });
}

void Controller::recording_failed(io::RecordingId id, io::RecordingResult result) {
    auto is_it = [&](const std::optional<Recording>& recording) { return recording && recording->id == id; };
    auto at = std::ranges::find_if(
        bridges_, [&](const auto& b) { return is_it(b.second.recording) || is_it(b.second.ending); });
    io::log_event("error", "media.recording_failed",
                  {{"failure", static_cast<std::int64_t>(result.failure)}});
    if (at == bridges_.end()) return;
    auto& bridge = at->second;
    auto& recording = is_it(bridge.recording) ? *bridge.recording : *bridge.ending;
    recording.is_failed = true;
    result.duration_ms = static_cast<std::uint64_t>(io::monotonic_us() - recording.start_us) / 1000;
    tell(EventType::recording_failed, [&](FrameWriter& out) {
        out.put(Tag::bridge, ConstBytes(bridge.id)).put(Tag::recording_result, recording_result(result));
    });
    if (!bridge.is_busy) drop_failed(bridge);  // else whoever made it busy ends it
}

}  // namespace hushwire::control
