#include "core/mixer.hpp"

#include <algorithm>
#include <bit>

namespace hushwire {
namespace {

constexpr std::uint16_t bit(unsigned leg) {
    return static_cast<std::uint16_t>(1U << leg);
}

constexpr std::int64_t kRestSteps = 50;   // a second: a party that listens for signs of life gets one
constexpr std::int64_t kKeyUs = 150'000;  // without another packet of it, a key is let go

/// Nothing above this can be heard by anybody: the highest rate that both ends of some pair carry.
unsigned mix_rate(const std::array<Mixer::Seat, Mixer::kLegs>& seats) {
    unsigned rate = 8000;
    for (const auto& seat : seats) {
        const auto* mine = seat.formats.audio();
        if (!mine || !seat.hears) continue;
        for (unsigned leg = 0; leg < Mixer::kLegs; leg++) {
            if (!(seat.hears & bit(leg))) continue;
            for (const auto& theirs : seats[leg].formats.all())
                if (theirs.is_audio())
                    rate = std::max(rate, std::min(codec::bandwidth_rate(mine->name),
                                                   codec::bandwidth_rate(theirs.name)));
        }
    }
    return rate;
}

}  // namespace

/// Encoder and what belongs to it; stays while the leg's codec and the mix's rate do.
struct Mixer::Mouth {
    struct PendingKey {
        std::array<std::byte, 4> payload{};
        std::uint32_t timestamp = 0;
        bool has_marker = false;
    };

    Mouth(const codec::Format& f, unsigned rate)
        : format(f),
          encoder(codec::make_encoder(f, rate)),
          resampler(rate, encoder->rate(), std::size_t{rate} * Voice::kFrameMs / 1000),
          limiter(rate),
          sums(std::size_t{rate} * Voice::kFrameMs / 1000),
          mixed(sums.size()),
          frames_per_packet(f.ptime_ms == 40   ? 2
                            : f.ptime_ms == 60 ? 3
                                               : 1),
          pcm(std::size_t{encoder->rate()} * Voice::kFrameMs / 1000 * frames_per_packet) {}

    codec::Format format;
    std::unique_ptr<codec::Encoder> encoder;
    Resampler resampler;
    Limiter limiter;
    std::vector<std::int32_t> sums;
    std::vector<std::int16_t> mixed;
    unsigned frames_per_packet;
    std::vector<std::int16_t> pcm;
    std::size_t gathered = 0;
    bool has_begun = false, is_spurt_start = true;
    bool is_resting = false;     ///< comfort noise stands in for what is heard
    std::int64_t rested_at = 0;  ///< the step of its last packet
    unsigned expected_loss = 5;  ///< percent; before the listener's first word
    std::uint64_t index = 0;
    std::array<PendingKey, 16> keys{};
    std::size_t key_first = 0, key_count = 0;
    unsigned key_from = kLegs;  ///< whose key is being passed on
    std::uint32_t key_run = 0, key_timestamp = 0;
};

class Mixer::Listener final : public Playout {
  public:
    Listener(Mixer& mixer, unsigned leg) : mixer_(mixer), leg_(leg), step_(mixer.step_ + 1) {}

    std::int64_t due_us() const override { return mixer_.mouths_[leg_] ? mixer_.time_of(step_) : kNever; }
    Made make(std::int64_t now_us, Bytes payload) override;

  private:
    Made make_key(Mouth& mouth, Bytes payload);
    Made rest(Mouth& mouth, const codec::Format& noise, double level_dbov, std::int64_t step, Bytes payload);
    void mix(Mouth& mouth, std::uint16_t heard, bool is_sum);

    Mixer& mixer_;
    unsigned leg_;
    std::int64_t step_;
};

Mixer::Mixer(std::int64_t now_us) : origin_us_(now_us) {}
Mixer::~Mixer() = default;

std::uint16_t Mixer::arrange(const std::array<Seat, kLegs>& seats, std::int64_t now_us) {
    auto rate = mix_rate(seats);
    std::uint16_t speakers = 0, fresh = 0;
    for (const auto& seat : seats) speakers = static_cast<std::uint16_t>(speakers | seat.hears);
    for (unsigned leg = 0; leg < kLegs; leg++) {
        const auto& seat = seats[leg];
        bool is_same = rate == rate_ && seat.formats == seats_[leg].formats;
        const auto* audio = seat.formats.audio();
        if (!(speakers & bit(leg)) || !audio) {
            voices_[leg].reset();
        } else if (!voices_[leg] || !is_same) {
            voices_[leg] = std::make_unique<Voice>(seat.formats, rate);
            frames_[leg].assign(std::size_t{rate} * Voice::kFrameMs / 1000, 0);
        }
        if (!seat.hears || !audio) {
            mouths_[leg].reset();
        } else if (!mouths_[leg] || !is_same) {
            mouths_[leg] = std::make_unique<Mouth>(*audio, rate);
            fresh = static_cast<std::uint16_t>(fresh | bit(leg));
        }
    }
    rate_ = rate;
    seats_ = seats;
    step_ = std::max(step_, (now_us - origin_us_) / kStepUs);
    return fresh;
}

/// A loss is believed at once, and forgotten by halves: reports are seconds apart, and copies must be there
/// before the packets that they are for are lost.
void Mixer::expect_loss(unsigned leg, unsigned percent) {
    auto* mouth = mouths_[leg].get();
    if (!mouth) return;
    mouth->expected_loss = std::max(percent, mouth->expected_loss / 2);
    mouth->encoder->expect_loss(mouth->expected_loss);
}

std::unique_ptr<Playout> Mixer::listen(unsigned leg) {
    return std::make_unique<Listener>(*this, leg);
}

std::optional<VoiceReport> Mixer::report(unsigned leg) const {
    if (!voices_[leg]) return std::nullopt;
    return voices_[leg]->report();
}

void Mixer::heard(unsigned leg, const rtp::Header& header, ConstBytes plain, std::int64_t now_us) {
    auto* voice = voices_[leg].get();
    if (!voice) return;
    auto payload = plain.subspan(header.length);
    if (header.has_padding)
        payload = payload.first(payload.size() - std::to_integer<std::size_t>(plain.back()));
    const auto* format = voice->formats().find(header.payload_type);
    if (format && format->name == codec::Name::telephone_event)
        return press(leg, *format, header, payload, now_us);
    voice->heard(header, payload, now_us);
}

/// RFC 4733 section 2.5: the same event goes on under the time stamp of its beginning; a long one in
/// segments, each of which begins where the last ended. To each listener it goes with that stream's own time
/// and clock.
void Mixer::press(unsigned leg, const codec::Format& format, const rtp::Header& header, ConstBytes payload,
                  std::int64_t now_us) {
    if (payload.size() < 4) return;
    auto event = std::to_integer<std::uint8_t>(payload[0]);
    bool is_end = (std::to_integer<unsigned>(payload[1]) & 0x80) != 0;
    auto duration = load_be16(payload.data() + 2);
    auto& key = keys_[leg];
    auto since = header.timestamp - key.begin;
    bool goes_on = key.run && event == key.event && since <= key.length && (since == 0 || key.is_running);
    if (!goes_on)
        key = {
            .is_running = true, .event = event, .begin = header.timestamp, .length = 0, .run = key.run + 1};
    bool was_running = key.is_running;
    key.length = std::max(key.length, header.timestamp - key.begin + duration);
    key.is_running = was_running && !is_end;
    voices_[leg]->press_key(is_end ? now_us : now_us + kKeyUs);

    for (unsigned to = 0; to < kLegs; to++) {
        auto* mouth = mouths_[to].get();
        if (!mouth || !(seats_[to].hears & bit(leg))) continue;
        const auto* theirs = seats_[to].formats.event(mouth->format.clock_rate);
        if (!theirs || mouth->key_count == mouth->keys.size()) continue;
        bool is_new = mouth->key_from != leg || mouth->key_run != key.run;
        if (is_new) {
            mouth->key_from = leg;
            mouth->key_run = key.run;
            mouth->key_timestamp = static_cast<std::uint32_t>((step_ + 1) * mouth->format.clock_rate / 50);
        }
        auto length = std::uint64_t{key.length} * theirs->clock_rate / format.clock_rate;
        auto timestamp = mouth->key_timestamp;
        for (; length > 0xffff; length -= 0xffff) timestamp += 0xffff;
        auto& pending = mouth->keys[(mouth->key_first + mouth->key_count++) % mouth->keys.size()];
        std::copy_n(payload.begin(), 2, pending.payload.begin());
        store_be(pending.payload.data() + 2, static_cast<std::uint16_t>(length));
        pending.timestamp = timestamp;
        pending.has_marker = is_new;
    }
}

/// The loudest of those who speak where they are many; all where they are few.
std::uint16_t Mixer::choose(std::uint16_t heard) const {
    if (std::popcount(heard) <= static_cast<int>(kMaxAtOnce)) return heard;
    std::uint16_t chosen = 0;
    for (unsigned n = 0; n < kMaxAtOnce; n++) {
        const Voice* best = nullptr;
        unsigned best_leg = 0;
        for (unsigned leg = 0; leg < kLegs; leg++) {
            const auto* voice = voices_[leg].get();
            if (!(heard & bit(leg)) || (chosen & bit(leg)) || !voice || !voice->is_speaking()) continue;
            if (!best || voice->loudness() > best->loudness()) {
                best = voice;
                best_leg = leg;
            }
        }
        if (!best) break;
        chosen = static_cast<std::uint16_t>(chosen | bit(best_leg));
    }
    return chosen;
}

/// How loud the background is (dBov) where none of these speaks; nothing where somebody does.
std::optional<double> Mixer::silence(std::uint16_t heard) const {
    std::optional<double> level;
    for (unsigned leg = 0; leg < kLegs; leg++) {
        if (!(heard & bit(leg)) || !voices_[leg]) continue;
        if (voices_[leg]->is_speaking()) return std::nullopt;
        level = std::max(level.value_or(-127), voices_[leg]->background_dbov());
    }
    return level;
}

void Mixer::advance(std::int64_t step) {
    if (step <= step_) return;
    step_ = step;
    for (unsigned leg = 0; leg < kLegs; leg++)
        if (voices_[leg]) voices_[leg]->pull(frames_[leg], time_of(step));
}

Playout::Made Mixer::Listener::make_key(Mouth& mouth, Bytes payload) {
    auto& pending = mouth.keys[mouth.key_first];
    mouth.key_first = (mouth.key_first + 1) % mouth.keys.size();
    mouth.key_count--;
    std::ranges::copy(pending.payload, payload.begin());
    const auto* theirs = mixer_.seats_[leg_].formats.event(mouth.format.clock_rate);
    mouth.is_spurt_start = true;
    return {{.index = mouth.index++,
             .timestamp = pending.timestamp,
             .clock_rate = mouth.format.clock_rate,
             .payload_type = theirs->payload_type,
             .has_marker = pending.has_marker},
            pending.payload.size()};
}

/// RFC 3389 section 4: a packet where the silence begins and now and then within it, nothing between them;
/// the level below overload is all that it says. Speech begins with a marker again.
Playout::Made Mixer::Listener::rest(Mouth& mouth, const codec::Format& noise, double level_dbov,
                                    std::int64_t step, Bytes payload) {
    mouth.gathered = 0;
    mouth.is_spurt_start = true;
    if (mouth.is_resting && step - mouth.rested_at < kRestSteps) return {};
    mouth.is_resting = true;
    mouth.rested_at = step;
    payload[0] = static_cast<std::byte>(std::clamp(-level_dbov, 0.0, 127.0));
    return {{.index = mouth.index++,
             .timestamp = static_cast<std::uint32_t>(step * mouth.format.clock_rate / 50),
             .clock_rate = mouth.format.clock_rate,
             .payload_type = noise.payload_type,
             .has_marker = false},
            1};
}

/// The frame of what is heard, in `mixed`. A sum is behind a single voice by the limiter's 5 ms: who may hear
/// several stays with sums.
void Mixer::Listener::mix(Mouth& mouth, std::uint16_t heard, bool is_sum) {
    if (!is_sum) {
        std::ranges::copy(mixer_.frames_[static_cast<unsigned>(std::countr_zero(heard))],
                          mouth.mixed.begin());
        return;
    }
    std::ranges::fill(mouth.sums, 0);
    auto chosen = mixer_.choose(heard);
    for (unsigned leg = 0; leg < kLegs; leg++) {
        if (!(chosen & bit(leg)) || !mixer_.voices_[leg]) continue;
        const auto& frame = mixer_.frames_[leg];
        for (std::size_t i = 0; i < frame.size(); i++) mouth.sums[i] += frame[i];
    }
    mouth.limiter.run(mouth.sums, mouth.mixed);
}

Playout::Made Mixer::Listener::make(std::int64_t now_us, Bytes payload) {
    auto* mouth = mixer_.mouths_[leg_].get();
    if (!mouth) return {};
    if (mouth->key_count) return make_key(*mouth, payload);
    // Behind the others (a prompt was played instead), or the thread stopped: what was missed is left out.
    step_ = std::max(step_, mixer_.step_);
    if (now_us - mixer_.time_of(step_) > kTooLateUs) step_ = (now_us - mixer_.origin_us_) / kStepUs;
    mixer_.advance(step_);
    auto step = step_++;

    auto hears = mixer_.seats_[leg_].hears;
    bool has_key = false;
    std::uint16_t heard = 0;
    for (unsigned leg = 0; leg < kLegs; leg++) {
        const auto* voice = mixer_.voices_[leg].get();
        if (!(hears & bit(leg)) || !voice) continue;
        if (voice->is_key_pressed(mixer_.time_of(step))) {
            has_key = true;
            continue;
        }
        if (voice->has_begun()) heard = static_cast<std::uint16_t>(heard | bit(leg));
    }
    if (!heard || (has_key && std::has_single_bit(hears))) {
        mouth->is_spurt_start = true;  // nobody yet, or a key stands in for the audio
        mouth->gathered = 0;
        return {};
    }
    mix(*mouth, heard, !std::has_single_bit(hears));
    auto frame = mouth->encoder->rate() * Voice::kFrameMs / 1000;
    mouth->resampler.run(mouth->mixed, codec::Samples(mouth->pcm).subspan(mouth->gathered * frame, frame));
    if (const auto* noise = mixer_.seats_[leg_].formats.noise(mouth->format.clock_rate)) {
        if (auto level = mixer_.silence(heard)) return rest(*mouth, *noise, *level, step, payload);
        mouth->is_resting = false;
    }
    if (++mouth->gathered < mouth->frames_per_packet) return {};
    auto first_step = step + 1 - static_cast<std::int64_t>(mouth->gathered);
    mouth->gathered = 0;
    auto length = mouth->encoder->encode(mouth->pcm, payload);
    if (!length) {
        mouth->is_spurt_start = true;
        return {};
    }
    bool has_marker = mouth->is_spurt_start;
    mouth->is_spurt_start = false;
    return {{.index = mouth->index++,
             .timestamp = static_cast<std::uint32_t>(first_step * mouth->format.clock_rate / 50),
             .clock_rate = mouth->format.clock_rate,
             .payload_type = mouth->format.payload_type,
             .has_marker = has_marker},
            length};
}

}  // namespace hushwire
