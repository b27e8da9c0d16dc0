// STUN and the ICE agent: raw datagrams, and messages with any attributes at all that carry the right (or a
// wrong) integrity and fingerprint, from anywhere, while time passes and credentials change. Without our
// password nothing is ever selected.
#include "core/stun.hpp"

#include "core/ice.hpp"
#include "fuzz/fuzz.hpp"

using namespace hushwire;

namespace {

constexpr std::string_view kPassword = "0123456789abcdefghijkl", kOther = "abcdefghijkl0123456789";

ice::Settings credentials(unsigned generation) {
    return {generation ? "loc2" : "locl", "rmte", Secret<ice::kMaxPassword>(as_bytes(kPassword))};
}

Address address(std::uint8_t host) {
    std::array<std::byte, 16> raw{std::byte{10}, std::byte{0}, std::byte{0},
                                  static_cast<std::byte>(host & 7)};
    bool is_v4 = (host & 0x40) == 0;
    return {*Ip::from(std::span(raw).first(is_v4 ? 4 : 16)), static_cast<std::uint16_t>(4000 + (host >> 7))};
}

/// Everything that reads, over a buffer that ends where the datagram does.
std::optional<stun::Message> read(ConstBytes datagram) {
    static const auto key = stun::integrity_key(as_bytes(kPassword));
    auto fragment = stun::peek_local_ufrag(datagram);
    auto message = stun::parse(datagram);
    if (!message) return std::nullopt;
    CLAIM(message->unknown_count <= stun::kMaxUnknown);
    if (message->integrity_at) CLAIM(*message->integrity_at < datagram.size());
    if (fragment && message->username) CLAIM(message->username->starts_with(*fragment));
    stun::has_integrity(datagram, *message, key);
    return message;
}

class Agent {
  public:
    void step(fuzz::Input& input) {
        switch (input.byte() % 4) {
            case 0: offer(input.byte(), fuzz::exact(input.piece()), false); break;
            case 1:
            case 2: written(input); break;
            case 3: pass_time(input); break;
        }
    }

  private:
    void written(fuzz::Input& input) {
        auto steer = input.byte();
        stun::TransactionId id{};
        id[0] = static_cast<std::byte>(input.byte());
        std::vector<std::byte> out(1200);
        stun::Writer writer(out, static_cast<stun::Class>(steer & 3), steer & 0x80 ? 2 : stun::kBinding, id);
        if (steer & 4) writer.username(steer & 8 ? "locl:rmte" : "loc2:rmte");
        for (int count = input.byte() % 12; count > 0; count--) {
            static constexpr std::uint16_t kTypes[] = {
                stun::kUsername,         stun::kErrorCode,      stun::kUnknownAttributes,
                stun::kXorMappedAddress, stun::kPriority,       stun::kUseCandidate,
                stun::kIceControlled,    stun::kIceControlling, stun::kFingerprint,
                stun::kMessageIntegrity, stun::kRealm};
            auto which = input.byte();
            auto type = which < 220 ? kTypes[which % std::size(kTypes)] : input.integer<std::uint16_t>();
            writer.attribute(type, input.bytes(input.byte() % 40));
        }
        bool is_ours = (steer & 0x10) == 0;
        if (steer & 0x20) writer.integrity(is_ours ? right_ : wrong_);
        if (steer & 4 && input.flag()) writer.attribute(stun::kUseCandidate, {});
        auto size = steer & 0x40 ? writer.fingerprint() : writer.size();
        out.resize(size);
        offer(input.byte(), out, (steer & 0x20) != 0 && is_ours);
    }

    void offer(std::uint8_t host, std::vector<std::byte> datagram, bool may_be_proven) {
        datagram.shrink_to_fit();
        auto message = read(datagram);
        auto length = std::min(datagram.size(), std::size_t{1500});
        std::vector<std::byte> buffer(std::max(length, stun::kMaxAnswer));
        std::copy_n(datagram.begin(), length, buffer.begin());
        auto before = agent_.selected();
        auto answer = agent_.receive(address(host), buffer, length, now_us_);
        CLAIM(answer <= stun::kMaxAnswer);
        CLAIM(!answer || message);
        if (!may_be_proven && !was_proven_) CLAIM(!agent_.selected());
        if (agent_.selected() != before) CLAIM(agent_.has_checked(*agent_.selected(), now_us_));
        was_proven_ |= may_be_proven;
        if (!answer) return;
        auto ours = fuzz::exact(std::span(buffer).first(answer));
        auto parsed = read(ours);
        CLAIM(parsed && parsed->has_fingerprint && parsed->id == message->id);
        CLAIM(parsed->kind == stun::Class::success || parsed->kind == stun::Class::error);
        if (parsed->kind == stun::Class::success) {
            CLAIM(may_be_proven && stun::has_integrity(ours, *parsed, right_));
            CLAIM(parsed->mapped && *parsed->mapped == address(host));
        }
    }

    void pass_time(fuzz::Input& input) {
        now_us_ += input.integer<std::uint16_t>() * std::int64_t{1000};
        agent_.tick(now_us_);
        while (agent_.take_news(now_us_)) {
        }
        if (input.byte() % 4 == 0) agent_.set(credentials(input.byte() & 1), now_us_);
    }

    ice::Agent agent_{credentials(0)};
    stun::IntegrityKey right_ = stun::integrity_key(as_bytes(kPassword)),
                       wrong_ = stun::integrity_key(as_bytes(kOther));
    std::int64_t now_us_ = 1'000'000;
    bool was_proven_ = false;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    read(fuzz::exact(std::as_bytes(std::span(data, size))));
    fuzz::Input input(data, size);
    Agent agent;
    for (int steps = 0; steps < 60 && !input.is_empty(); steps++) agent.step(input);
    return 0;
}
