// What SET_LEG last said of a leg, kept for a controller that comes later: it can go on with the call without
// having heard of it before. Never a key.
#pragma once
#include <array>
#include <vector>

#include "control/protocol.hpp"

namespace hushwire::control {

struct StatedLeg {
    std::vector<Fields::Field> fields() const;  ///< point into `bytes`
    std::vector<std::byte> bytes;               ///< as in the request, by tag, without secrets
    std::array<std::byte, 32> digest{};         ///< SHA-256 of all of them by tag, secrets included
};

/// From a SET_LEG that was found good.
StatedLeg stated_leg(const Fields& request);

}  // namespace hushwire::control
