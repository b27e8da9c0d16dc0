// A UDP port of many legs: its demultiplexer, what it holds back from strangers, and what leaves by it. One
// worker owns it.
#pragma once
#include <vector>

#include "core/budget.hpp"
#include "core/demux.hpp"
#include "core/prefetch.hpp"
#include "io/batch.hpp"
#include "io/fd.hpp"

namespace hushwire::io {

/// What a worker can be asked to open a leg on.
struct SharedWish {
    FoundBy way = FoundBy::key;
    std::optional<Ip> signalling;   ///< where the party's signalling comes from
    std::optional<Address> remote;  ///< what it announced already
};

/// Counted since the program began.
struct SharedPortReport {
    std::uint16_t port = 0;
    std::uint32_t legs = 0;
    std::uint64_t packets = 0;
    std::uint64_t strangers = 0;  ///< dropped: nobody is known or thinkable at that address
    std::uint64_t unproven = 0;   ///< dropped: some leg was thinkable, and the tag verified under no key
    std::uint64_t over_budget =
        0;  ///< dropped untried: the source, or all strangers together, failed too often
};

template <typename Host>
struct SharedPort {
    /// What a stranger may fail at once and in the long run: a trial costs about 0.5 us.
    static constexpr Allowance kEachStranger{8, 32}, kAllStrangers{20'000, 2'000};
    /// Further legs go to the next port: a flood is felt by the legs of its port only.
    static constexpr std::size_t kMaxLegs = 2'500;

    struct Place {
        Host* host = nullptr;
        unsigned leg = 0;
        std::uint32_t ssrc = 0;      ///< of its last packet
        const Leg* state = nullptr;  ///< for `fetch_host` only
    };

    SharedPort(Fd socket, const HashKey& key)
        : fd(std::move(socket)), number(port_of(fd.get())), demux(key), strangers(key, kEachStranger) {
        counts.port = number;
    }

    // What a packet for this seat will touch, asked for in steps that need each other's results.
    void fetch_place(Seat seat) const {
        if (seat != kNoSeat) prefetch(&places[seat]);
    }
    void fetch_host(Seat seat) const {
        if (seat == kNoSeat) return;
        places[seat].host->fetch();
        places[seat].state->fetch();
    }
    void fetch_legs(Seat seat) const {
        if (seat != kNoSeat) places[seat].host->fetch_legs(places[seat].leg);
    }
    void fetch_sender(Seat seat) const {
        if (seat != kNoSeat) places[seat].host->fetch_sender(places[seat].leg);
    }

    Fd fd;
    std::uint16_t number;
    Demux demux;
    std::vector<Place> places;  ///< by seat
    StrangerBudgets strangers;
    Budget all_strangers;
    Outbox outbox;
    SharedPortReport counts;
    bool is_watched = false;  ///< by epoll; at load it is simply read on each tick
    unsigned quiet_ticks = 0;
};

}  // namespace hushwire::io
