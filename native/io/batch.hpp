// The packets that a worker holds between reading and sending: read in batches, changed in place, sent in
// batches. Fixed room; a place is free again when everything was sent.
#pragma once
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <vector>

#include "core/bridge.hpp"
#include "io/udp.hpp"

namespace hushwire::io {

class Batch {
  public:
    static constexpr unsigned kPlaces = 128;
    static constexpr unsigned kRead = 64;  ///< in one system call

    Batch() {
        for (unsigned i = 0; i < kPlaces; i++) {
            vectors_[i] = {places_[i].data.data(), places_[i].data.size()};
            headers_[i].msg_hdr.msg_iov = &vectors_[i];
            headers_[i].msg_hdr.msg_iovlen = 1;
            headers_[i].msg_hdr.msg_name = &from_[i];
        }
    }
    bool has_room(unsigned count) const { return kPlaces - used_ >= count; }
    /// Reads up to `most` datagrams into places from `first` on, which are in use from then on. The caller
    /// has made sure that there is room.
    struct Read {
        unsigned first = 0, count = 0;
    };
    Read read(int fd, unsigned most) {
        auto first = used_;
        int got = 0;
        if (most == 1) {
            socklen_t length = sizeof(SmallAddress);
            auto size = ::recvfrom(fd, places_[first].data.data(), places_[first].data.size(), MSG_DONTWAIT,
                                   &from_[first].any, &length);
            headers_[first].msg_len = static_cast<unsigned>(size);
            got = size >= 0;
        } else {
            for (unsigned i = first; i < first + most; i++)
                headers_[i].msg_hdr.msg_namelen = sizeof(SmallAddress);
            got = ::recvmmsg(fd, &headers_[first], most, MSG_DONTWAIT, nullptr);
        }
        auto count = got > 0 ? static_cast<unsigned>(got) : 0;
        used_ += count;
        return {first, count};
    }
    /// A place for a packet that is made here, in use from then on.
    Bytes take() { return places_[used_++].data; }
    void give_back() { used_--; }
    Bytes data(unsigned place) { return places_[place].data; }
    std::size_t length(unsigned place) const { return headers_[place].msg_len; }
    Address from(unsigned place) const { return from_socket(from_[place]); }
    bool is_empty() const { return used_ == 0; }
    void clear() { used_ = 0; }

  private:
    /// One cache line more than a power of two: else the first lines of all places, the only ones that voice
    /// touches, would share two sets of the first-level cache.
    struct alignas(64) Place {
        std::array<std::byte, Bridge::kBuffer> data;
        std::array<std::byte, 64> odd;
    };
    std::array<Place, kPlaces> places_;
    std::array<SmallAddress, kPlaces> from_{};
    std::array<iovec, kPlaces> vectors_{};
    std::array<mmsghdr, kPlaces> headers_{};
    unsigned used_ = 0;
};

/// What leaves by one socket, in as few system calls as possible. The data stays in the batch until `send`.
class Outbox {
  public:
    Outbox()
        : to_(Batch::kPlaces), vectors_(Batch::kPlaces), headers_(Batch::kPlaces), owners_(Batch::kPlaces) {
        for (unsigned i = 0; i < Batch::kPlaces; i++) {
            headers_[i].msg_hdr.msg_iov = &vectors_[i];
            headers_[i].msg_hdr.msg_iovlen = 1;
            headers_[i].msg_hdr.msg_name = &to_[i];
        }
    }
    /// `sender` is told of by `refused` where the socket would not take the packet.
    void add(const Forward& forward, bool is_v6, Bridge& sender) {
        auto i = count_++;
        vectors_[i] = {forward.data.data(), forward.data.size()};
        headers_[i].msg_hdr.msg_namelen = to_socket(forward.to, is_v6, to_[i]);
        owners_[i] = {&sender, forward.leg};
    }
    bool is_empty() const { return count_ == 0; }
    void send(int fd) {
        for (unsigned done = 0; done < count_;) {
            auto sent = ::sendmmsg(fd, &headers_[done], count_ - done, MSG_DONTWAIT);
            if (sent <= 0) {
                owners_[done].bridge->unsent(owners_[done].leg);
                sent = 1;
            }
            done += static_cast<unsigned>(sent);
        }
        count_ = 0;
    }

  private:
    struct Owner {
        Bridge* bridge = nullptr;
        unsigned leg = 0;
    };
    std::vector<SmallAddress> to_;
    std::vector<iovec> vectors_;
    std::vector<mmsghdr> headers_;
    std::vector<Owner> owners_;
    unsigned count_ = 0;
};

}  // namespace hushwire::io
