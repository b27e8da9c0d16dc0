// SRTP: a sender and a receiver under one key, and a stranger between them who loses, repeats, changes and
// invents packets. What the receiver takes is what the sender sent, under its index, once.
#include "core/srtp.hpp"

#include <memory>
#include <set>
#include <tuple>

#include "core/rtp.hpp"
#include "fuzz/fuzz.hpp"

using namespace hushwire;

namespace {

struct Sent {
    std::vector<std::byte> sealed, plain;
    std::uint64_t index = 0;
    std::size_t header = 0;
    std::uint32_t ssrc = 0;
    bool is_rtcp = false;
};

srtp::MasterKey master(srtp::Suite suite, std::uint8_t seed) {
    std::array<std::byte, 46> raw;
    for (auto& b : raw) b = static_cast<std::byte>(seed++ * 37 + 11);
    return {suite, Secret<46>(std::span(raw).first(srtp::key_size(suite) + srtp::salt_size(suite)))};
}

class Talk {
  public:
    explicit Talk(srtp::Suite suite)
        : suite_(suite),
          sender_(master(suite, 1)),
          receiver_(new srtp::Receiver(master(suite, 1), nullptr)) {}

    void step(fuzz::Input& input) {
        switch (input.byte() % 8) {
            case 0:
            case 1: send_rtp(input); break;
            case 2: send_rtcp(input); break;
            case 3: deliver(input.byte()); break;
            case 4: change(input); break;
            case 5: invent(input.piece()); break;
            case 6: index_ += input.integer<std::uint16_t>() & 0x7fff; break;
            case 7: rekey(); break;
        }
    }

  private:
    /// The header's length, or 0 where it is none.
    static std::size_t header_of(ConstBytes packet) {
        auto header = rtp::parse(packet);
        return header ? header->length : 0;
    }

    void send_rtp(fuzz::Input& input) {
        auto steer = input.byte();
        auto payload = input.bytes(steer & 0x1f);
        std::vector<std::byte> plain(12 + (steer & 0x20 ? 4 : 0));
        plain[0] = static_cast<std::byte>(0x80 | (steer & 0x20 ? 1 : 0));
        index_ += steer >> 6;
        store_be(plain.data() + 2, static_cast<std::uint16_t>(index_));
        std::uint32_t ssrc = input.byte() & 15;  // more streams than a receiver knows
        store_be(plain.data() + 8, ssrc);
        auto header = plain.size();
        plain.insert(plain.end(), payload.begin(), payload.end());
        auto sealed = plain;
        sealed.resize(plain.size() + srtp::rtp_tag_size(suite_));
        auto length = sender_.protect_rtp(sealed, plain.size(), header, index_);
        CLAIM((length != 0) == protected_.insert(index_).second || length == 0);
        if (!length) return;
        CLAIM(length == sealed.size());
        sent_.push_back({sealed, plain, index_, header, ssrc, false});
        if (steer & 1) deliver(sent_.size() - 1);
    }

    void send_rtcp(fuzz::Input& input) {
        auto body = input.bytes(input.byte() & 0x1f);
        std::vector<std::byte> plain(8);
        plain[0] = std::byte{0x80};
        plain[1] = std::byte{201};
        std::uint32_t ssrc = input.byte() & 15;
        store_be(plain.data() + 4, ssrc);
        plain.insert(plain.end(), body.begin(), body.end());
        auto sealed = plain;
        sealed.resize(plain.size() + srtp::rtcp_trailer_size(suite_));
        CLAIM(sender_.protect_rtcp(sealed, plain.size()) == sealed.size());
        sent_.push_back({sealed, plain, rtcp_index_++, 0, ssrc, true});
        deliver(sent_.size() - 1);
    }

    void deliver(std::size_t which) {
        if (sent_.empty()) return;
        const auto& one = sent_[which % sent_.size()];
        auto packet = fuzz::exact(one.sealed);
        auto opened = one.is_rtcp ? receiver_->open_rtcp(packet) : receiver_->open_rtp(packet, one.header);
        if (opened.outcome != srtp::Outcome::ok) {
            CLAIM(packet == one.sealed);
            return;
        }
        CLAIM(opened.length == one.plain.size() && opened.index == one.index);
        CLAIM(std::ranges::equal(std::span(packet).first(opened.length), one.plain));
        CLAIM(taken_.insert({one.is_rtcp, one.ssrc, one.index}).second);
    }

    /// A packet with some of its bytes changed, or cut, is never taken.
    void change(fuzz::Input& input) {
        if (sent_.empty()) return;
        const auto& one = sent_[input.byte() % sent_.size()];
        auto packet = fuzz::exact(one.sealed);
        auto at = input.integer<std::uint16_t>() % packet.size();
        auto flip = input.byte();
        if (!flip)
            packet.resize(at);
        else
            packet[at] ^= static_cast<std::byte>(flip);
        offer(packet);
    }

    void invent(ConstBytes bytes) { offer(fuzz::exact(bytes)); }

    /// What nobody sealed is not taken, and is left as it was.
    void offer(std::vector<std::byte> packet) {
        packet.shrink_to_fit();
        auto before = packet;
        auto rtcp = receiver_->open_rtcp(packet);
        CLAIM(rtcp.outcome != srtp::Outcome::ok && packet == before);
        auto header = header_of(packet);
        if (!header) return;
        auto rtp = receiver_->open_rtp(packet, header);
        CLAIM(rtp.outcome != srtp::Outcome::ok && packet == before);
    }

    /// The same key anew, as after a re-keying by a sender that keeps its rollover counter.
    void rekey() {
        receiver_.reset(new srtp::Receiver(receiver_->master(), receiver_.get()));
        taken_.clear();
    }

    srtp::Suite suite_;
    srtp::Sender sender_;
    std::unique_ptr<srtp::Receiver> receiver_;
    std::uint64_t index_ = 0, rtcp_index_ = 0;
    std::set<std::uint64_t> protected_;
    std::set<std::tuple<bool, std::uint32_t, std::uint64_t>> taken_;
    std::vector<Sent> sent_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    auto suite = srtp::suite_from(input.byte() % 5 + 1U);
    CLAIM(suite && !srtp::suite_from(0) && !srtp::suite_from(6));
    Talk talk(*suite);
    for (int steps = 0; steps < 200 && !input.is_empty(); steps++) talk.step(input);
    return 0;
}
