// A leg's quality over time: every five seconds what came and what is heard, and at the end the whole call's
// means and worst. Figures of one interval need both legs, so they are given in two steps by the bridge.
#pragma once
#include <optional>

#include "core/quality.hpp"
#include "core/reporting.hpp"
#include "core/statistics.hpp"

namespace hushwire {

/// Shares are of 10,000; scores are MOS times 100. What is not known is absent.
struct LegQuality {
    std::optional<std::uint32_t> round_trip_us;  ///< between hushwire and the party
    std::optional<std::uint16_t> loss_received;  ///< of what the party sent, lost on its way to hushwire
    std::optional<std::uint16_t>
        loss_reported;            ///< of what it was to hear, lost on its way to it, as it says
    std::uint32_t jitter_us = 0;  ///< of what came
    std::optional<std::uint32_t> remote_jitter_us;  ///< of what the party receives, as it says
    std::uint16_t burst_ratio = 100;                ///< of what came, times 100
    std::optional<std::uint16_t> mos_received;      ///< how the party sounds here
    std::optional<std::uint16_t> mos_heard;         ///< how the call sounds to the party
};

/// The whole call: means over the intervals, and the worst interval.
struct CallQuality {
    LegQuality mean;
    std::optional<std::uint32_t> round_trip_max_us;
    std::uint32_t jitter_max_us = 0;
    std::optional<std::uint16_t> mos_received_worst, mos_heard_worst;
};

/// What one leg adds to what the other hears.
struct Uplink {
    double loss = 0;  ///< 0 .. 1
    double burst_ratio = 1;
    double one_way_ms = 0;  ///< from the party to hushwire
};

class Assessment {
  public:
    static constexpr std::int64_t kIntervalUs = 5'000'000;

    /// Ends an interval: what came on this leg. Nothing is known where nothing was expected.
    void take_reception(const Reception& reception, const Reporting& reporting,
                        const quality::Coding& coding);
    /// How it sounds to this party, `from` being whom it hears (null: several, or nobody); `is_relayed`: gaps
    /// of the source are passed on, so that the party's own report tells the loss of the whole way.
    void take_hearing(const Reporting& reporting, const quality::Coding& coding, const Uplink* from,
                      bool is_relayed, std::int64_t now_us);
    const Uplink& uplink() const { return uplink_; }
    const LegQuality& latest() const { return latest_; }
    /// True where the last interval said anything at all.
    bool has_latest() const { return latest_.loss_received || latest_.loss_reported; }
    CallQuality call() const;

  private:
    class Mean {
      public:
        void add(double value) { sum_ += value, count_++; }
        template <typename T>
        std::optional<T> value() const {
            if (!count_) return std::nullopt;
            return static_cast<T>(sum_ / count_ + 0.5);
        }

      private:
        double sum_ = 0;
        unsigned count_ = 0;
    };

    Reception::Totals before_;
    Uplink uplink_;
    LegQuality latest_;
    Mean round_trip_, loss_received_, loss_reported_, jitter_, remote_jitter_, burst_ratio_, mos_received_,
        mos_heard_;
    CallQuality worst_;  // of which only the worst figures are kept
};

}  // namespace hushwire
