#include "core/voice.hpp"

#include <algorithm>
#include <cmath>

namespace hushwire {
namespace {

constexpr std::int64_t kFasterAboveUs = 25'000, kSlowerBelowUs = -8'000;
constexpr unsigned kPaceEvery = 2;       // frames between two changes of pace, at least
constexpr double kLikeEnough = 0.6;      // correlation from which a pitch period may be left out or repeated
constexpr double kQuiet = 40.0 * 40.0;   // mean square (-58 dBov) below which anything may
constexpr double kSpeech = 60.0 * 60.0;  // -55 dBov
constexpr unsigned kHangover = 15;

/// Crosses over from `from` to `to`.
void blend(const std::int16_t* from, const std::int16_t* to, std::int16_t* out, std::size_t n) {
    for (std::size_t i = 0; i < n; i++) {
        float in = (static_cast<float>(i) + 0.5F) / static_cast<float>(n);
        out[i] = static_cast<std::int16_t>(
            std::lround(static_cast<float>(from[i]) * (1 - in) + static_cast<float>(to[i]) * in));
    }
}

}  // namespace

Voice::Voice(const Formats& formats, unsigned rate)
    : formats_(formats),
      rate_(rate),
      concealer_(rate),
      noise_(rate),
      decoded_(codec::kMaxPacketSamples),
      queue_(std::size_t{rate} * (2 * codec::kMaxPacketMs + 4 * kFrameMs) / 1000) {
    for (const auto& format : formats.all()) {
        if (!format.is_audio() || source_count_ == kSources) continue;
        auto& source = sources_[source_count_++];
        source.format = format;
        source.decoder = codec::make_decoder(format, rate);
        source.resampler = std::make_unique<Resampler>(
            source.decoder->rate(), rate, std::size_t{source.decoder->rate()} * codec::kMaxPacketMs / 1000);
    }
    const auto* audio = formats.audio();
    buffer_ = std::make_unique<JitterBuffer>(JitterBuffer::Options{
        .clock_rate = audio ? audio->clock_rate : 8000, .max_payload = codec::kMaxPayload});
}

Voice::Source* Voice::source(std::uint8_t payload_type) {
    for (std::size_t i = 0; i < source_count_; i++)
        if (sources_[i].format.payload_type == payload_type) return &sources_[i];
    return nullptr;
}

void Voice::heard(const rtp::Header& header, ConstBytes payload, std::int64_t now_us) {
    const auto* format = formats_.find(header.payload_type);
    if (!format || format->name == codec::Name::telephone_event || payload.empty()) return;
    // Another clock counts other time: the stream begins anew (RFC 7160 section 4 says not to mix them).
    if (format->is_audio() && format->clock_rate != buffer_->options().clock_rate)
        buffer_->restart(format->clock_rate);
    buffer_->put(header, payload, now_us);
    has_begun_ = true;
}

void Voice::take(const JitterBuffer::Next& item) {
    auto* from = source(item.payload_type);
    if (!from) {  // comfort noise: it says how the silence sounds that begins here
        noise_.describe(item.payload);
        buffer_->pause();
        return;
    }
    current_ = from;
    auto count = from->decoder->decode(item.payload, decoded_);
    auto clock = from->format.clock_rate;
    if (!count) {  // none of this codec: its time passes as a loss
        buffer_->advance(clock * kFrameMs / 1000);
        return;
    }
    buffer_->advance(static_cast<std::uint32_t>(std::uint64_t{count} * clock / from->decoder->rate()));
    auto before = waiting_;
    auto room = codec::Samples(queue_).subspan(waiting_);
    if (count * rate_ / from->decoder->rate() > room.size()) return;
    waiting_ += from->resampler->run(codec::ConstSamples(decoded_).first(count), room);
    packet_samples_ = waiting_ - before;
    concealer_.good(codec::Samples(queue_).subspan(before, packet_samples_));
    // libopus makes the noise of a pause itself; what follows such a packet is silence, not loss.
    if (from->format.name == codec::Name::opus && item.payload.size() <= 2) buffer_->pause();
}

/// One packet's worth of what is missing, at most: from the next packet's copy, or guessed.
std::size_t Voice::bridge_gap(const JitterBuffer::Next& item) {
    auto* next = source(item.payload_type);
    auto* from = current_ ? current_ : next;
    if (!from) return 0;
    auto clock = buffer_->options().clock_rate;
    auto missing = static_cast<std::size_t>(std::uint64_t{item.missing} * rate_ / clock);
    auto usual = packet_samples_ ? packet_samples_ : rate_ * kFrameMs / 1000;
    auto count = std::min({missing, usual, queue_.size() - waiting_});
    auto out = codec::Samples(queue_).subspan(waiting_, count);
    bool is_opus = from->format.name == codec::Name::opus && from->decoder->rate() == rate_;
    auto grid = std::max<std::size_t>(rate_ / 400, 1);  // libopus conceals in steps of 2.5 ms
    if (is_opus && next == from && missing <= usual && count % grid == 0 && count
        && from->decoder->recover(item.payload, out)) {
        recovered_samples_ += count;
        concealer_.good(out);
    } else if (is_opus && count && count % grid == 0 && from->decoder->conceal(out)) {
        concealed_samples_ += count;
        concealer_.good(out);
    } else {
        concealed_samples_ += count;
        concealer_.conceal(out);
    }
    waiting_ += count;
    buffer_->advance(static_cast<std::uint32_t>(std::uint64_t{count} * clock / rate_));
    return count;
}

/// Decodes until `wanted` samples wait; returns how many do. Less where the source is silent.
std::size_t Voice::fill(std::int64_t now_us, std::size_t wanted) {
    for (int steps = 0; waiting_ < wanted && steps < 32; steps++) {
        auto item = buffer_->next(now_us);
        switch (item.kind) {
            case JitterBuffer::Kind::packet: take(item); break;
            case JitterBuffer::Kind::lost:
                if (!bridge_gap(item)) return waiting_;
                break;
            case JitterBuffer::Kind::empty: {
                auto count = wanted - waiting_;
                auto out = codec::Samples(queue_).subspan(waiting_, count);
                auto grid = std::max<std::size_t>(rate_ / 400, 1);
                bool is_done = current_ && current_->format.name == codec::Name::opus && count % grid == 0
                               && current_->decoder->conceal(out);
                if (is_done) {
                    concealer_.good(out);
                } else {
                    concealer_.conceal(out);
                }
                concealed_samples_ += count;
                waiting_ += count;
                buffer_->hold(static_cast<std::int64_t>(count) * 1'000'000 / rate_);
                break;
            }
            case JitterBuffer::Kind::silence: return waiting_;
        }
    }
    return waiting_;
}

/// One pitch period left out where too much waits, or repeated where too little does: time changes, pitch
/// does not.
void Voice::keep_pace(std::int64_t now_us) {
    if (++since_paced_ < kPaceEvery) return;
    auto excess_us = buffer_->excess_us(now_us, waiting_us());
    bool is_faster = excess_us > kFasterAboveUs;
    if (!is_faster && excess_us >= kSlowerBelowUs) return;
    auto frame = std::size_t{rate_} * kFrameMs / 1000;
    for (int packets = 0; packets < 4 && waiting_ < 2 * frame && buffer_->has_next(); packets++)
        take(buffer_->next(now_us));
    auto pcm = codec::ConstSamples(queue_).first(waiting_);
    auto pitch = find_pitch(pcm, rate_);
    auto period = pitch.lag ? pitch.lag : std::size_t{rate_} * 8 / 1000;
    if (2 * period > waiting_ || waiting_ + period > queue_.size()) return;
    if (pitch.likeness < kLikeEnough && power(pcm.last(2 * period)) > kQuiet) return;
    since_paced_ = 0;
    auto* last = queue_.data() + waiting_ - period;  // the two periods at the end, which `pitch` was found in
    auto* first = last - period;
    if (is_faster) {
        if (waiting_ - period < frame) return;
        blend(first, last, first, period);
        waiting_ -= period;
    } else {
        std::copy_n(last, period, last + period);
        blend(last + period, first, last, period);
        waiting_ += period;
    }
}

void Voice::pull(codec::Samples frame, std::int64_t now_us) {
    if (is_key_pressed(now_us)) {
        buffer_->pause();
        waiting_ = 0;
        std::ranges::fill(frame, std::int16_t{0});
        hangover_ = 0;
        concealer_.forget();
        was_silent_ = true;
        return;
    }
    auto ready = std::min(fill(now_us, frame.size()), frame.size());
    if (ready == frame.size()) {
        keep_pace(now_us);
        was_silent_ = false;
    } else if (!was_silent_) {
        // Speech ends within the frame: it fades out under the noise that follows.
        was_silent_ = true;
        concealer_.conceal(codec::Samples(queue_).subspan(ready, frame.size() - ready));
        for (auto i = ready; i < frame.size(); i++)
            queue_[i] = static_cast<std::int16_t>(queue_[i] * static_cast<int>(frame.size() - i)
                                                  / static_cast<int>(frame.size()));
        waiting_ = ready = frame.size();
        concealer_.forget();
    }
    if (ready < frame.size()) {
        std::copy_n(queue_.begin(), ready, frame.begin());
        noise_.fill(frame.subspan(ready));
        waiting_ = 0;
    } else {
        std::copy_n(queue_.begin(), frame.size(), frame.begin());
        std::copy(queue_.begin() + static_cast<std::ptrdiff_t>(frame.size()),
                  queue_.begin() + static_cast<std::ptrdiff_t>(waiting_), queue_.begin());
        waiting_ -= frame.size();
        noise_.observe(frame);
    }
    judge(frame);
}

void Voice::judge(codec::ConstSamples frame) {
    auto now = was_silent_ ? 0 : power(frame);
    loudness_ = 0.8 * loudness_ + 0.2 * now;
    if (now > kSpeech) {
        hangover_ = kHangover;
    } else if (hangover_) {
        hangover_--;
    }
}

VoiceReport Voice::report() const {
    return {.concealed_ms = concealed_samples_ * 1000 / rate_,
            .recovered_ms = recovered_samples_ * 1000 / rate_,
            .late = buffer_->counters().late,
            .delay_us = buffer_->target_us()};
}

}  // namespace hushwire
