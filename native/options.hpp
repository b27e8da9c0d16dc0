// The command line.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "core/address.hpp"

namespace hushwire {

struct Options {
    std::string socket, spool, user;
    Ip address, advertise;
    std::uint16_t low_port = 16'384, high_port = 32'767;
    unsigned workers = 1;
    std::int64_t orphan_timeout_us = 60'000'000;
    std::int64_t tick_us = 1000;
    bool wants_help = false, wants_version = false;
};

inline constexpr char kUsage[] =
    "usage: hushwire-media --socket PATH --spool DIR --address IP [--advertise IP] [--ports LO-HI] "
    "[--workers N] [--user NAME]\n"
    "                      [--orphan-timeout SECONDS] [--tick-us MICROSECONDS]\n";

/// Throws std::invalid_argument with one sentence that names the option and the mend.
Options parse_options(std::span<char* const> arguments);

}  // namespace hushwire
