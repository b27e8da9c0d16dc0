// Who is in a bridge and who hears whom: SET_HEARS, SET_RECORDED, CLOSE_LEG, MOVE_LEG.
#include "control/controller.hpp"

namespace hushwire::control {

Controller::Outcome Controller::set_hears(const Request& request, const Fields& fields, BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    auto legs = fields.integer<std::uint16_t>(Tag::hears);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    if (bridge.mode == Mode::echo) return Refusal{Status::invalid, "in an echo bridge the leg hears itself"};
    if (legs & (1U << leg)) return Refusal{Status::invalid, "a leg can't hear itself here"};
    return on_worker(request, bridge,
                     [leg, legs](io::Worker& worker, Bridge& target, FrameWriter&) -> Outcome {
                         target.set_hears(leg, legs, worker.now_us());
                         return std::nullopt;
                     });
}

Controller::Outcome Controller::close_leg(const Request& request, const Fields& fields, BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    auto entry = *bridge.legs[leg];
    bridge.legs[leg].reset();
    auto* target = &worker(bridge);
    target->post(
        [this, target, id = bridge.id, leg, entry, to = request.connection, header = request.header] {
            auto report = target->close_leg(id, leg);
            mailbox_.post([this, report, leg, entry, to, header] {
                if (entry.own_port) ports_.give_back(entry.own_port);
                auto frame = ok(header);
                if (report) frame.put(Tag::leg_stats, leg_stats(leg, entry.rtp_port, *report));
                reply(to, std::move(frame));
            });
        });
    return std::nullopt;
}

Controller::Outcome Controller::set_recorded(const Request& request, const Fields& fields,
                                             BridgeEntry& bridge) {
    auto legs = fields.integer<std::uint16_t>(Tag::recorded);
    return on_worker(request, bridge, [legs](io::Worker&, Bridge& target, FrameWriter&) -> Outcome {
        target.set_recorded(legs);
        return std::nullopt;
    });
}

Controller::Outcome Controller::move_leg(const std::shared_ptr<Request>& request, const Fields& fields,
                                         BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg), to_leg = fields.integer<std::uint8_t>(Tag::to_leg);
    auto* to = find(fields.uuid(Tag::to_bridge));
    if (!to) return Refusal{Status::not_found, "there is no bridge to move to"};
    if (to->is_busy) {
        if (to->waiting.size() >= kMaxWaiting) return Refusal{Status::limit, "too many requests wait"};
        to->waiting.push_back(request);
        return std::nullopt;
    }
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    if (to_leg >= Bridge::kMaxLegs) return Refusal{Status::invalid, "a bridge has no such leg"};
    if (bridge.mode == Mode::echo || to->mode == Mode::echo)
        return Refusal{Status::invalid, "an echo bridge keeps its leg"};
    if (to->legs[to_leg]) return Refusal{Status::exists, "the leg is open there already"};
    if (bridge.worker != to->worker) {
        move_far(*request, bridge, leg, *to, to_leg);
        return std::nullopt;
    }
    to->legs[to_leg] = std::exchange(bridge.legs[leg], std::nullopt);
    auto* target = &worker(bridge);
    target->post([this, target, from = bridge.id, leg, id = to->id, to_leg, connection = request->connection,
                  header = request->header] {
        target->move_leg(from, leg, id, to_leg);
        mailbox_.post([this, connection, header] { reply(connection, ok(header)); });
    });
    return std::nullopt;
}

Controller::Outcome Controller::is_beside(const Request& request, const Fields& fields,
                                          const BridgeEntry& bridge) {
    auto* to = find(fields.uuid(Tag::to_bridge));
    if (!to) return Refusal{Status::not_found, "there is no such bridge"};
    auto frame = ok(request.header);
    frame.put(Tag::on_one_thread, static_cast<std::uint8_t>(bridge.worker == to->worker));
    reply(request.connection, std::move(frame));
    return std::nullopt;
}

/// By way of this thread, which alone knows that both workers are still there. Nothing else happens to either
/// bridge meanwhile.
void Controller::move_far(const Request& request, BridgeEntry& bridge, unsigned leg, BridgeEntry& to,
                          unsigned to_leg) {
    bridge.is_busy = to.is_busy = true;
    auto *source = &worker(bridge), *target = &worker(to);
    source->post([this, source, target, from = bridge.id, leg, id = to.id, to_leg,
                  connection = request.connection, header = request.header] {
        auto passage = source->take_out(from, leg);
        mailbox_.post([this, target, from, leg, id, to_leg, connection, header, passage] {
            auto *before = find(from), *after = find(id);
            if (!passage || !before || !after) {
                outlet_.send(connection, refuse(header, Refusal{Status::state,
                                                                "a leg on a shared port stays on the port's "
                                                                "thread"}));
                now_idle(from);
                now_idle(id);
                return;
            }
            after->legs[to_leg] = std::exchange(before->legs[leg], std::nullopt);
            target->post([this, target, from, id, to_leg, connection, header, passage] {
                target->put_in(id, to_leg, *passage);
                mailbox_.post([this, from, id, connection, header] {
                    reply(connection, ok(header));
                    now_idle(from);
                    now_idle(id);
                });
            });
        });
    });
}

}  // namespace hushwire::control
