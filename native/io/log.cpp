#include "io/log.hpp"

#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "io/clock.hpp"

namespace hushwire::io {
namespace {

void append_quoted(std::string& line, std::string_view text) {
    line += '"';
    for (char c : text) {
        if (c == '"' || c == '\\') line += '\\';
        line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    line += '"';
}

}  // namespace

void log_event(std::string_view level, std::string_view event, std::initializer_list<LogField> fields) {
    std::string line = "{\"event\":";
    append_quoted(line, event);
    line += ",\"level\":";
    append_quoted(line, level);
    line += ",\"time_us\":" + std::to_string(unix_us());
    for (const auto& field : fields) {
        line += ',';
        append_quoted(line, field.name);
        line += ':';
        if (const auto* number = std::get_if<std::int64_t>(&field.value)) {
            line += std::to_string(*number);
        } else {
            append_quoted(line, std::get<std::string_view>(field.value));
        }
    }
    line += "}\n";
    // A full or closed pipe must not stop a call: a pipe that can be written to takes PIPE_BUF bytes at once,
    // which no line of ours exceeds; a line that finds no room is lost. One write, so that lines of several
    // threads do not mix.
    pollfd out{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT)) return;
    [[maybe_unused]] auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace hushwire::io
