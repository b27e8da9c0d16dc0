#include "control/sounds.hpp"

#include <openssl/evp.h>

#include <algorithm>

namespace hushwire::control {
namespace {

SoundId digest(const SoundClock& clock, ConstBytes data) {
    std::array<std::byte, 8> head;
    store_be(head.data(), clock.rate);
    store_be(head.data() + 4, clock.frame_samples);
    SoundId id{};
    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
    if (!context || EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) != 1
        || EVP_DigestUpdate(context.get(), head.data(), head.size()) != 1
        || EVP_DigestUpdate(context.get(), data.data(), data.size()) != 1
        || EVP_DigestFinal_ex(context.get(), uchars(id.data()), nullptr) != 1)
        id.fill(std::byte{0});
    return id;
}

}  // namespace

std::shared_ptr<const Sound> Sounds::find(const SoundId& id) {
    auto at = whole_.find(id);
    if (at == whole_.end()) return nullptr;
    at->second.used = ++uses_;
    return at->second.sound;
}

std::size_t Sounds::size() {
    std::erase_if(played_on_, [](const auto& sound) { return sound.expired(); });
    std::size_t bytes = 0;
    for (const auto& [id, entry] : whole_) bytes += entry.sound->size();
    for (const auto& [id, entry] : loading_) bytes += entry.total;
    for (const auto& weak : played_on_)
        if (auto sound = weak.lock()) bytes += sound->size();
    return bytes;
}

void Sounds::forget(std::map<SoundId, Whole>::iterator at) {
    played_on_.emplace_back(at->second.sound);
    whole_.erase(at);
}

/// The sounds that nobody plays make room, the one first that was used longest ago.
bool Sounds::make_room(std::size_t bytes) {
    while (size() + bytes > kMaxBytes) {
        auto oldest = whole_.end();
        for (auto at = whole_.begin(); at != whole_.end(); ++at)
            if (at->second.sound.use_count() == 1
                && (oldest == whole_.end() || at->second.used < oldest->second.used))
                oldest = at;
        if (oldest == whole_.end()) return false;
        forget(oldest);
    }
    return true;
}

std::optional<Refusal> Sounds::load(const SoundId& id, const Part& part, bool& is_whole) {
    is_whole = find(id) != nullptr;
    if (is_whole) return std::nullopt;
    if (!part.total || part.total > Sound::kMaxBytes) return Refusal{Status::limit, "the sound is too long"};
    if (part.offset > part.total || part.data.size() > part.total - part.offset)
        return Refusal{Status::invalid, "the part lies outside the sound"};
    auto at = loading_.find(id);
    if (!part.offset) {
        if (at != loading_.end()) loading_.erase(at);
        if (loading_.size() >= kMaxLoading || !make_room(part.total))
            return Refusal{Status::limit, "no room for the sound"};
        at = loading_.emplace(id, Loading{part.clock, part.total, {}}).first;
        at->second.data.reserve(part.total);
    }
    if (at == loading_.end() || at->second.data.size() != part.offset || at->second.total != part.total
        || !(at->second.clock == part.clock))
        return Refusal{Status::state, "the part does not follow the one before"};
    auto& data = at->second.data;
    data.insert(data.end(), part.data.begin(), part.data.end());
    if (data.size() < part.total) return std::nullopt;

    auto clock = at->second.clock;
    auto bytes = std::move(data);
    loading_.erase(at);
    if (digest(clock, bytes) != id) return Refusal{Status::invalid, "the sound is not what its name says"};
    auto sound = Sound::read(clock, std::move(bytes));
    if (!sound) return Refusal{Status::invalid, "the sound's frames can't be read"};
    whole_[id] = Whole{std::move(sound), ++uses_};
    is_whole = true;
    return std::nullopt;
}

bool Sounds::unload(const SoundId& id) {
    loading_.erase(id);
    auto at = whole_.find(id);
    if (at == whole_.end()) return false;
    forget(at);
    return true;
}

}  // namespace hushwire::control
