// From a key to the seats that it may mean. Open addressing with linear probing and backward-shift deletion
// (Knuth 6.4 R): no tombstones, and nothing is allocated but by `reserve`.
#pragma once
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/hash.hpp"
#include "core/prefetch.hpp"

namespace hushwire {

/// A leg's place at a shared port.
using Seat = std::uint32_t;
inline constexpr Seat kNoSeat = std::numeric_limits<Seat>::max();

template <typename Key>
class SeatTable {
  public:
    explicit SeatTable(const HashKey& hash) : hash_(hash), slots_(kSmallest) {}

    /// Room for so many entries at half load. May allocate.
    void reserve(std::size_t entries) {
        if (entries * 2 <= slots_.size()) return;
        std::size_t size = slots_.size();
        while (size < entries * 2) size *= 2;
        std::vector<Slot> old(size);
        old.swap(slots_);
        count_ = 0;
        for (const auto& slot : old)
            if (slot.seat != kNoSeat) insert(slot.key, slot.seat);
    }
    /// False where the table is too full: reserve first.
    bool insert(const Key& key, Seat seat) {
        if ((count_ + 1) * 4 > slots_.size() * 3) return false;
        auto at = home(key);
        while (slots_[at].seat != kNoSeat) at = next(at);
        slots_[at] = {key, seat};
        count_++;
        return true;
    }
    void erase(const Key& key, Seat seat) {
        auto at = home(key);
        for (; slots_[at].seat != kNoSeat; at = next(at))
            if (slots_[at].seat == seat && slots_[at].key == key) break;
        if (slots_[at].seat == kNoSeat) return;
        count_--;
        for (auto from = next(at); slots_[from].seat != kNoSeat; from = next(from)) {
            // An entry may fill the hole where its home lies at or before it.
            auto distance_home = (from - home(slots_[from].key)) & mask();
            if (((from - at) & mask()) > distance_home) continue;
            slots_[at] = slots_[from];
            at = from;
        }
        slots_[at] = {};
    }
    /// The first seat entered under the key, or kNoSeat.
    Seat find(const Key& key) const {
        for (auto at = home(key); slots_[at].seat != kNoSeat; at = next(at))
            if (slots_[at].key == key) return slots_[at].seat;
        return kNoSeat;
    }
    /// Asks for the memory that `find` will look at.
    void fetch(const Key& key) const { prefetch(&slots_[home(key)]); }
    /// Every seat under the key, until `visit` returns false.
    template <typename Visit>
    void each(const Key& key, Visit visit) const {
        for (auto at = home(key); slots_[at].seat != kNoSeat; at = next(at))
            if (slots_[at].key == key && !visit(slots_[at].seat)) return;
    }
    unsigned count(const Key& key) const {
        unsigned found = 0;
        each(key, [&](Seat) {
            found++;
            return true;
        });
        return found;
    }
    std::size_t size() const { return count_; }

  private:
    static constexpr std::size_t kSmallest = 16;
    struct alignas(std::bit_ceil(sizeof(Key) + sizeof(Seat))) Slot {  // never across two cache lines
        Key key{};
        Seat seat = kNoSeat;
    };
    std::size_t mask() const { return slots_.size() - 1; }
    std::size_t home(const Key& key) const { return static_cast<std::size_t>(hash_(key)) & mask(); }
    std::size_t next(std::size_t at) const { return (at + 1) & mask(); }

    HashKey hash_;
    std::vector<Slot> slots_;
    std::size_t count_ = 0;
};

}  // namespace hushwire
