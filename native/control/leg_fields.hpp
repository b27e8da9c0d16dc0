// SET_LEG's fields to LegSettings, and reports to fields. Pure.
#pragma once
#include <variant>

#include "control/protocol.hpp"
#include "core/bridge.hpp"
#include "io/shared_port.hpp"
#include "io/spool_file.hpp"

namespace hushwire::control {

enum class RecordingState : std::uint8_t { running = 0, paused = 1, closed = 2, failed = 3 };

/// What OPEN_LEG says of ports: nothing where the leg is to have its own. `is_v4`: what the media sockets
/// speak.
std::variant<std::optional<io::SharedWish>, Refusal> shared_wish(const Fields& fields, bool is_v4);
/// `is_v4` as above.
std::variant<LegSettings, Refusal> leg_settings(const Fields& fields, bool is_v4);

/// The inside of LEG_QUALITY.
FrameWriter leg_quality(const AssessedLeg& leg);
FrameWriter leg_stats(unsigned leg, std::uint16_t rtp_port, const LegReport& report);
FrameWriter recording_result(const io::RecordingResult& result);

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,123}\.hwr`: no folder, no hidden file, nothing that a shell or a log could
/// trip over.
bool is_spool_name(std::string_view name);

}  // namespace hushwire::control
