// The E-model against the values of ITU-T G.107 itself, and what a leg makes of its counts.
#include <cmath>

#include "core/assessment.hpp"
#include "core/quality.hpp"
#include "tests/check.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

bool is_near(double value, double expected, double within) {
    return std::abs(value - expected) <= within;
}

}  // namespace

TEST("with G.107's default values R is 93.2 and MOS 4.41") {
    auto r = quality::rating({});
    CHECK(is_near(r, 93.2, 0.05));
    CHECK(is_near(quality::opinion(r), 4.41, 0.005));
}

TEST("R becomes MOS by annex B of G.107: the table of user satisfaction, and both ends") {
    for (auto [r, mos] : {std::pair{90.0, 4.34}, {80.0, 4.03}, {70.0, 3.60}, {60.0, 3.10}, {50.0, 2.58}})
        CHECK(is_near(quality::opinion(r), mos, 0.0101));
    CHECK(quality::opinion(0) == 1 && quality::opinion(-5) == 1);
    CHECK(quality::opinion(100) == 4.5 && quality::opinion(120) == 4.5);
    for (double r = 0; r < 100; r += 0.5) CHECK(quality::opinion(r) <= quality::opinion(r + 0.5));
}

TEST("delay costs what figure 1 of ITU-T G.114 shows: little to 150 ms, a grade at 250, the worst at 500") {
    // One-way delay in ms, R by the model with default values (computed apart from this code from the
    // formulas of G.107 section 7).
    for (auto [ms, r] : {std::pair{50.0, 91.76},
                         {100.0, 90.66},
                         {150.0, 89.54},
                         {200.0, 85.80},
                         {250.0, 79.18},
                         {300.0, 72.67},
                         {400.0, 62.25},
                         {500.0, 54.80}})
        CHECK(is_near(quality::rating({.one_way_ms = ms}), r, 0.01));
}

TEST("loss costs Ie,eff of G.107 section 7.5: without and with concealment, alone and in rows") {
    quality::Coding bare{0, 4.3, 0};
    auto r = [](double loss, const quality::Coding& coding, double burst_ratio = 1) {
        return quality::rating({.loss_percent = loss, .burst_ratio = burst_ratio, .coding = coding});
    };
    for (auto [loss, without, with] :
         {std::tuple{1.0, 75.28, 89.57}, {2.0, 63.05, 86.20}, {5.0, 42.13, 77.43}}) {
        CHECK(is_near(r(loss, bare), without, 0.01));
        CHECK(is_near(r(loss, quality::kG711), with, 0.01));
    }
    CHECK(is_near(r(5, quality::kG711, 2), 76.00, 0.01));
    // G.729A with voice activity detection: Ie 11, Bpl 19 (G.113 table I.3).
    CHECK(is_near(r(0, {11, 19, 0}), 82.21, 0.01));
}

TEST("the rating stays within 0 and 100 whatever comes in, and only falls with delay and loss") {
    for (double ms : {-5.0, 0.0, 1e9})
        for (double loss : {-1.0, 0.0, 100.0, 1e9})
            for (double burst : {-1.0, 0.0, 1.0, 1e9}) {
                auto r = quality::rating({.one_way_ms = ms, .loss_percent = loss, .burst_ratio = burst});
                CHECK(std::isfinite(r) && r >= 0 && r <= 100);
            }
    for (double ms = 0; ms < 1000; ms += 10)
        CHECK(quality::rating({.one_way_ms = ms + 10}) <= quality::rating({.one_way_ms = ms}));
    for (double loss = 0; loss < 50; loss++)
        CHECK(quality::rating({.loss_percent = loss + 1}) < quality::rating({.loss_percent = loss}));
}

TEST("the burst ratio is 1 for losses that lie alone, and grows with their rows") {
    CHECK(quality::burst_ratio(0, 0, 100) == 1);
    CHECK(quality::burst_ratio(2, 2, 100) == 1);
    CHECK(is_near(quality::burst_ratio(10, 5, 100), 1.8, 1e-9));
    CHECK(is_near(quality::burst_ratio(50, 10, 1000), 4.75, 1e-9));
    CHECK(quality::burst_ratio(99, 1, 100) == 1 || quality::burst_ratio(99, 1, 100) <= 8);
}

TEST("an interval says what came: loss, jitter, opinion; and the call keeps means and the worst") {
    Reception reception;
    Reporting reporting(chance);
    Assessment assessment;
    assessment.take_reception(reception, reporting, quality::kG711);
    CHECK(!assessment.has_latest() && !assessment.call().mean.mos_received);
    std::uint64_t index = 0;
    auto interval = [&](unsigned lose_every) {
        for (int i = 0; i < 250; i++, index++)
            if (!lose_every || index % lose_every)
                reception.received({1, 1}, index, static_cast<std::uint32_t>(index * 160), 8000,
                                   static_cast<std::int64_t>(index) * 20'000);
        assessment.take_reception(reception, reporting, quality::kG711);
    };
    interval(0);
    CHECK(assessment.latest().loss_received == 0 && assessment.latest().mos_received > 435);
    interval(10);
    CHECK(assessment.latest().loss_received >= 980 && assessment.latest().loss_received <= 1010);
    CHECK(assessment.latest().mos_received < 340 && assessment.latest().burst_ratio == 100);
    interval(0);
    auto call = assessment.call();
    CHECK(call.mos_received_worst < 340 && call.mean.mos_received > 390 && call.mean.mos_received < 420);
    CHECK(call.mean.loss_received >= 320 && call.mean.loss_received <= 340);
    CHECK(!call.mean.mos_heard && !call.mean.round_trip_us);
    // An interval in which nothing came says nothing.
    assessment.take_reception(reception, reporting, quality::kG711);
    CHECK(!assessment.has_latest());
}
