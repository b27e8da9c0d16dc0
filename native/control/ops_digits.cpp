// Digits: keyed towards a leg, listened for, and kept from everybody.
#include "control/controller.hpp"
#include "io/clock.hpp"

namespace hushwire::control {

Controller::Outcome Controller::set_sensitive(const Request& request, const Fields& fields,
                                              BridgeEntry& bridge) {
    auto on = fields.integer<std::uint8_t>(Tag::is_on);
    if (on > 1) return Refusal{Status::invalid, "a flag is neither 0 nor 1"};
    return on_worker(request, bridge,
                     [id = bridge.id, on](io::Worker& worker, Bridge& in_worker, FrameWriter&) -> Outcome {
                         in_worker.set_sensitive(on == 1);
                         if (auto* recorder = worker.recorder(id)) {
                             auto now_us = io::monotonic_us();
                             if (on)
                                 recorder->pause(io::Recorder::Pause::sensitive, now_us);
                             else
                                 recorder->resume(io::Recorder::Pause::sensitive, now_us);
                         }
                         return std::nullopt;
                     });
}

}  // namespace hushwire::control
