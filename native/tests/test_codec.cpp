// The codecs against other implementations' vectors (tests/vectors/codecs) and the definitions of the
// Recommendations.
#include <cmath>
#include <fstream>
#include <numbers>

#include "core/codec_g711.hpp"
#include "core/codec_g722.hpp"
#include "core/codec_opus.hpp"
#include "core/resample.hpp"
#include "tests/check.hpp"

using namespace hushwire;
using namespace hushwire::test;

namespace {

std::vector<std::byte> vector_file(const std::string& name) {
    std::ifstream in(HUSHWIRE_VECTORS "/codecs/" + name, std::ios::binary);
    std::vector<char> raw((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    std::vector<std::byte> out(raw.size());
    std::memcpy(out.data(), raw.data(), raw.size());
    return out;
}

std::vector<std::int16_t> samples_of(const std::vector<std::byte>& raw) {
    std::vector<std::int16_t> out(raw.size() / 2);
    std::memcpy(out.data(), raw.data(), out.size() * 2);
    return out;
}

void matches_vectors(const std::string& name, codec::Encoder& encoder, codec::Decoder& decoder) {
    auto in = samples_of(vector_file(name + ".in"));
    auto coded = vector_file(name + ".coded"), out = vector_file(name + ".out");
    CHECK(in.size() > 10'000);
    std::vector<std::byte> ours(in.size());
    std::size_t length = 0;
    for (std::size_t at = 0; at < in.size(); at += 320)
        length += encoder.encode(std::span(in).subspan(at, std::min<std::size_t>(320, in.size() - at)),
                                 Bytes(ours).subspan(length));
    ours.resize(length);
    CHECK(ours == coded);
    std::vector<std::int16_t> decoded;
    std::array<std::int16_t, codec::kMaxPacketSamples> frame;
    for (std::size_t at = 0; at < coded.size(); at += 160) {
        auto count = decoder.decode(
            ConstBytes(coded).subspan(at, std::min<std::size_t>(160, coded.size() - at)), frame);
        decoded.insert(decoded.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(count));
    }
    CHECK(decoded == samples_of(out));
}

std::vector<std::int16_t> sine(double hz, unsigned rate, std::size_t count, double level = 10'000) {
    std::vector<std::int16_t> out(count);
    for (std::size_t i = 0; i < count; i++)
        out[i] = static_cast<std::int16_t>(
            std::lround(level * std::sin(2 * std::numbers::pi * hz * static_cast<double>(i) / rate)));
    return out;
}

/// Something that Opus takes for a voice: harmonics of a wavering pitch, louder and softer, with some noise.
std::vector<std::int16_t> babble(unsigned rate, std::size_t count) {
    std::vector<std::int16_t> out(count);
    for (std::size_t i = 0; i < count; i++) {
        double t = static_cast<double>(i) / rate, sum = 0;
        for (int h = 1; h < 20; h++)
            sum += std::sin(2 * std::numbers::pi * (120 + 10 * std::sin(3 * t)) * h * t) / h;
        out[i] = static_cast<std::int16_t>(3000 * sum * (0.6 + 0.4 * std::sin(15 * t))
                                           + static_cast<int>(chance() % 256) - 128);
    }
    return out;
}

/// The level of a frequency in a signal, in dB below a full sine.
double level_db(codec::ConstSamples pcm, double hz, unsigned rate) {
    double re = 0, im = 0;
    for (std::size_t i = 0; i < pcm.size(); i++) {
        double at = 2 * std::numbers::pi * hz * static_cast<double>(i) / rate;
        double window =
            0.5
            - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(pcm.size()));
        re += pcm[i] * window * std::cos(at);
        im += pcm[i] * window * std::sin(at);
    }
    return 20 * std::log10(std::hypot(re, im) * 4 / static_cast<double>(pcm.size()) / 32768 + 1e-9);
}

double total_db(codec::ConstSamples pcm) {
    double sum = 0;
    for (auto s : pcm) sum += double{static_cast<double>(s)} * s;
    return 10 * std::log10(sum / static_cast<double>(pcm.size()) * 2 / 32768 / 32768 + 1e-9);
}

}  // namespace

TEST("G.722 codes and decodes bit for bit as another implementation does") {
    codec::g722::Encoder encoder;
    codec::g722::Decoder decoder;
    matches_vectors("g722", encoder, decoder);
}

TEST("G.711 decodes bit for bit as another implementation does") {
    for (auto [law, name] :
         {std::pair{codec::g711::Law::mu, "pcm_mulaw"}, {codec::g711::Law::a, "pcm_alaw"}}) {
        auto coded = vector_file(std::string(name) + ".coded");
        auto out = samples_of(vector_file(std::string(name) + ".out"));
        codec::g711::Decoder decoder(law);
        std::vector<std::int16_t> decoded;
        std::array<std::int16_t, 160> frame;
        for (std::size_t at = 0; at < coded.size(); at += 160) {
            auto count = decoder.decode(
                ConstBytes(coded).subspan(at, std::min<std::size_t>(160, coded.size() - at)), frame);
            decoded.insert(decoded.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(count));
        }
        CHECK(!out.empty() && decoded == out);
    }
}

TEST("G.711's expanded values are those of its tables 1 and 2") {
    using namespace codec::g711;
    // The quantiser output values of the tables' first and last rows, scaled to 16 bits.
    CHECK(expand(Law::mu, 0xff) == 0 && expand(Law::mu, 0x7f) == 0);
    CHECK(expand(Law::mu, 0x80) == 8031 * 4 && expand(Law::mu, 0x00) == -8031 * 4);
    CHECK(expand(Law::mu, 0xfe) == 2 * 4 && expand(Law::mu, 0x8f) == 4191 * 4
          && expand(Law::mu, 0xef) == 33 * 4 - 2 * 0);
    CHECK(expand(Law::a, 0xd5) == 1 * 8 && expand(Law::a, 0x55) == -1 * 8);
    CHECK(expand(Law::a, 0xaa) == 4032 * 8 && expand(Law::a, 0x2a) == -4032 * 8);
}

TEST(
    "G.711's every code stands for the middle of the samples that it is chosen for, and survives a round "
    "trip") {
    // "y(n) = (x(n) + x(n - 1)) / 2": each output value lies halfway between the decision values beside it.
    using namespace codec::g711;
    for (auto law : {Law::mu, Law::a}) {
        std::array<int, 256> low, high;
        low.fill(1 << 20);
        high.fill(-(1 << 20));
        Encoder encoder(law);
        int before = -(1 << 20);
        for (int sample = -32768; sample <= 32767; sample++) {
            auto value = static_cast<std::int16_t>(sample);
            auto code = compress(law, value);
            std::byte by_table;
            encoder.encode(std::span(&value, 1), Bytes(&by_table, 1));
            CHECK(std::to_integer<std::uint8_t>(by_table) == code);
            low[code] = std::min(low[code], sample);
            high[code] = std::max(high[code], sample);
            CHECK(expand(law, code) >= before);
            before = expand(law, code);
        }
        int step = law == Law::mu ? 4 : 16;  // of the 14 or 12 bits that decide
        for (unsigned code = 0; code < 256; code++) {
            auto value = expand(law, static_cast<std::uint8_t>(code));
            // Minus zero of mu-law is chosen for the smallest negative samples, and decodes to plain zero.
            CHECK(compress(law, value) == code || (law == Law::mu && code == 0x7f));
            bool is_outermost = high[code] == 32767 || low[code] == -32768;
            bool is_mu_zero = law == Law::mu && (code & 0x7f) == 0x7f;
            if (is_outermost || is_mu_zero) continue;
            CHECK(std::abs(low[code] + high[code] - 2 * value) <= step);
        }
    }
}

TEST(
    "Opus carries a voice at every rate, recovers a lost packet from the next one's copy, and conceals "
    "without one") {
    for (unsigned rate : {8000U, 16'000U, 48'000U}) {
        codec::opus::Encoder encoder(rate, true, false);
        codec::opus::Decoder decoder(rate);
        encoder.expect_loss(20);
        auto frame = rate / 50;
        auto speech = babble(rate, frame * 100);
        std::vector<std::int16_t> heard;
        std::array<std::array<std::byte, codec::kMaxPayload>, 2> packets;
        std::array<std::int16_t, codec::kMaxPacketSamples> out;
        unsigned recovered = 0;
        for (std::size_t n = 0; n < 100; n++) {
            auto& packet = packets[n % 2];
            auto length = encoder.encode(std::span(speech).subspan(n * frame, frame), packet);
            CHECK(length > 8 && decoder.samples(ConstBytes(packet).first(length)) == frame);
            if (n % 10 == 5) continue;  // lost
            if (n % 10 == 6) {
                auto gap = std::span(out).first(frame);
                if (decoder.recover(ConstBytes(packet).first(length), gap)) {
                    recovered++;
                } else {
                    CHECK(decoder.conceal(gap));
                }
                heard.insert(heard.end(), gap.begin(), gap.end());
            }
            auto count = decoder.decode(ConstBytes(packet).first(length), out);
            CHECK(count == frame);
            heard.insert(heard.end(), out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count));
        }
        CHECK(recovered >= 4);
        auto settled = std::span(heard).subspan(frame * 10);
        CHECK(std::abs(total_db(settled) - total_db(std::span(speech).subspan(frame * 10))) < 3);
    }
}

TEST("decoders take any bytes: nothing is read or written outside, and what is no packet gives no samples") {
    std::array<std::int16_t, codec::kMaxPacketSamples> out;
    std::vector<std::byte> payload;
    codec::opus::Decoder opus(48'000);
    codec::g722::Decoder g722;
    codec::g711::Decoder pcmu(codec::g711::Law::mu);
    for (int n = 0; n < 3000; n++) {
        payload.resize(chance() % 1500);
        for (auto& b : payload) b = static_cast<std::byte>(chance());
        CHECK(opus.decode(payload, out) <= out.size());
        opus.recover(payload, std::span(out).first(960));
        CHECK(g722.decode(payload, out) == (payload.size() <= 960 ? 2 * payload.size() : 0));
        CHECK(pcmu.decode(payload, out) == (payload.size() <= 960 ? payload.size() : 0));
    }
}

TEST("the resampler passes speech flat and holds back what would fold or mirror, for every pair of rates") {
    for (auto [from, to] : {std::pair{8000U, 16'000U},
                            {8000U, 48'000U},
                            {16'000U, 48'000U},
                            {16'000U, 8000U},
                            {48'000U, 8000U},
                            {48'000U, 16'000U}}) {
        auto low = std::min(from, to);
        for (double share : {0.0375, 0.125, 0.25, 0.42}) {  // 300, 1,000, 2,000 and 3,360 Hz at 8 kHz
            double hz = share * low;
            Resampler resampler(from, to, from / 50);
            auto in = sine(hz, from, from);
            std::vector<std::int16_t> out(to);
            std::size_t written = 0;
            for (std::size_t at = 0; at < in.size(); at += from / 50)
                written +=
                    resampler.run(std::span(in).subspan(at, from / 50), std::span(out).subspan(written));
            CHECK(written == to);
            auto settled = codec::ConstSamples(out).subspan(to / 10);
            double before = level_db(in, hz, from), after = level_db(settled, hz, to);
            CHECK(std::abs(after - before) < 0.2);
            CHECK(std::abs(total_db(settled) - after)
                  < 0.05);  // nothing else is there: 19 dB below would show
        }
        if (from < to) continue;
        Resampler resampler(from, to, from / 50);
        auto in = sine(0.55 * low, from, from);  // 4,400 Hz into 8 kHz
        std::vector<std::int16_t> out(to);
        std::size_t written = 0;
        for (std::size_t at = 0; at < in.size(); at += from / 50)
            written += resampler.run(std::span(in).subspan(at, from / 50), std::span(out).subspan(written));
        CHECK(total_db(codec::ConstSamples(out).subspan(to / 10)) < total_db(in) - 50);
    }
}
