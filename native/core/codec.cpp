#include "core/codec.hpp"

#include "core/codec_g711.hpp"
#include "core/codec_g722.hpp"
#include "core/codec_opus.hpp"

namespace hushwire::codec {

unsigned bandwidth_rate(Name name) {
    switch (name) {
        case Name::g722: return 16'000;
        case Name::opus: return 48'000;
        case Name::pcmu:
        case Name::pcma:
        case Name::comfort_noise:
        case Name::telephone_event: break;
    }
    return 8000;
}

std::unique_ptr<Decoder> make_decoder(const Format& format, unsigned rate) {
    switch (format.name) {
        case Name::pcmu: return std::make_unique<g711::Decoder>(g711::Law::mu);
        case Name::pcma: return std::make_unique<g711::Decoder>(g711::Law::a);
        case Name::g722: return std::make_unique<g722::Decoder>();
        case Name::opus: return std::make_unique<opus::Decoder>(rate);
        case Name::comfort_noise:
        case Name::telephone_event: break;
    }
    return nullptr;
}

std::unique_ptr<Encoder> make_encoder(const Format& format, unsigned rate) {
    switch (format.name) {
        case Name::pcmu: return std::make_unique<g711::Encoder>(g711::Law::mu);
        case Name::pcma: return std::make_unique<g711::Encoder>(g711::Law::a);
        case Name::g722: return std::make_unique<g722::Encoder>();
        case Name::opus: return std::make_unique<opus::Encoder>(rate, format.wants_fec, format.may_pause);
        case Name::comfort_noise:
        case Name::telephone_event: break;
    }
    return nullptr;
}

}  // namespace hushwire::codec
