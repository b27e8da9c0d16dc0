#include "core/reporting.hpp"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace hushwire {
namespace {

/// Section 6.2: two parties and a voice stream never need more than the least interval.
constexpr double kIntervalUs = 5e6;
/// Section 6.3.1: what makes up for the reconsideration of timers, e - 3/2.
constexpr double kCompensation = 1.21828;
constexpr std::int64_t kMaxRoundTripUs = 10'000'000;
/// So many packets (one second) sent and not heard of are no chance.
constexpr std::uint32_t kEnoughPackets = 50;
constexpr std::uint32_t kFewPackets = 5;

/// Time as reports tell it, in 1/65,536 s.
std::uint32_t since(std::int64_t then_us, std::int64_t now_us) {
    return static_cast<std::uint32_t>(std::min<std::int64_t>(now_us - then_us, 65'535'000'000) * 65536
                                      / 1'000'000);
}

}  // namespace

Reporting::Reporting(Random random) : random_(random) {
    // RFC 7022 section 4.2: a short-term name that says nothing of anybody.
    static constexpr char digits[] = "0123456789abcdef";
    for (auto& c : name_) c = static_cast<std::byte>(digits[random_() & 15]);
}

void Reporting::arm(std::int64_t now_us, bool is_first) {
    double share = 0.5 + static_cast<double>(random_()) / 4294967296.0;
    due_us_ = now_us + static_cast<std::int64_t>(kIntervalUs * (is_first ? 0.5 : 1) * share / kCompensation);
}

void Reporting::begin(std::int64_t now_us) {
    if (due_us_ == kNever) arm(now_us, true);
}

/// All that is known of our stream ends with its SSRC.
void Reporting::follow(const SentStream& sent) {
    if (sent.ssrc == ssrc_) return;
    ssrc_ = sent.ssrc;
    packets_at_report_ = packets_at_report_before_ = 0;
    report_us_ = -1;
    sent_reports_ = {};
    lost_before_ += std::exchange(lost_under_ssrc_, 0);
    heard_highest_.reset();
    packets_at_hearing_ = 0;
    reports_without_block_ = 0;
    is_deaf_ = false;
}

/// The stream's clock now. What is relayed arrives with jitter, and the clock that we tell must not swing
/// with it: receivers set their play-out by it.
std::uint32_t Reporting::timestamp_now(const SentStream& sent, std::int64_t now_us) {
    auto ticks = [&](std::int64_t us) {
        return static_cast<std::uint32_t>(us * static_cast<std::int64_t>(sent.clock_rate) / 1'000'000);
    };
    auto timestamp = sent.last_timestamp + ticks(now_us - sent.last_us);
    if (report_us_ >= 0) {
        auto expected = report_timestamp_ + ticks(now_us - report_us_);
        auto difference = static_cast<std::int32_t>(timestamp - expected);
        if (std::abs(difference) < static_cast<std::int32_t>(sent.clock_rate / 5))
            timestamp = expected + static_cast<std::uint32_t>(difference / 4);
    }
    report_timestamp_ = timestamp;
    report_us_ = now_us;
    return timestamp;
}

std::size_t Reporting::write(const SentStream& sent, Reception& reception, std::int64_t now_us,
                             std::int64_t unix_us, bool says_goodbye, Bytes out) {
    follow(sent);
    rtcp::Compound compound{.ssrc = sent.ssrc, .name = name_, .says_goodbye = says_goodbye};
    auto ntp = rtcp::ntp_of(unix_us);
    // Section 6.4: a sender report from who has sent since the last report but one.
    if (sent.packets != packets_at_report_before_)
        compound.sender = rtcp::SenderInfo{ntp, timestamp_now(sent, now_us), sent.packets, sent.octets};
    // Who sends extended reports is sent what its clock and ours need for the round trip (RFC 3611
    // sections 4.4 and 4.5), since some of them leave it out of their plain reports.
    if (speaks_extended_) {
        compound.reference = ntp;
        if ((compound.since_theirs = their_reference_))
            compound.since_theirs->delay = since(their_reference_us_, now_us);
    }
    if (compound.sender || compound.reference)
        sent_reports_[next_sent_report_++ % sent_reports_.size()] = {rtcp::middle(ntp)};
    packets_at_report_before_ = std::exchange(packets_at_report_, sent.packets);
    if (auto report = reception.take_report()) {
        rtcp::Block block{*report, 0, 0};
        if (heard_us_ >= 0 && heard_ssrc_ == report->ssrc) {
            block.last_sr = heard_middle_;
            block.delay_since_last_sr = since(heard_us_, now_us);
        }
        compound.block = block;
    }
    has_written_ = true;
    arm(now_us, false);
    return rtcp::write(compound, out);
}

void Reporting::hear(ConstBytes compound, const SentStream& sent, std::uint64_t received, std::int64_t now_us,
                     std::int64_t unix_us) {
    follow(sent);
    auto heard = rtcp::read(compound, sent.ssrc);
    if (heard.has_extended) hear_extended(heard, now_us, unix_us);
    if (!heard.has_report) return;
    if (heard.sender) hear_sender(heard, received, now_us);
    judge_hearing(heard, sent);
    if (heard.about_us) hear_block(*heard.about_us, sent, now_us, unix_us);
}

void Reporting::hear_sender(const rtcp::Heard& heard, std::uint64_t received, std::int64_t now_us) {
    if (heard_us_ >= 0 && heard.ssrc == heard_ssrc_) {
        auto sent = heard.sender->packets - heard_packets_;
        if (sent <= received - received_at_heard_ + kFewPackets) meant_silence_us_ = now_us;
    }
    heard_ssrc_ = heard.ssrc;
    heard_middle_ = rtcp::middle(heard.sender->ntp);
    heard_packets_ = heard.sender->packets;
    received_at_heard_ = received;
    heard_us_ = now_us;
}

/// Section 6.4: a block stands in a report for each source that was heard since the one before.
void Reporting::judge_hearing(const rtcp::Heard& heard, const SentStream& sent) {
    bool was_much_sent = sent.packets - packets_at_hearing_ >= kEnoughPackets;
    if (heard.about_us) {
        bool has_advanced = heard_highest_ != heard.about_us->highest;
        if (has_advanced) is_deaf_ = false;
        if (!has_advanced && was_much_sent) is_deaf_ = true;
        if (has_advanced || was_much_sent) packets_at_hearing_ = sent.packets;
        heard_highest_ = heard.about_us->highest;
        reports_without_block_ = 0;
    } else if (was_much_sent) {
        // Some never write a block: that is believed only when said twice.
        reports_without_block_++;
        if (heard_highest_ || reports_without_block_ >= 2) is_deaf_ = true;
        packets_at_hearing_ = sent.packets;
    }
}

void Reporting::hear_block(const rtcp::Block& block, const SentStream& sent, std::int64_t now_us,
                           std::int64_t unix_us) {
    lost_under_ssrc_ = static_cast<std::uint32_t>(std::max(block.cumulative_lost, 0));
    remote_ = RemoteView{
        block.fraction_lost, lost_before_ + lost_under_ssrc_,
        static_cast<std::uint32_t>(std::uint64_t{block.jitter} * 1'000'000 / sent.clock_rate), now_us};
    (void)note_trip(block.last_sr, block.delay_since_last_sr, unix_us);
}

/// The round trip of section 6.4.1, but only against a report that was really sent.
bool Reporting::note_trip(std::uint32_t last_sent, std::uint32_t delay, std::int64_t unix_us) {
    bool is_ours =
        last_sent && std::ranges::any_of(sent_reports_, [&](auto& r) { return r.middle == last_sent; });
    if (!is_ours) return false;
    auto trip = rtcp::middle(rtcp::ntp_of(unix_us)) - last_sent - delay;
    // A party whose clock runs a little fast against ours answers before it was asked.
    auto trip_us = std::int64_t{static_cast<std::int32_t>(trip)} * 1'000'000 / 65536;
    if (trip_us < -100'000 || trip_us > kMaxRoundTripUs) return false;
    round_trip_us_ = static_cast<std::uint32_t>(std::max<std::int64_t>(trip_us, 0));
    has_measured_trip_ = true;
    return true;
}

void Reporting::hear_extended(const rtcp::Heard& heard, std::int64_t now_us, std::int64_t unix_us) {
    speaks_extended_ = true;
    if (heard.reference) {
        their_reference_ = rtcp::ReferenceDelay{heard.extended_ssrc, *heard.reference, 0};
        their_reference_us_ = now_us;
    }
    if (heard.since_ours) (void)note_trip(heard.since_ours->last_reference, heard.since_ours->delay, unix_us);
    // What the party says of the round trip is believed only where it can't be measured.
    if (heard.metrics && heard.metrics->round_trip_ms && !has_measured_trip_)
        round_trip_us_ = std::uint32_t{heard.metrics->round_trip_ms} * 1000;
}

}  // namespace hushwire
