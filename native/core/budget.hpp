// How much of something is granted: token buckets in virtual time, for one holder and for strangers by
// address. No clock, no allocation after construction.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/address.hpp"
#include "core/hash.hpp"

namespace hushwire {

/// So many a second in the long run, so many at once.
struct Allowance {
    std::uint32_t per_s = 1;
    std::uint32_t burst = 1;
    std::int64_t cost_us() const { return 1'000'000 / std::max<std::int64_t>(per_s, 1); }
};

/// A bucket that stores only when it will be full again (the generic cell rate algorithm, ITU-T I.371).
class Budget {
  public:
    /// Takes `count` tokens where the bucket holds them; takes nothing otherwise.
    bool take(std::int64_t now_us, const Allowance& allowance, std::uint32_t count = 1) {
        auto from = std::max(full_at_us_, now_us);
        auto cost = allowance.cost_us();
        if (from + cost * count - now_us > cost * std::max(allowance.burst, 1U)) return false;
        full_at_us_ = from + cost * count;
        return true;
    }
    bool has(std::int64_t now_us, const Allowance& allowance) const {
        auto copy = *this;
        return copy.take(now_us, allowance);
    }
    /// Takes `count` tokens even where there are fewer: then the bucket is in debt.
    void charge(std::int64_t now_us, const Allowance& allowance, std::uint32_t count) {
        full_at_us_ = std::max(full_at_us_, now_us) + allowance.cost_us() * count;
    }

  private:
    std::int64_t full_at_us_ = 0;
};

/// A bucket for each address that nothing is known of. The table is fixed: of two addresses that fall on one
/// place the newer takes it over with a full bucket, so that whoever holds the budgets for something costly
/// needs one for all strangers together beside it.
class StrangerBudgets {
  public:
    static constexpr std::size_t kPlaces = 1024;

    StrangerBudgets(const HashKey& key, const Allowance& each) : key_(key), each_(each), places_(kPlaces) {}

    bool has(const Address& from, std::int64_t now_us) const {
        auto hash = key_(from);
        const auto& place = places_[hash % kPlaces];
        return place.hash != hash || place.bucket.has(now_us, each_);
    }
    void charge(const Address& from, std::int64_t now_us, std::uint32_t count) {
        auto hash = key_(from);
        auto& place = places_[hash % kPlaces];
        if (place.hash != hash) place = {hash, {}};
        place.bucket.charge(now_us, each_, count);
    }

  private:
    struct Place {
        std::uint64_t hash = 0;
        Budget bucket;
    };
    HashKey key_;
    Allowance each_;
    std::vector<Place> places_;
};

}  // namespace hushwire
