#include "core/sound.hpp"

namespace hushwire {

Sound::Sound(const SoundClock& clock, std::vector<std::byte> packed, std::vector<std::uint32_t> offsets)
    : clock_(clock), packed_(std::move(packed)), offsets_(std::move(offsets)) {}

std::shared_ptr<const Sound> Sound::read(const SoundClock& clock, std::vector<std::byte> packed) {
    if (clock.rate < 8000 || clock.rate > 192'000 || packed.size() > kMaxBytes) return nullptr;
    // A clock whose frames are shorter could make hushwire a flood; longer ones are no RTP of voice (RFC
    // 7587: at most 120 ms).
    auto frame_us = std::uint64_t{clock.frame_samples} * 1'000'000 / clock.rate;
    if (frame_us < 2'000 || frame_us > 120'000) return nullptr;
    std::vector<std::uint32_t> offsets;
    ByteReader reader(packed);
    while (reader.remaining()) {
        auto at = static_cast<std::uint32_t>(packed.size() - reader.remaining());
        auto length = reader.integer<std::uint16_t>();
        if (!length || !*length || *length > kMaxFrame || !reader.take(*length)) return nullptr;
        offsets.push_back(at);
    }
    if (offsets.empty()) return nullptr;
    offsets.shrink_to_fit();
    packed.shrink_to_fit();
    return std::shared_ptr<const Sound>(new Sound(clock, std::move(packed), std::move(offsets)));
}

}  // namespace hushwire
