// DTLS handshakes pass through here, datagram by datagram: up as transient events, down as requests. What is
// in them is the controller's business.
#include "control/controller.hpp"
#include "core/packet_kind.hpp"

namespace hushwire::control {

Controller::Outcome Controller::send_dtls(const std::shared_ptr<Request>& request, const Fields& fields,
                                          BridgeEntry& bridge) {
    constexpr std::size_t kMaxDatagrams = 64;
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    std::vector<ConstBytes> datagrams;
    for (const auto& field : fields.all()) {
        if (field.tag != Tag::datagram) continue;
        if (packet_kind(field.value) != PacketKind::dtls)
            return Refusal{Status::invalid, "a datagram is not one of DTLS"};
        datagrams.push_back(field.value);
    }
    if (datagrams.size() > kMaxDatagrams) return Refusal{Status::invalid, "too many datagrams at once"};
    // The request is held because the datagrams lie in it.
    return on_worker(*request, bridge,
                     [leg, request, datagrams, id = bridge.id](io::Worker& worker, Bridge& target,
                                                               FrameWriter&) -> Outcome {
                         std::array<std::byte, Bridge::kBuffer> buffer;
                         for (auto datagram : datagrams) {
                             std::ranges::copy(datagram, buffer.begin());
                             auto forward = target.send_dtls(leg, std::span(buffer).first(datagram.size()));
                             if (!forward)
                                 return Refusal{Status::state, "the leg has no place to send DTLS to now"};
                             worker.send(id, *forward);
                         }
                         return std::nullopt;
                     });
}

void Controller::dtls_datagram(const Uuid& bridge, unsigned leg, ConstBytes datagram) {
    tell_transient(EventType::dtls_datagram, [&](FrameWriter& out) {
        out.put(Tag::bridge, ConstBytes(bridge))
            .put(Tag::leg, static_cast<std::uint8_t>(leg))
            .put(Tag::datagram, datagram);
    });
}

}  // namespace hushwire::control
