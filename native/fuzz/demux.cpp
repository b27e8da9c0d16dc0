// The demultiplexer of a shared port: datagrams from anywhere while legs come, move, are named and go.
// Whoever is found is there, an owned address is found by its owner alone, and no leg is a candidate twice.
#include "core/demux.hpp"

#include <set>

#include "fuzz/fuzz.hpp"

using namespace hushwire;

namespace {

Address address(std::uint8_t host) {
    std::array<std::byte, 4> raw{std::byte{10}, std::byte{0}, std::byte{0}, static_cast<std::byte>(host & 7)};
    return {*Ip::from(raw), static_cast<std::uint16_t>(4000 + (host >> 5))};
}

class Port {
  public:
    void step(fuzz::Input& input) {
        auto act = input.byte() % 10;
        auto where = address(input.byte());
        if (act < 2) return add(input, where);
        if (act == 2) return packet(where, input.byte());
        if (act == 3) return stun(input.piece());
        if (seats_.empty()) return;
        auto seat = *std::next(seats_.begin(), input.byte() % static_cast<std::ptrdiff_t>(seats_.size()));
        switch (act) {
            case 4: announce(seat, where, input.flag()); break;
            case 5: demux_.name(seat, input.bytes(input.byte() % 8)); break;
            case 6: leave(seat); break;
            case 7: demux_.note_ssrc(seat, input.byte() % 16); break;
            default: settle(seat, where, input.flag()); break;
        }
    }

  private:
    void add(fuzz::Input& input, const Address& where) {
        std::optional<Ip> signalling;
        if (input.flag()) signalling = where.ip;
        auto seat = demux_.add(static_cast<FoundBy>(1 + input.byte() % 3), signalling);
        if (seat) CLAIM(seats_.insert(*seat).second);
        CLAIM(seat || signalling);
        CLAIM(demux_.size() == seats_.size());
    }

    void announce(Seat seat, const Address& where, bool has_key) {
        auto may = demux_.may_announce(seat, where, has_key);
        CLAIM(demux_.announce(seat, where, has_key) == may);
    }

    void leave(Seat seat) {
        demux_.remove(seat);
        seats_.erase(seat);
        CLAIM(demux_.size() == seats_.size());
    }

    void settle(Seat seat, const Address& from, bool may_take_over) {
        auto before = demux_.find(from);
        if (demux_.settle(seat, from, may_take_over))
            CLAIM(demux_.find(from) == seat);
        else
            CLAIM(demux_.find(from) == before && before != seat);
    }

    void packet(const Address& from, std::uint32_t ssrc) {
        auto known = demux_.find(from);
        CLAIM(known == kNoSeat || seats_.contains(known));
        auto tried = demux_.candidates(from, ssrc % 16, known);
        CLAIM(tried.count <= Demux::kMaxCandidates);
        std::set<Seat> once;
        for (auto seat : tried) CLAIM(seats_.contains(seat) && seat != known && once.insert(seat).second);
    }

    void stun(ConstBytes bytes) {
        auto datagram = fuzz::exact(bytes);
        // A length that is right, so that what is behind the header is reached.
        if (datagram.size() >= 20 && datagram.size() % 4 == 0) {
            store_be(datagram.data() + 2, static_cast<std::uint16_t>(datagram.size() - 20));
            store_be(datagram.data() + 4, std::uint32_t{0x2112a442});
        }
        auto name = stun_name(datagram);
        if (!name) return;
        CLAIM(!name->empty() && name->data() >= datagram.data()
              && name->data() + name->size() <= datagram.data() + datagram.size());
        auto seat = demux_.named(*name);
        CLAIM(seat == kNoSeat || seats_.contains(seat));
    }

    Demux demux_{HashKey(1, 2)};
    std::set<Seat> seats_;
};

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    Port port;
    for (int steps = 0; steps < 300 && !input.is_empty(); steps++) port.step(input);
    return 0;
}
