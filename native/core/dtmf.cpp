#include "core/dtmf.hpp"

#include <algorithm>
#include <string_view>

namespace hushwire::dtmf {
namespace {

constexpr std::string_view kDigits = "0123456789*#ABCD";
constexpr std::int64_t kUpdateUs = 20'000;
constexpr unsigned kEnds = 3;

}  // namespace

char digit_of(std::uint8_t code) {
    return code < kDigits.size() ? kDigits[code] : '\0';
}

std::optional<std::uint8_t> code_of(char digit) {
    auto at = kDigits.find(digit);
    if (digit == '\0' || at == std::string_view::npos) return std::nullopt;
    return static_cast<std::uint8_t>(at);
}

std::optional<Event> parse(ConstBytes payload) {
    // Section 2.3: several events may stand in one payload (2.5.1.2); each has a time of its own only by
    // sums, and no telephone sends that. The first is read.
    if (payload.size() < kEventSize) return std::nullopt;
    auto second = std::to_integer<unsigned>(payload[1]);
    return Event{.code = std::to_integer<std::uint8_t>(payload[0]),
                 .is_end = (second & 0x80) != 0,
                 .volume = static_cast<std::uint8_t>(second & 0x3f),
                 .duration = load_be16(payload.data() + 2)};
}

void write(const Event& event, Bytes payload) {
    payload[0] = std::byte{event.code};
    payload[1] = static_cast<std::byte>((event.is_end ? 0x80 : 0) | (event.volume & 0x3f));
    store_be(payload.data() + 2, event.duration);
}

void Reader::packet(const Event& event, std::uint32_t ssrc, std::uint32_t timestamp, std::uint32_t clock_rate,
                    std::int64_t now_us) {
    if (!digit_of(event.code)) return;
    bool is_same_source = is_known_ && ssrc == ssrc_;
    bool is_same = is_same_source && timestamp == timestamp_ && event.code == code_;
    bool is_next_segment =
        is_same_source && !is_told_ && event.code == code_ && timestamp == timestamp_ + 0xffff;
    if (is_same_source && !is_same && static_cast<std::int32_t>(timestamp - timestamp_) <= 0)
        return;  // late, of a digit before; or two events at one time, which nobody can key
    if (is_next_segment) {
        before_ += 0xffff;
        duration_ = 0;
        timestamp_ = timestamp;
    } else if (!is_same) {
        if (!is_told_) end(now_us);
        is_known_ = true;
        is_told_ = false;
        code_ = event.code;
        ssrc_ = ssrc;
        timestamp_ = timestamp;
        before_ = duration_ = 0;
        clock_rate_ = clock_rate;
    }
    last_us_ = now_us;
    duration_ = std::max<std::uint32_t>(duration_, event.duration);
    if (event.is_end && !is_told_) end(now_us);
}

void Reader::end(std::int64_t now_us) {
    is_told_ = true;
    // The theoretical arrival time of the generic cell rate algorithm: one digit's time is owed for each.
    credit_us_ = std::max(credit_us_, now_us);
    if (credit_us_ - now_us > kDigitUs * kBurst || waiting_ == kRoom) {
        refused_++;
        return;
    }
    credit_us_ += kDigitUs;
    auto units = std::uint64_t{before_} + duration_;
    digits_[(first_ + waiting_++) % kRoom] = {digit_of(code_),
                                              static_cast<std::uint32_t>(units * 1000 / clock_rate_)};
}

void Reader::tick(std::int64_t now_us) {
    if (!is_told_ && now_us - last_us_ > kLostEndUs) end(now_us);
}

std::optional<Digit> Reader::take() {
    if (!waiting_) return std::nullopt;
    auto digit = digits_[first_];
    first_ = (first_ + 1) % kRoom;
    waiting_--;
    return digit;
}

bool Keying::add(std::span<const Key> keys) {
    if (keys.size() > kMaxKeys - count_) return false;
    for (const auto& key : keys) keys_[(first_ + count_++) % kMaxKeys] = key;
    return true;
}

Playout::Made Writer::make(std::int64_t, Bytes payload) {
    auto duration_us = std::int64_t{key().duration_ms} * 1000;
    auto done_us = std::min(due_us_ - begin_us_ + kUpdateUs, duration_us);
    bool is_end = done_us == duration_us;
    auto code = code_of(key().digit).value_or(0);
    write({.code = code,
           .is_end = is_end,
           .duration = static_cast<std::uint16_t>(std::min<std::uint32_t>(units(done_us), 0xffff))},
          payload);
    Made made{{.index = index_++,
               .timestamp = units(begin_us_ - first_us_),
               .clock_rate = clock_rate_,
               .payload_type = payload_type_,
               .has_marker = due_us_ == begin_us_ && ends_ == 0,
               .span = units(done_us)},
              kEventSize};
    if (!is_end) {
        due_us_ += kUpdateUs;
    } else if (++ends_ < kEnds) {
        due_us_ += kUpdateUs / 4;  // apart, so that one burst of loss does not take all three
    } else {
        ends_ = 0;
        begin_us_ += duration_us + std::int64_t{key().gap_ms} * 1000;
        due_us_ = begin_us_;
        next();
    }
    return made;
}

}  // namespace hushwire::dtmf
