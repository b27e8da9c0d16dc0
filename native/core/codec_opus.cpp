#include "core/codec_opus.hpp"

#include <opus.h>

#include <algorithm>
#include <array>
#include <stdexcept>

namespace hushwire::codec::opus {
namespace {

/// What a call needs: beyond it the ear gains nothing, and the processor loses (docs/transcoding.md).
constexpr int kComplexity = 5;

/// Without a word of the listener: what makes libopus carry copies at all.
constexpr unsigned kUsualLoss = 5;

std::vector<std::max_align_t> memory(int size) {
    return std::vector<std::max_align_t>(static_cast<std::size_t>(size) / sizeof(std::max_align_t) + 1);
}

void check(int error) {
    if (error != OPUS_OK) throw std::runtime_error("libopus refused its settings");
}

/// Whether a packet carries a copy of the one before (RFC 6716 section 4.2.4: the LBRR flag follows one voice
/// flag per SILK frame of 20 ms; both are coded so that they are plain bits of the first byte). libopus tells
/// only since 1.4.
bool has_copy(ConstBytes packet) {
    if (packet.size() < 2 || std::to_integer<unsigned>(packet[0]) >= 0x80) return false;  // CELT only
    unsigned char toc = 0;
    std::array<const unsigned char*, 48> frames{};
    std::array<opus_int16, 48> sizes{};
    int offset = 0;
    auto count = opus_packet_parse(uchars(packet.data()), static_cast<opus_int32>(packet.size()), &toc,
                                   frames.data(), sizes.data(), &offset);
    if (count < 1 || sizes[0] < 1) return false;
    auto silk_frames = std::max(opus_packet_get_samples_per_frame(uchars(packet.data()), 48'000) / 960, 1);
    return ((*frames[0] >> (7 - silk_frames)) & 1) != 0;
}

opus_int32 bit_rate(unsigned rate) {
    return rate <= 8000 ? 24'000 : rate <= 16'000 ? 32'000 : 40'000;
}

}  // namespace

Decoder::Decoder(unsigned rate) : rate_(rate), memory_(memory(opus_decoder_get_size(1))) {
    check(opus_decoder_init(state(), static_cast<opus_int32>(rate), 1));
}

std::size_t Decoder::samples(ConstBytes payload) const {
    if (payload.empty()) return 0;
    auto count = opus_packet_get_nb_samples(uchars(payload.data()), static_cast<opus_int32>(payload.size()),
                                            static_cast<opus_int32>(rate_));
    return count > 0 ? static_cast<std::size_t>(count) : 0;
}

std::size_t Decoder::decode(ConstBytes payload, Samples out) {
    if (payload.empty()) return 0;
    auto count = opus_decode(state(), uchars(payload.data()), static_cast<opus_int32>(payload.size()),
                             out.data(), static_cast<int>(out.size()), 0);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
}

bool Decoder::recover(ConstBytes next, Samples out) {
    if (!has_copy(next)) return false;
    return opus_decode(state(), uchars(next.data()), static_cast<opus_int32>(next.size()), out.data(),
                       static_cast<int>(out.size()), 1)
           == static_cast<int>(out.size());
}

bool Decoder::conceal(Samples out) {
    return opus_decode(state(), nullptr, 0, out.data(), static_cast<int>(out.size()), 0)
           == static_cast<int>(out.size());
}

Encoder::Encoder(unsigned rate, bool with_fec, bool with_dtx)
    : rate_(rate), memory_(memory(opus_encoder_get_size(1))) {
    check(opus_encoder_init(state(), static_cast<opus_int32>(rate), 1, OPUS_APPLICATION_VOIP));
    check(opus_encoder_ctl(state(), OPUS_SET_COMPLEXITY(kComplexity)));
    check(opus_encoder_ctl(state(), OPUS_SET_BITRATE(bit_rate(rate))));
    check(opus_encoder_ctl(state(), OPUS_SET_SIGNAL(OPUS_SIGNAL_VOICE)));
    check(opus_encoder_ctl(state(), OPUS_SET_INBAND_FEC(with_fec ? 1 : 0)));
    check(opus_encoder_ctl(state(), OPUS_SET_DTX(with_dtx ? 1 : 0)));
    if (with_fec) Encoder::expect_loss(kUsualLoss);
}

std::size_t Encoder::encode(ConstSamples pcm, Bytes out) {
    auto size = opus_encode(state(), pcm.data(), static_cast<int>(pcm.size()),
                            reinterpret_cast<unsigned char*>(out.data()),
                            static_cast<opus_int32>(std::min(out.size(), kMaxPayload)));
    // "if the return value is 2 bytes or less, then the packet does not need to be transmitted" (DTX)
    return size > 2 ? static_cast<std::size_t>(size) : 0;
}

void Encoder::expect_loss(unsigned percent) {
    percent = std::min(percent, 30U);
    if (percent == loss_percent_) return;
    loss_percent_ = percent;
    opus_encoder_ctl(state(), OPUS_SET_PACKET_LOSS_PERC(static_cast<opus_int32>(percent)));
}

}  // namespace hushwire::codec::opus
