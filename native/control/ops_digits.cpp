// Digits: keyed towards a leg, listened for, and kept from everybody. And speech, listened for alike.
#include "control/controller.hpp"
#include "io/clock.hpp"

namespace hushwire::control {

Controller::Outcome Controller::send_digits(const Request& request, const Fields& fields,
                                            BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    auto held_ms = fields.integer<std::uint16_t>(Tag::digit_ms, 100);
    auto gap_ms = fields.integer<std::uint16_t>(Tag::gap_ms, 100);
    if (held_ms < 40 || held_ms > 5000 || gap_ms < 40 || gap_ms > 5000)
        return Refusal{Status::invalid, "a key is held, and followed by silence, for 40 to 5,000 ms"};
    std::vector<dtmf::Key> keys;
    auto digits = *fields.find(Tag::digits);
    for (auto byte : digits) {
        auto digit = std::to_integer<char>(byte);
        if (!dtmf::code_of(digit)) return Refusal{Status::invalid, "a digit is none of 0-9 * # A-D"};
        keys.push_back({digit, held_ms, gap_ms});
    }
    return on_worker(request, bridge, [leg, keys](io::Worker&, Bridge& in_worker, FrameWriter&) -> Outcome {
        switch (in_worker.press(leg, keys, io::monotonic_us())) {
            case Bridge::Pressed::ok: break;
            case Bridge::Pressed::unable:
                return Refusal{Status::state, "the leg agreed on neither telephone-events nor a known codec"};
            case Bridge::Pressed::full: return Refusal{Status::limit, "too many keys wait already"};
        }
        return std::nullopt;
    });
}

Controller::Outcome Controller::detect_tones(const Request& request, const Fields& fields,
                                             BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    auto on = fields.integer<std::uint8_t>(Tag::is_on);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    if (on > 1) return Refusal{Status::invalid, "a flag is neither 0 nor 1"};
    return on_worker(request, bridge, [leg, on](io::Worker&, Bridge& in_worker, FrameWriter&) -> Outcome {
        if (in_worker.listen_for_tones(leg, on == 1)) return std::nullopt;
        return Refusal{Status::state, "no codec of the leg is known"};
    });
}

Controller::Outcome Controller::detect_speech(const Request& request, const Fields& fields,
                                              BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    auto on = fields.integer<std::uint8_t>(Tag::is_on);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    if (on > 1) return Refusal{Status::invalid, "a flag is neither 0 nor 1"};
    return on_worker(request, bridge, [leg, on](io::Worker&, Bridge& in_worker, FrameWriter&) -> Outcome {
        if (in_worker.listen_for_speech(leg, on == 1, io::monotonic_us())) return std::nullopt;
        return Refusal{Status::state, "no codec of the leg is known"};
    });
}

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
