// The demultiplexer and the bridge behind it: datagrams of any kind at any leg, from anywhere, while legs are
// re-set, players play and time goes on. What leaves is a whole packet inside the buffer, from an SSRC of
// ours, and under SRTP no index twice.
#include "core/bridge.hpp"

#include <map>
#include <memory>

#include "core/packet_kind.hpp"
#include "fuzz/fuzz.hpp"

using namespace hushwire;

namespace {

std::uint32_t state;  // begins anew with each input

std::uint32_t chance() {
    state = state * 1'664'525 + 1'013'904'223;
    return state;
}

Address address(std::uint8_t host) {
    std::array<std::byte, 4> raw{std::byte{10}, std::byte{0}, std::byte{0}, static_cast<std::byte>(host & 3)};
    return {*Ip::from(raw), static_cast<std::uint16_t>(4000 + (host >> 6))};
}

srtp::MasterKey master(srtp::Suite suite, std::uint8_t seed) {
    std::array<std::byte, 46> raw;
    for (auto& b : raw) b = static_cast<std::byte>(seed++ * 37 + 11);
    return {suite, Secret<46>(std::span(raw).first(srtp::key_size(suite) + srtp::salt_size(suite)))};
}

constexpr std::string_view kPassword = "0123456789abcdefghijkl";

/// So many packets, one each 20 ms.
class Tone final : public Playout {
  public:
    Tone(std::int64_t begin_us, int count) : due_us_(begin_us), left_(count) {}
    std::int64_t due_us() const override { return left_ ? due_us_ : kNever; }
    Made make(std::int64_t, Bytes payload) override {
        left_--;
        due_us_ += 20'000;
        payload[0] = std::byte{1};
        return {{.index = index_++, .timestamp = static_cast<std::uint32_t>(index_ * 160)}, 1};
    }

  private:
    std::int64_t due_us_;
    std::uint64_t index_ = 0;
    int left_;
};

class Call {
  public:
    explicit Call(fuzz::Input& input) : bridge_(input.byte() % 4 ? Mode::relay : Mode::echo, chance) {
        auto legs = 1 + input.byte() % 3U;
        for (unsigned leg = 0; leg < legs; leg++) {
            bridge_.open_leg(leg);
            legs_++;
            set(leg, input);
        }
    }

    void step(fuzz::Input& input) {
        auto leg = input.byte() % legs_;
        switch (input.byte() % 10) {
            case 0:
            case 1: datagram(leg, input, input.piece()); break;
            case 2:
            case 3: packet(leg, input); break;
            case 4: set(leg, input); break;
            case 5: bridge_.set_hears(leg, input.integer<std::uint16_t>(), now_us_); break;
            case 6: now_us_ += input.integer<std::uint16_t>() * std::int64_t{100}; break;
            case 7:
                bridge_.tick(now_us_);
                while (bridge_.take_event()) {
                }
                bridge_.report(leg, now_us_);
                break;
            case 8: play(leg, input); break;
            case 9: handshake(leg, input); break;
        }
    }

  private:
    void set(unsigned leg, fuzz::Input& input) {
        LegSettings settings;
        auto steer = input.byte();
        settings.remote_rtp = address(input.byte());
        settings.remote_rtcp = address(input.byte());
        settings.is_muxed = (steer & 1) != 0;
        settings.may_learn = (steer & 2) != 0;
        settings.may_send = (steer & 0xc) != 0;
        settings.may_receive = (steer & 0x30) != 0;
        auto more = input.byte();
        settings.is_dtls = (more & 1) != 0;
        if (more & 2) settings.signalling_ip = address(input.byte()).ip;
        if ((more & 0xc) == 0xc && settings.is_muxed)
            settings.ice = ice::Settings{"locl", "rmte", Secret<ice::kMaxPassword>(as_bytes(kPassword))};
        if (more & 0x10) settings.media_timeout_ms = 20;
        if (auto suite = srtp::suite_from(input.byte() % 8)) {
            // A key for sending belongs to one leg and suite, as the gateway makes it.
            settings.send_key = master(*suite, static_cast<std::uint8_t>(0x80 + leg * 16 + (steer >> 6)));
            settings.recv_key = master(*suite, static_cast<std::uint8_t>(leg * 16 + (steer >> 6)));
            auto& sender = senders_[leg];
            if (!sender || !(sender->master() == *settings.recv_key))
                sender = std::make_unique<srtp::Sender>(*settings.recv_key);
        } else {
            senders_[leg].reset();
        }
        sends_with_[leg] = settings.send_key;
        bridge_.set_leg(leg, settings, now_us_);
    }

    void play(unsigned leg, fuzz::Input& input) {
        auto layer = static_cast<Layer>(input.byte() % 3);
        auto count = input.byte();
        bridge_.play(leg, count ? std::make_unique<Tone>(now_us_, count % 20) : nullptr, layer);
        produce();
    }

    void produce() {
        std::vector<std::byte> buffer(Bridge::kBuffer);
        for (int n = 0; n < 100 && bridge_.due_us() <= now_us_; n++)
            if (auto out = bridge_.produce(now_us_, buffer)) check(*out, buffer);
    }

    /// A check of the party's agent, then DTLS from there, and some of ours.
    void handshake(unsigned leg, fuzz::Input& input) {
        auto steer = input.byte();
        std::array<std::byte, 300> raw{};
        stun::TransactionId id{};
        id[0] = static_cast<std::byte>(input.byte());
        stun::Writer check(raw, stun::Class::request, stun::kBinding, id);
        check.username("locl:rmte").attribute(stun::kIceControlling, as_bytes("12345678"));
        check.attribute(stun::kPriority, as_bytes("1234"));
        if (steer & 1) check.attribute(stun::kUseCandidate, {});
        check.integrity(stun::integrity_key(as_bytes(steer & 6 ? kPassword : "another password of theirs")));
        datagram(leg, input, std::span(raw).first(check.fingerprint()));
        // A ClientHello: without ICE it is asked for a cookie, and comes again with one, perhaps not its own.
        auto cookie = input.bytes(steer >> 3 & 0x1f);
        std::array<std::byte, 13 + 12 + 36 + 31> hello{std::byte{22}, std::byte{0xfe}, std::byte{0xfd}};
        hello[12] = static_cast<std::byte>(12 + 2 + 32 + 2 + cookie.size() - (steer == 0xff));
        hello[13] = std::byte{1};
        hello[60] = static_cast<std::byte>(cookie.size());
        std::copy(cookie.begin(), cookie.end(), hello.begin() + 61);
        auto asked = datagram(leg, input, hello);
        if (asked.size() == dtls::Cookies::kRequest && hello[60] == std::byte{16}) {
            std::copy(asked.end() - 16, asked.end(), hello.begin() + 61);
            datagram(leg, input, hello);
        }
        if (auto out = bridge_.send_dtls(leg, hello))
            CLAIM(out->to.is_sendable() && out->data.data() == hello.data());
    }

    /// A packet such as the party itself would send: so that what lies behind the tag is reached too.
    void packet(unsigned leg, fuzz::Input& input) {
        auto steer = input.byte();
        std::array<std::byte, 256> raw{};
        auto body = input.bytes(steer & 0x3f);
        std::size_t length = 12 + body.size();
        std::copy(body.begin(), body.end(), raw.begin() + 12);
        auto& sender = senders_[leg];
        if (steer & 0x80) {
            // RTCP: the body has the whole compound but the head.
            std::copy(body.begin(), body.end(), raw.begin());
            length = std::max<std::size_t>(body.size(), 8);
            raw[0] = std::byte{0x80} | (raw[0] & std::byte{0x1f});
            raw[1] = static_cast<std::byte>(200 + (steer & 1));
            if (sender) length = sender->protect_rtcp(raw, length);
        } else {
            sequence_ = static_cast<std::uint16_t>(sequence_ + input.byte() % 4);
            raw[0] = std::byte{0x80};
            store_be(raw.data() + 2, sequence_);
            store_be(raw.data() + 8, std::uint32_t{steer} >> 6);
            if (sender) length = sender->protect_rtp(raw, length, 12, sequence_);
        }
        if (length) datagram(leg, input, std::span(raw).first(length));
    }

    /// What is answered at once.
    std::vector<std::byte> datagram(unsigned leg, fuzz::Input& input, ConstBytes bytes) {
        bytes = bytes.first(std::min(bytes.size(), Bridge::kBuffer));
        std::vector<std::byte> buffer(Bridge::kBuffer);
        std::copy(bytes.begin(), bytes.end(), buffer.begin());
        auto from = input.byte();
        auto out = bridge_.receive(leg, from & 4 ? Channel::rtcp : Channel::rtp, address(from), buffer,
                                   bytes.size(), now_us_);
        if (out) check(*out, buffer);
        auto answer = out ? std::vector(out->data.begin(), out->data.end()) : std::vector<std::byte>();
        produce();
        return answer;
    }

    void check(const Forward& out, Bytes buffer) {
        auto at = out.data.data() - buffer.data();
        CLAIM(at >= 0 && static_cast<std::size_t>(at) + out.data.size() <= buffer.size());
        CLAIM(out.leg < legs_ && out.data.size() >= 8 && out.to.is_sendable());
        if (packet_kind(out.data) == PacketKind::stun) return;  // an answer: see the target for STUN
        if (packet_kind(out.data) == PacketKind::dtls) {  // a HelloVerifyRequest: never more than was sent
            CLAIM(out.data.size() == dtls::Cookies::kRequest && out.data[13] == std::byte{3});
            return;
        }
        bool is_rtcp = rtp::looks_like_rtcp(out.data);
        CLAIM(is_rtcp || rtp::parse(out.data));
        auto ssrc = load_be32(out.data.data() + (is_rtcp ? 4 : 8));
        CLAIM(ssrc == bridge_.ssrc(out.leg));
        if (const auto& key = sends_with_[out.leg]) {
            auto bytes = key->key_and_salt.bytes();
            auto& receiver = receivers_[{{bytes.begin(), bytes.end()}, ssrc}];
            if (!receiver) receiver = std::make_unique<srtp::Receiver>(*key, nullptr);
            auto opened = is_rtcp ? receiver->open_rtcp(out.data) : receiver->open_rtp(out.data, 12);
            CLAIM(opened.outcome == srtp::Outcome::ok);
        }
    }

    Bridge bridge_;
    unsigned legs_ = 0;
    std::int64_t now_us_ = 0;
    std::uint16_t sequence_ = 0;
    std::map<unsigned, std::unique_ptr<srtp::Sender>> senders_;  // the parties'
    std::map<unsigned, std::optional<srtp::MasterKey>> sends_with_;
    /// By key and SSRC, and never forgotten: each takes an index once.
    std::map<std::pair<std::vector<std::byte>, std::uint32_t>, std::unique_ptr<srtp::Receiver>> receivers_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    state = 0;
    Call call(input);
    for (int steps = 0; steps < 200 && !input.is_empty(); steps++) call.step(input);
    return 0;
}
