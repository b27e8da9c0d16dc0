// Digits as telephone-events (RFC 4733): read out of what a leg receives, and written into what it is sent.
// Pure; nothing is allocated per packet.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "core/playout.hpp"

namespace hushwire::dtmf {

/// One of 0-9 * # A-D for the event codes 0-15 (section 3.2, table 3); 0 for other events.
char digit_of(std::uint8_t code);
std::optional<std::uint8_t> code_of(char digit);

/// The payload of a telephone-event packet (section 2.3).
struct Event {
    std::uint8_t code = 0;
    bool is_end = false;
    std::uint8_t volume = 10;    ///< dBm0 without its sign, 0-63
    std::uint16_t duration = 0;  ///< of the event so far, in units of the RTP clock
};
inline constexpr std::size_t kEventSize = 4;
std::optional<Event> parse(ConstBytes payload);
void write(const Event& event, Bytes payload);

struct Digit {
    char digit = 0;
    std::uint32_t duration_ms = 0;
    bool operator==(const Digit&) const = default;
};

/// Digits out of the event packets of one leg. Each is told once, at its end: by the first packet that says
/// so, else (all three lost) by the next digit or when no more comes. Who sends more digits than a person or
/// a modem dialler could is cut short.
class Reader {
  public:
    static constexpr std::int64_t kLostEndUs = 150'000;  ///< updates come each 20-50 ms while a key is held

    /// A packet, not a duplicate (the leg's replay window sees to that).
    void packet(const Event& event, std::uint32_t ssrc, std::uint32_t timestamp, std::uint32_t clock_rate,
                std::int64_t now_us);
    /// To be called about ten times a second.
    void tick(std::int64_t now_us);
    /// Digits that have ended, oldest first.
    std::optional<Digit> take();
    bool has_digit() const { return waiting_ > 0; }
    std::uint64_t refused() const { return refused_; }

  private:
    static constexpr std::size_t kRoom = 16;  // of one turn: all that comes after a stall of 0.8 s and more
    static constexpr std::int64_t kDigitUs = 50'000,
                                  kBurst = 40;  // 20 a second: Q.24 receivers take no more than 15

    void end(std::int64_t now_us);

    bool is_known_ = false, is_told_ = true;
    std::uint8_t code_ = 0;
    std::uint32_t ssrc_ = 0, timestamp_ = 0;
    std::uint32_t before_ = 0, duration_ = 0,
                  clock_rate_ = 8000;  // units: of earlier segments (section 2.5.1.3), of this one
    std::int64_t last_us_ = 0, credit_us_ = 0;
    std::array<Digit, kRoom> digits_{};
    std::size_t first_ = 0, waiting_ = 0;
    std::uint64_t refused_ = 0;
};

/// One key that is to be pressed: how long it is held, and the silence behind it.
struct Key {
    char digit = 0;
    std::uint16_t duration_ms = 100, gap_ms = 100;
};

/// Keys one after another, towards one leg.
class Keying : public Playout {
  public:
    static constexpr std::size_t kMaxKeys = 64;

    /// Behind those that wait; false where there is no room for all, and then none is added.
    bool add(std::span<const Key> keys);

  protected:
    bool is_done() const { return count_ == 0; }
    const Key& key() const { return keys_[first_]; }
    void next() {
        first_ = (first_ + 1) % kMaxKeys;
        count_--;
    }

  private:
    std::array<Key, kMaxKeys> keys_{};
    std::size_t first_ = 0, count_ = 0;
};

/// As telephone-events: an update each 20 ms, three packets at each end (section 2.5.1.4).
class Writer final : public Keying {
  public:
    Writer(std::uint8_t payload_type, std::uint32_t clock_rate, std::int64_t now_us)
        : payload_type_(payload_type),
          clock_rate_(clock_rate),
          due_us_(now_us),
          begin_us_(now_us),
          first_us_(now_us) {}

    std::int64_t due_us() const override { return is_done() ? kNever : due_us_; }
    Made make(std::int64_t now_us, Bytes payload) override;

  private:
    std::uint32_t units(std::int64_t us) const {
        return static_cast<std::uint32_t>(us * clock_rate_ / 1'000'000);
    }

    std::uint8_t payload_type_;
    std::uint32_t clock_rate_;
    std::int64_t due_us_, begin_us_, first_us_;
    unsigned ends_ = 0;
    std::uint64_t index_ = 0;
};

}  // namespace hushwire::dtmf
