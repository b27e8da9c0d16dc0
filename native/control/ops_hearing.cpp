// SET_HEARS and CLOSE_LEG: who hears whom in a bridge, and who is in it no more.
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

}  // namespace hushwire::control
