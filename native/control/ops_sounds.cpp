// LOAD_SOUND, PLAY and STOP_PLAY.
#include <algorithm>

#include "control/controller.hpp"
#include "core/player.hpp"
#include "io/clock.hpp"

namespace hushwire::control {
namespace {

SoundId sound_id(const Fields& fields) {
    SoundId id{};
    auto value = *fields.find(Tag::sound);
    std::copy(value.begin(), value.end(), id.begin());
    return id;
}

}  // namespace

Controller::Outcome Controller::load_sound(const Request& request, const Fields& fields) {
    auto id = sound_id(fields);
    auto frame = ok(request.header);
    if (fields.integer<std::uint8_t>(Tag::unload)) {
        if (fields.all().size() != 2) return Refusal{Status::invalid, "UNLOAD stands with SOUND alone"};
        if (!sounds_.unload(id)) return Refusal{Status::not_found, "no such sound"};
        reply(request.connection, std::move(frame));
        return std::nullopt;
    }
    for (auto tag : {Tag::clock_rate, Tag::frame_samples, Tag::total_bytes, Tag::offset, Tag::data})
        if (!fields.has(tag)) return Refusal{Status::invalid, "a required field is missing"};
    Sounds::Part part{.clock = {fields.integer<std::uint32_t>(Tag::clock_rate),
                                fields.integer<std::uint32_t>(Tag::frame_samples)},
                      .total = fields.integer<std::uint32_t>(Tag::total_bytes),
                      .offset = fields.integer<std::uint32_t>(Tag::offset),
                      .data = *fields.find(Tag::data)};
    bool is_whole = false;
    if (auto refused = sounds_.load(id, part, is_whole)) return refused;
    frame.put(Tag::is_whole, static_cast<std::uint8_t>(is_whole));
    reply(request.connection, std::move(frame));
    return std::nullopt;
}

Controller::Outcome Controller::play(const Request& request, const Fields& fields, BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    PlayOrder order{.sound = sounds_.find(sound_id(fields)),
                    .playback = fields.integer<std::uint32_t>(Tag::playback),
                    .payload_type = fields.integer<std::uint8_t>(Tag::payload_type),
                    .times = fields.integer<std::uint32_t>(Tag::times, 1),
                    .offset_ms = fields.integer<std::uint32_t>(Tag::offset_ms),
                    .interval_ms = fields.integer<std::uint32_t>(Tag::interval_ms)};
    auto layer = fields.integer<std::uint8_t>(Tag::beep) ? Layer::beep : Layer::sound;
    if (order.payload_type > 127) return Refusal{Status::invalid, "no payload type"};
    if (!order.sound) return Refusal{Status::state, "the sound is not loaded"};
    return on_worker(request, bridge,
                     [order, leg, layer](io::Worker&, Bridge& target, FrameWriter&) -> Outcome {
                         target.play(leg, std::make_unique<Player>(order, io::monotonic_us()), layer);
                         return std::nullopt;
                     });
}

Controller::Outcome Controller::stop_play(const Request& request, const Fields& fields, BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    std::optional<std::uint32_t> wanted;
    if (fields.has(Tag::playback)) wanted = fields.integer<std::uint32_t>(Tag::playback);
    return on_worker(request, bridge, [wanted, leg](io::Worker&, Bridge& target, FrameWriter&) -> Outcome {
        bool was_playing = false;
        for (auto layer : {Layer::sound, Layer::beep}) {
            if (!target.is_playing(leg, layer) || (wanted && target.playback(leg, layer) != wanted)) continue;
            target.stop_playing(leg, layer);
            was_playing = true;
        }
        if (!was_playing) return Refusal{Status::state, "nothing of that name is played there"};
        return std::nullopt;
    });
}

}  // namespace hushwire::control
