// Log lines: one JSON object each on stderr. An event name and numbers or fixed words; never addresses, keys
// or peer bytes.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <variant>

namespace hushwire::io {

struct LogField {
    std::string_view name;
    std::variant<std::int64_t, std::string_view> value;
};
void log_event(std::string_view level, std::string_view event, std::initializer_list<LogField> fields = {});

}  // namespace hushwire::io
