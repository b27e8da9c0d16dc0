// The command line.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "core/address.hpp"
#include "core/budget.hpp"

namespace hushwire {

struct Options {
    std::string socket, spool, user;
    Ip address, advertise;
    std::uint16_t low_port = 16'384, high_port = 32'767;
    std::uint16_t low_shared_port = 0, high_shared_port = 0;  ///< 0: any free ones
    unsigned workers = 1;
    Allowance leg_allowance{400, 200};
    std::int64_t orphan_timeout_us = 60'000'000;
    std::int64_t tick_us = 0;  ///< 0: as the traffic asks for
    bool wants_help = false, wants_version = false;
};

inline constexpr char kUsage[] =
    "usage: hushwire-media --socket PATH --spool DIR --address IP [--advertise IP] [--ports LO-HI]\n"
    "                      [--shared-ports LO-HI] [--workers N] [--user NAME] [--orphan-timeout SECONDS]\n"
    "                      [--tick-us MICROSECONDS] [--leg-rate PACKETS_PER_SECOND[:BURST]]\n";

/// Throws std::invalid_argument with one sentence that names the option and the mend.
Options parse_options(std::span<char* const> arguments);

}  // namespace hushwire
