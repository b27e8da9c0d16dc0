// What SRTP costs: nanoseconds to protect and to open one packet, by suite. Not a test: figures differ from
// machine to machine. `build/native/bench/hushwire_srtp_bench [payload bytes] [packets]`.
#include "core/srtp.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "tests/packets.hpp"

using namespace hushwire;

namespace {

constexpr std::size_t kBatch = 64;

double now_ns() {
    return static_cast<double>(std::chrono::steady_clock::now().time_since_epoch()
                               / std::chrono::nanoseconds(1));
}

struct Cost {
    double protect_ns = 0, open_ns = 0;
};

/// The median of `rounds` batches: interruptions by other programs are not the cipher's cost.
Cost measure(srtp::Suite suite, std::size_t payload, std::size_t rounds) {
    srtp::Sender sender(test::master(suite, 1));
    srtp::Receiver receiver(test::master(suite, 1), nullptr);
    auto plain = test::rtp_packet(0, 0, 7, payload);
    std::vector<std::vector<std::byte>> packets(kBatch, plain);
    std::vector<double> protects, opens;
    std::uint64_t index = 0;
    for (std::size_t round = 0; round < rounds; round++) {
        for (auto& packet : packets) {
            packet.resize(plain.size() + srtp::kMaxTag);
            store_be(packet.data() + 2, static_cast<std::uint16_t>(index++));
        }
        auto begin = now_ns();
        for (std::size_t i = 0; i < kBatch; i++)
            packets[i].resize(sender.protect_rtp(packets[i], plain.size(), 12, index - kBatch + i));
        auto middle = now_ns();
        for (auto& packet : packets)
            if (receiver.open_rtp(packet, 12).outcome != srtp::Outcome::ok) std::abort();
        auto end = now_ns();
        protects.push_back((middle - begin) / kBatch);
        opens.push_back((end - middle) / kBatch);
    }
    std::ranges::nth_element(protects, protects.begin() + static_cast<std::ptrdiff_t>(rounds / 2));
    std::ranges::nth_element(opens, opens.begin() + static_cast<std::ptrdiff_t>(rounds / 2));
    return {protects[rounds / 2], opens[rounds / 2]};
}

const char* name(srtp::Suite suite) {
    switch (suite) {
        case srtp::Suite::aes_128_sha1_80: return "AES_CM_128_HMAC_SHA1_80";
        case srtp::Suite::aes_128_sha1_32: return "AES_CM_128_HMAC_SHA1_32";
        case srtp::Suite::aes_256_sha1_80: return "AES_256_CM_HMAC_SHA1_80";
        case srtp::Suite::aead_aes_128_gcm: return "AEAD_AES_128_GCM";
        case srtp::Suite::aead_aes_256_gcm: return "AEAD_AES_256_GCM";
    }
    return "?";
}

}  // namespace

int main(int argc, char** argv) {
    auto number = [&](int at, unsigned long absent) {
        return argc > at ? std::strtoul(argv[at], nullptr, 10) : absent;
    };
    auto payload = number(1, 160), packets = number(2, 1'000'000);
    std::printf("%-26s %12s %9s   (%lu bytes of payload)\n", "suite", "protect ns", "open ns", payload);
    for (auto suite : test::kSuites) {
        auto cost = measure(suite, payload, packets / kBatch);
        std::printf("%-26s %12.0f %9.0f\n", name(suite), cost.protect_ns, cost.open_ns);
    }
}
