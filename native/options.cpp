#include "options.hpp"

#include <charconv>
#include <stdexcept>
#include <tuple>
#include <utility>

#include "io/udp.hpp"

namespace hushwire {
namespace {

template <typename T>
T number(const std::string& option, std::string_view text, T low, T high) {
    T value{};
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
        throw std::invalid_argument(option + " must be a number from " + std::to_string(low) + " to "
                                    + std::to_string(high));
    return value;
}

Ip ip(const std::string& option, const std::string& text) {
    auto parsed = io::parse_ip(text);
    if (!parsed || parsed->is_multicast_or_broadcast())
        throw std::invalid_argument(option + " must be an IPv4 or IPv6 address");
    return *parsed;
}

std::pair<std::uint16_t, std::uint16_t> range(const std::string& option, const std::string& text) {
    auto dash = text.find('-');
    if (dash == std::string::npos)
        throw std::invalid_argument(option + " must be LO-HI, for example 20100-29999");
    auto low = number<std::uint16_t>(option, std::string_view(text).substr(0, dash), 1024, 65'535);
    auto high = number<std::uint16_t>(option, std::string_view(text).substr(dash + 1), low, 65'535);
    return {low, high};
}

void set_ports(Options& out, const std::string& text) {
    std::tie(out.low_port, out.high_port) = range("--ports", text);
    if (out.low_port + (out.low_port & 1) + 1 > out.high_port)
        throw std::invalid_argument("--ports must hold an even port and the odd one above it");
}

Allowance allowance(const std::string& option, const std::string& text) {
    auto colon = text.find(':');
    Allowance out;
    out.per_s = number<std::uint32_t>(option, std::string_view(text).substr(0, colon), 50, 1'000'000);
    out.burst = std::max(out.per_s / 2, 1U);
    if (colon != std::string::npos)
        out.burst = number<std::uint32_t>(option, std::string_view(text).substr(colon + 1), 1, 1'000'000);
    return out;
}

}  // namespace

Options parse_options(std::span<char* const> arguments) {
    Options out;
    bool has_advertise = false, has_address = false;
    for (std::size_t i = 0; i < arguments.size(); i++) {
        std::string option = arguments[i];
        if (option == "--help" || option == "--version") {
            (option == "--help" ? out.wants_help : out.wants_version) = true;
            return out;
        }
        if (i + 1 == arguments.size()) throw std::invalid_argument(option + " is unknown or lacks its value");
        std::string value = arguments[++i];
        if (option == "--socket")
            out.socket = value;
        else if (option == "--spool")
            out.spool = value;
        else if (option == "--user")
            out.user = value;
        else if (option == "--address") {
            out.address = ip(option, value);
            has_address = true;
        } else if (option == "--advertise") {
            out.advertise = ip(option, value);
            has_advertise = true;
        } else if (option == "--ports")
            set_ports(out, value);
        else if (option == "--shared-ports")
            std::tie(out.low_shared_port, out.high_shared_port) = range(option, value);
        else if (option == "--leg-rate")
            out.leg_allowance = allowance(option, value);
        else if (option == "--workers")
            out.workers = number<unsigned>(option, value, 1, 64);
        else if (option == "--orphan-timeout")
            out.orphan_timeout_us = number<std::int64_t>(option, value, 1, 86'400) * 1'000'000;
        else if (option == "--tick-us")
            out.tick_us = number<std::int64_t>(option, value, 50, 20'000);
        else
            throw std::invalid_argument(option + " is unknown");
    }
    if (out.socket.empty()) throw std::invalid_argument("--socket is missing");
    if (out.spool.empty()) throw std::invalid_argument("--spool is missing");
    if (!has_address) throw std::invalid_argument("--address is missing");
    if (!has_advertise) out.advertise = out.address;
    return out;
}

}  // namespace hushwire
