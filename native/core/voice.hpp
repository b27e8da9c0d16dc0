// What one leg says, as PCM by the clock: its packets through a jitter buffer and their decoder, gaps
// concealed, played a little faster or slower where the delay is not what it should be. Pure; allocates when
// made, never after.
#pragma once
#include <array>
#include <memory>
#include <vector>

#include "core/codec.hpp"
#include "core/conceal.hpp"
#include "core/formats.hpp"
#include "core/jitter.hpp"
#include "core/resample.hpp"
#include "core/statistics.hpp"

namespace hushwire {

class Voice {
  public:
    static constexpr unsigned kFrameMs = 20;

    Voice(const Formats& formats, unsigned rate);

    unsigned rate() const { return rate_; }
    const Formats& formats() const { return formats_; }
    /// A packet of audio or comfort noise; others are ignored.
    void heard(const rtp::Header& header, ConstBytes payload, std::int64_t now_us);
    /// The next 20 ms, at `rate`.
    void pull(codec::Samples frame, std::int64_t now_us);
    /// For as long as a key is pressed, nothing is expected and nothing is heard (RFC 4733 section 2.5.1.4).
    void press_key(std::int64_t until_us) { key_until_us_ = until_us; }
    bool is_key_pressed(std::int64_t now_us) const { return now_us < key_until_us_; }

    bool has_begun() const { return has_begun_; }
    /// Somebody speaks, or did within the last 300 ms.
    bool is_speaking() const { return hangover_ > 0; }
    double loudness() const { return loudness_; }  ///< smoothed mean square
    double background_dbov() const { return noise_.level_dbov(); }
    VoiceReport report() const;

  private:
    struct Source {
        codec::Format format;
        std::unique_ptr<codec::Decoder> decoder;
        std::unique_ptr<Resampler> resampler;
    };
    static constexpr std::size_t kSources = 4;

    Source* source(std::uint8_t payload_type);
    std::size_t fill(std::int64_t now_us, std::size_t wanted);
    void take(const JitterBuffer::Next& item);
    std::size_t bridge_gap(const JitterBuffer::Next& item);
    void keep_pace(std::int64_t now_us);
    std::int64_t waiting_us() const { return static_cast<std::int64_t>(waiting_) * 1'000'000 / rate_; }
    void judge(codec::ConstSamples frame);

    Formats formats_;
    unsigned rate_;
    std::array<Source, kSources> sources_;
    std::size_t source_count_ = 0;
    Source* current_ = nullptr;
    std::unique_ptr<JitterBuffer> buffer_;
    Concealer concealer_;
    ComfortNoise noise_;
    std::vector<std::int16_t> decoded_, queue_;  ///< queue_: at `rate_`, `waiting_` of them, not yet played
    std::size_t waiting_ = 0;
    std::size_t packet_samples_ = 0;  ///< of the last packet, at `rate_`
    std::int64_t key_until_us_ = 0;
    bool has_begun_ = false, was_silent_ = true;
    unsigned since_paced_ = 0, hangover_ = 0;
    double loudness_ = 0;
    std::uint64_t concealed_samples_ = 0, recovered_samples_ = 0;
};

}  // namespace hushwire
