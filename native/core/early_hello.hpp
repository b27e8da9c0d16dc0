// A ClientHello that came before its leg was stated. Who has our answer may begin its handshake at once,
// while the SET_LEG that names it is still on its way here, and would repeat a lost hello only after a second
// (RFC 6347 section 4.2.4.1). So the newest is kept, for a moment, in memory that the leg had from the
// beginning: a flood of them takes no more than one does. Nothing of it counts before the leg's own rules
// have seen it.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "core/address.hpp"
#include "core/bytes.hpp"

namespace hushwire {

class EarlyHello {
  public:
    static constexpr std::int64_t kLifeUs = 500'000;
    static constexpr std::size_t kMaxHello = 1500;

    /// Keeps this one, instead of an older one. False where it is too long.
    bool keep(const Address& from, ConstBytes hello, std::int64_t now_us) {
        if (hello.size() > kMaxHello) return false;
        std::copy(hello.begin(), hello.end(), hello_.begin());
        length_ = hello.size();
        from_ = from;
        since_us_ = now_us;
        return true;
    }
    bool is_empty() const { return length_ == 0; }
    bool is_over(std::int64_t now_us) const { return now_us - since_us_ > kLifeUs; }
    ConstBytes hello() const { return ConstBytes(hello_).first(length_); }
    const Address& from() const { return from_; }

  private:
    std::array<std::byte, kMaxHello> hello_;
    std::size_t length_ = 0;
    Address from_;
    std::int64_t since_us_ = 0;
};

}  // namespace hushwire
