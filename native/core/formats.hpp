// What codecs a leg speaks.
#pragma once
#include <array>
#include <span>

#include "core/codec.hpp"

namespace hushwire {

/// The codecs agreed for a leg, in order of preference: the first that is audio is sent to it.
struct Formats {
    static constexpr std::size_t kMax = 16;
    std::array<codec::Format, kMax> list{};
    std::size_t count = 0;

    bool operator==(const Formats&) const = default;
    std::span<const codec::Format> all() const { return std::span(list).first(count); }
    const codec::Format* audio() const;  ///< the first that is
    const codec::Format* find(std::uint8_t payload_type) const;
    const codec::Format* event(
        std::uint32_t clock_rate) const;  ///< telephone-event, of this clock if there is one
    const codec::Format* noise(std::uint32_t clock_rate) const;  ///< comfort noise of this clock (RFC 3389)
    bool shares_audio(const Formats& other) const;
};

}  // namespace hushwire
