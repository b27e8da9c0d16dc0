#include "core/formats.hpp"

#include <algorithm>

namespace hushwire {

const codec::Format* Formats::audio() const {
    auto found = std::ranges::find_if(all(), [](const auto& f) { return f.is_audio(); });
    return found == all().end() ? nullptr : &*found;
}

const codec::Format* Formats::find(std::uint8_t payload_type) const {
    for (const auto& f : all())
        if (f.payload_type == payload_type) return &f;
    return nullptr;
}

const codec::Format* Formats::event(std::uint32_t clock_rate) const {
    const codec::Format* any = nullptr;
    for (const auto& f : all()) {
        if (f.name != codec::Name::telephone_event) continue;
        if (f.clock_rate == clock_rate) return &f;
        if (!any) any = &f;
    }
    return any;
}

const codec::Format* Formats::noise(std::uint32_t clock_rate) const {
    for (const auto& f : all())
        if (f.name == codec::Name::comfort_noise && f.clock_rate == clock_rate) return &f;
    return nullptr;
}

bool Formats::shares_audio(const Formats& other) const {
    return std::ranges::any_of(all(), [&](const auto& mine) {
        return mine.is_audio() && std::ranges::any_of(other.all(), [&](const auto& theirs) {
                   return theirs.name == mine.name;
               });
    });
}

}  // namespace hushwire
