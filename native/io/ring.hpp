// A bounded queue from one thread to one other, without locks or allocation.
#pragma once
#include <atomic>
#include <cstddef>
#include <optional>
#include <vector>

namespace hushwire::io {

template <typename T>
class Ring {
  public:
    explicit Ring(std::size_t capacity) : slots_(capacity + 1) {}

    /// The producing thread. False when full.
    bool push(T value) {
        auto head = head_.load(std::memory_order_relaxed);
        auto next = head + 1 == slots_.size() ? 0 : head + 1;
        if (next == tail_.load(std::memory_order_acquire)) return false;
        slots_[head] = value;
        head_.store(next, std::memory_order_release);
        return true;
    }
    /// The consuming thread.
    std::optional<T> pop() {
        auto tail = tail_.load(std::memory_order_relaxed);
        if (tail == head_.load(std::memory_order_acquire)) return std::nullopt;
        T value = slots_[tail];
        tail_.store(tail + 1 == slots_.size() ? 0 : tail + 1, std::memory_order_release);
        return value;
    }

  private:
    std::vector<T> slots_;
    alignas(64) std::atomic<std::size_t> head_{0};
    alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace hushwire::io
