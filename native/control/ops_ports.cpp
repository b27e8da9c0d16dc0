// OPEN_LEG's choice of ports, REOPEN_LEG, GET_PORTS. The worker decides whether a shared port has room for a
// leg, since its demultiplexers know who is pending; a pair of own ports comes from the control thread's
// pool.
#include "control/controller.hpp"

namespace hushwire::control {

FrameWriter Controller::leg_reply(const Header& header, unsigned leg, std::uint16_t rtp,
                                  std::uint16_t rtcp) const {
    auto frame = ok(header);
    frame.put(Tag::leg, static_cast<std::uint8_t>(leg))
        .put(Tag::rtp_port, rtp)
        .put(Tag::rtcp_port, rtcp)
        .put(Tag::is_shared, static_cast<std::uint8_t>(rtp == rtcp))
        .put(Tag::local_ip, options_.local_ip.wire());
    return frame;
}

Controller::Outcome Controller::open_shared_leg(const Request& request, BridgeEntry& bridge, unsigned leg,
                                                const io::SharedWish& wish) {
    bridge.is_busy = true;  // what comes next for this bridge must find the leg open
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, leg, wish, to = request.connection, header = request.header] {
        auto port = target->open_leg(id, leg, wish);
        auto ssrc = port ? target->ssrc(id, leg) : 0;
        mailbox_.post([this, id, leg, port, ssrc, to, header] {
            auto* entry = find(id);
            if (!entry) return;
            if (port) {
                entry->legs[leg] = LegEntry{*port, 0};
                auto frame = leg_reply(header, leg, *port, *port);
                frame.put(Tag::ssrc, ssrc);
                reply(to, std::move(frame));
            } else if (auto refused = open_own_leg(to, header, *entry, leg)) {
                outlet_.send(to, refuse(header, *refused));
            }
            now_idle(id);
        });
    });
    return std::nullopt;
}

Controller::Outcome Controller::open_own_leg(ConnectionId to, const Header& header, BridgeEntry& bridge,
                                             unsigned leg) {
    auto pair = ports_.take();
    if (!pair) return Refusal{Status::no_ports, "no free pair of ports"};
    bridge.legs[leg] = LegEntry{pair->rtp_port, pair->rtp_port};
    auto frame = std::make_shared<FrameWriter>(leg_reply(header, leg, pair->rtp_port, pair->rtcp_port()));
    auto ports = std::make_shared<io::PortPair>(std::move(*pair));
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, leg, ports, frame, to] {
        target->open_leg(id, leg, std::move(*ports));
        frame->put(Tag::ssrc, target->ssrc(id, leg));
        mailbox_.post([this, frame, to] { reply(to, std::move(*frame)); });
    });
    return std::nullopt;
}

Controller::Outcome Controller::reopen_leg(const Request& request, const Fields& fields,
                                           BridgeEntry& bridge) {
    unsigned leg = fields.integer<std::uint8_t>(Tag::leg);
    if (leg >= Bridge::kMaxLegs || !bridge.legs[leg])
        return Refusal{Status::not_found, "the leg is not open"};
    if (bridge.legs[leg]->own_port) return Refusal{Status::state, "the leg has ports of its own already"};
    auto pair = ports_.take();
    if (!pair) return Refusal{Status::no_ports, "no free pair of ports"};
    bridge.legs[leg] = LegEntry{pair->rtp_port, pair->rtp_port};
    auto frame =
        std::make_shared<FrameWriter>(leg_reply(request.header, leg, pair->rtp_port, pair->rtcp_port()));
    auto ports = std::make_shared<io::PortPair>(std::move(*pair));
    auto* target = &worker(bridge);
    target->post([this, target, id = bridge.id, leg, ports, frame, to = request.connection] {
        target->reopen_leg(id, leg, std::move(*ports));
        frame->put(Tag::ssrc, target->ssrc(id, leg));
        mailbox_.post([this, frame, to] { reply(to, std::move(*frame)); });
    });
    return std::nullopt;
}

/// Each worker adds its ports to one reply; the last one's makes it whole.
Controller::Outcome Controller::get_ports(const Request& request) {
    struct Gathering {
        FrameWriter frame;
        std::size_t missing;
    };
    auto all = std::make_shared<Gathering>(Gathering{ok(request.header), workers_.size()});
    for (auto* target : workers_)
        target->post([this, target, all, to = request.connection] {
            mailbox_.post([this, all, to, reports = target->shared_ports()] {
                for (const auto& report : reports) {
                    FrameWriter entry;
                    entry.put(Tag::rtp_port, report.port)
                        .put(Tag::count, report.legs)
                        .put(Tag::packets, report.packets)
                        .put(Tag::strangers, report.strangers)
                        .put(Tag::unproven, report.unproven)
                        .put(Tag::over_budget, report.over_budget);
                    all->frame.put(Tag::shared_port, entry);
                }
                if (--all->missing == 0) reply(to, std::move(all->frame));
            });
        });
    return std::nullopt;
}

}  // namespace hushwire::control
