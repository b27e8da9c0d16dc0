// Which of the last indexes have been seen (RFC 3711 section 3.3.2). 256 packets: 5 s of voice, twice what
// libsrtp keeps.
#pragma once
#include <array>
#include <cstdint>

namespace hushwire {

class ReplayWindow {
  public:
    static constexpr std::uint64_t kSize = 256;

    /// True where the index was marked, or is too old to know.
    bool was_seen(std::uint64_t index) const {
        if (is_empty_ || index > top_) return false;
        if (top_ - index >= kSize) return true;
        return (words_[word(index)] & bit(index)) != 0;
    }
    void mark(std::uint64_t index) {
        if (is_empty_) {
            is_empty_ = false;
            top_ = index;
        } else if (index > top_) {
            if (index - top_ >= kSize) {
                words_.fill(0);
            } else {
                for (std::uint64_t i = top_ + 1; i <= index; i++) words_[word(i)] &= ~bit(i);
            }
            top_ = index;
        } else if (top_ - index >= kSize) {
            return;
        }
        words_[word(index)] |= bit(index);
    }
    bool is_empty() const { return is_empty_; }
    std::uint64_t top() const { return top_; }

  private:
    static std::size_t word(std::uint64_t i) { return static_cast<std::size_t>((i % kSize) / 64); }
    static std::uint64_t bit(std::uint64_t i) { return std::uint64_t{1} << (i % 64); }

    std::array<std::uint64_t, kSize / 64> words_{};
    std::uint64_t top_ = 0;
    bool is_empty_ = true;
};

}  // namespace hushwire
