// rtpload: paced RTP or SRTP through a media relay, both ways, with loss, latency and the relay's CPU per packet.
//
//   rtpload --duration S --warmup S [--pid P]... < flows
//
// One flow a line, flow 2c and 2c+1 are the two sides of call c (what one sends, the other must receive):
//   LOCAL_IP:PORT REMOTE_IP:PORT SEND_KEY RECV_KEY      keys: 60 hex digits (16-byte key, 14-byte salt) or "-"
// SRTP is AES_CM_128_HMAC_SHA1_80 (RFC 3711), written here a second time on purpose: the relay is measured and checked
// by code that it does not share. Flows with one local port and different 127.x.y.z addresses share one socket, which
// keeps the generator cheaper than what it measures. The result is one JSON object on standard output.
//
// A call is PCMU as phones send it: 160-byte payload each 20 ms, starts spread evenly over 20 ms in a fixed random order. Latency runs from the
// moment before sending to the kernel's receive time stamp, so that a late reader adds nothing. "lateness_us" is the
// generator's own delay in sending: where its p99 passes 2,000 the run says nothing about the relay.
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

constexpr std::size_t kHeader = 12, kPayload = 160, kTag = 10;
constexpr std::int64_t kFrameNs = 20'000'000;
constexpr std::size_t kBatch = 128;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "rtpload: %s\n", what.c_str());
  std::exit(2);
}

std::int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_REALTIME, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

void put16(std::uint8_t* p, std::uint32_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}
void put32(std::uint8_t* p, std::uint32_t v) {
  put16(p, v >> 16);
  put16(p + 2, v & 0xffff);
}
std::uint32_t get16(const std::uint8_t* p) { return static_cast<std::uint32_t>(p[0] << 8 | p[1]); }
std::uint32_t get32(const std::uint8_t* p) { return get16(p) << 16 | get16(p + 2); }

// One direction of one SRTP stream.
class Srtp {
 public:
  explicit Srtp(const std::array<std::uint8_t, 30>& master) {
    std::array<std::uint8_t, 16> key{};
    std::array<std::uint8_t, 20> auth{};
    derive(master, 0, key);
    derive(master, 1, auth);
    derive(master, 2, salt_);
    cipher_ = EVP_CIPHER_CTX_new();
    EVP_EncryptInit_ex(cipher_, EVP_aes_128_ctr(), nullptr, key.data(), nullptr);
    EVP_MAC* hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
    mac_ = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    char digest[] = "SHA1";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
    if (EVP_MAC_init(mac_, auth.data(), auth.size(), params) != 1) fail("libcrypto refuses HMAC-SHA1");
  }
  ~Srtp() {
    EVP_CIPHER_CTX_free(cipher_);
    EVP_MAC_CTX_free(mac_);
  }
  Srtp(const Srtp&) = delete;
  Srtp& operator=(const Srtp&) = delete;

  std::size_t protect(std::uint8_t* packet, std::size_t length) {
    const std::uint32_t seq = get16(packet + 2);
    if (seen_ && seq < last_seq_) roc_++;
    seen_ = true;
    last_seq_ = seq;
    crypt(packet, length, roc_);
    tag(packet, length, roc_, packet + length);
    return length + kTag;
  }

  // The plain length, or 0 where the tag is wrong.
  std::size_t unprotect(std::uint8_t* packet, std::size_t length) {
    if (length < kHeader + kTag) return 0;
    length -= kTag;
    const std::uint32_t seq = get16(packet + 2);
    std::uint32_t roc = roc_;
    if (seen_) {
      if (last_seq_ < 0x8000 && seq > last_seq_ + 0x8000) roc--;
      if (last_seq_ >= 0x8000 && seq < last_seq_ - 0x8000) roc++;
    }
    std::array<std::uint8_t, 20> want{};
    tag(packet, length, roc, want.data());
    if (std::memcmp(want.data(), packet + length, kTag) != 0) return 0;
    crypt(packet, length, roc);
    if (!seen_ || roc > roc_ || (roc == roc_ && seq > last_seq_)) {
      last_seq_ = seq;
      roc_ = roc;
    }
    seen_ = true;
    return length;
  }

 private:
  template <std::size_t N>
  static void derive(const std::array<std::uint8_t, 30>& master, std::uint8_t label, std::array<std::uint8_t, N>& out) {
    std::array<std::uint8_t, 16> iv{};
    std::copy(master.begin() + 16, master.end(), iv.begin());
    iv[7] ^= label;
    EVP_CIPHER_CTX* c = EVP_CIPHER_CTX_new();
    const std::array<std::uint8_t, N> zero{};
    int n = 0;
    EVP_EncryptInit_ex(c, EVP_aes_128_ctr(), nullptr, master.data(), iv.data());
    EVP_EncryptUpdate(c, out.data(), &n, zero.data(), static_cast<int>(N));
    EVP_CIPHER_CTX_free(c);
  }

  void crypt(std::uint8_t* packet, std::size_t length, std::uint32_t roc) {
    std::array<std::uint8_t, 16> iv{};
    std::copy(salt_.begin(), salt_.end(), iv.begin());
    std::array<std::uint8_t, 10> x{};
    std::memcpy(x.data(), packet + 8, 4);
    put32(x.data() + 4, roc);
    std::memcpy(x.data() + 8, packet + 2, 2);
    for (std::size_t i = 0; i < 10; i++) iv[4 + i] = static_cast<std::uint8_t>(iv[4 + i] ^ x[i]);
    int n = 0;
    EVP_EncryptInit_ex(cipher_, nullptr, nullptr, nullptr, iv.data());
    EVP_EncryptUpdate(cipher_, packet + kHeader, &n, packet + kHeader, static_cast<int>(length - kHeader));
  }

  void tag(const std::uint8_t* packet, std::size_t length, std::uint32_t roc, std::uint8_t* out) {
    std::array<std::uint8_t, 4> r{};
    std::array<std::uint8_t, 20> full{};
    put32(r.data(), roc);
    std::size_t n = 0;
    EVP_MAC_init(mac_, nullptr, 0, nullptr);
    EVP_MAC_update(mac_, packet, length);
    EVP_MAC_update(mac_, r.data(), r.size());
    EVP_MAC_final(mac_, full.data(), &n, full.size());
    std::memcpy(out, full.data(), kTag);
  }

  EVP_CIPHER_CTX* cipher_ = nullptr;
  EVP_MAC_CTX* mac_ = nullptr;
  std::array<std::uint8_t, 14> salt_{};
  std::uint32_t roc_ = 0, last_seq_ = 0;
  bool seen_ = false;
};

class Histogram {  // microseconds; the last bin holds all above 200 ms
 public:
  void add(std::int64_t us) {
    us = std::max<std::int64_t>(us, 0);
    max_ = std::max(max_, us);
    bins_[static_cast<std::size_t>(std::min<std::int64_t>(us, 200'000))]++;
    count_++;
  }
  [[nodiscard]] std::int64_t quantile(double q) const {
    if (count_ == 0) return -1;
    const auto want = static_cast<std::uint64_t>(q * static_cast<double>(count_));
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < bins_.size(); i++) {
      sum += bins_[i];
      if (sum > want) return static_cast<std::int64_t>(i);
    }
    return max_;
  }
  [[nodiscard]] std::string json() const {
    std::ostringstream o;
    o << "{\"p50\": " << quantile(0.50) << ", \"p99\": " << quantile(0.99) << ", \"max\": " << (count_ ? max_ : -1) << "}";
    return o.str();
  }

 private:
  std::vector<std::uint64_t> bins_ = std::vector<std::uint64_t>(200'001);
  std::uint64_t count_ = 0;
  std::int64_t max_ = 0;
};

struct Flow {
  sockaddr_in local{}, remote{};
  std::unique_ptr<Srtp> send_srtp, recv_srtp;
  int socket = -1;
  std::uint32_t id = 0, seq = 0;
  std::int64_t due_ns = 0;
  std::uint64_t sent = 0, received = 0;
};

struct Socket {
  int fd = -1;
  std::unordered_map<std::uint32_t, Flow*> by_address;  // local IPv4 address -> flow
};

sockaddr_in address(const std::string& text) {
  const auto colon = text.rfind(':');
  sockaddr_in a{};
  a.sin_family = AF_INET;
  if (colon == std::string::npos || inet_pton(AF_INET, text.substr(0, colon).c_str(), &a.sin_addr) != 1) fail("bad address");
  a.sin_port = htons(static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1))));
  if ((ntohl(a.sin_addr.s_addr) >> 24) != 127) fail("only loopback addresses are loaded");
  return a;
}

std::unique_ptr<Srtp> stream(const std::string& hex) {
  if (hex == "-") return nullptr;
  if (hex.size() != 60) fail("a key has 60 hex digits");
  std::array<std::uint8_t, 30> key{};
  for (std::size_t i = 0; i < 30; i++) key[i] = static_cast<std::uint8_t>(std::stoi(hex.substr(2 * i, 2), nullptr, 16));
  return std::make_unique<Srtp>(key);
}

// On-CPU nanoseconds of all threads of a process.
std::uint64_t cpu_ns(int pid) {
  std::uint64_t sum = 0;
  const std::string base = "/proc/" + std::to_string(pid) + "/task";
  DIR* dir = opendir(base.c_str());
  if (dir == nullptr) fail("a measured process is gone");
  while (dirent* e = readdir(dir)) {
    if (e->d_name[0] == '.') continue;
    std::ifstream f(base + "/" + e->d_name + "/schedstat");
    std::uint64_t run = 0;
    if (f >> run) sum += run;
  }
  closedir(dir);
  return sum;
}

struct Counts {
  std::uint64_t sent = 0, received = 0, corrupt = 0, bad_tag = 0, refused = 0;
};

struct Buffers {  // one batch's worth of message headers; shared by sending and receiving
  std::array<std::array<std::uint8_t, 2048>, kBatch> data{};
  std::array<std::array<std::uint8_t, 128>, kBatch> control{};
  std::array<iovec, kBatch> iov{};
  std::array<mmsghdr, kBatch> messages{};
  std::array<sockaddr_in, kBatch> names{};
};

void fill(const Flow& f, std::uint8_t* p, std::int64_t at) {
  p[0] = 0x80;
  p[1] = 0;  // PCMU
  put16(p + 2, f.seq & 0xffff);
  put32(p + 4, f.seq * 160);
  put32(p + 8, 0x10000000 + f.id);
  std::uint8_t* body = p + kHeader;
  put32(body, f.id);
  put32(body + 4, f.seq);
  put32(body + 8, static_cast<std::uint32_t>(static_cast<std::uint64_t>(at) >> 32));
  put32(body + 12, static_cast<std::uint32_t>(at));
  for (std::size_t i = 16; i < kPayload; i++) body[i] = static_cast<std::uint8_t>(i * 31 + f.id);
}

// Sends `count` prepared messages of one socket; waits out a full buffer.
void flush(int fd, Buffers& b, std::size_t count, Counts& counts) {
  std::size_t done = 0;
  while (done < count) {
    const int n = sendmmsg(fd, b.messages.data() + done, static_cast<unsigned>(count - done), 0);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno == ECONNREFUSED) {
      counts.refused++;
    } else if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS) {
      fail(std::string("sendmmsg: ") + std::strerror(errno));
    }
  }
}

void prepare(Buffers& b, std::size_t i, Flow& f, std::size_t length) {
  b.names[i] = f.remote;
  b.iov[i] = {b.data[i].data(), length};
  auto& h = b.messages[i].msg_hdr;
  h = {};
  h.msg_name = &b.names[i];
  h.msg_namelen = sizeof(sockaddr_in);
  h.msg_iov = &b.iov[i];
  h.msg_iovlen = 1;
  h.msg_control = b.control[i].data();
  h.msg_controllen = CMSG_SPACE(sizeof(in_pktinfo));
  cmsghdr* c = CMSG_FIRSTHDR(&h);
  c->cmsg_level = IPPROTO_IP;
  c->cmsg_type = IP_PKTINFO;
  c->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
  in_pktinfo info{};
  info.ipi_spec_dst = f.local.sin_addr;
  std::memcpy(CMSG_DATA(c), &info, sizeof info);
}

class Load {
 public:
  Load(std::vector<Flow> flows, std::vector<Socket> sockets, std::vector<int> pids)
      : flows_(std::move(flows)), sockets_(std::move(sockets)), pids_(std::move(pids)) {
    for (auto& f : flows_) sockets_[static_cast<std::size_t>(f.socket)].by_address[f.local.sin_addr.s_addr] = &f;
  }

  void run(double warmup_s, double duration_s) {
    const std::int64_t start = now_ns() + 20'000'000;
    const auto flows = static_cast<std::int64_t>(flows_.size());
    for (std::size_t i = 0; i < flows_.size(); i++) flows_[i].due_ns = start + static_cast<std::int64_t>(i) * kFrameNs / flows;
    from_ = start + static_cast<std::int64_t>(warmup_s * 1e9);
    until_ = from_ + static_cast<std::int64_t>(duration_s * 1e9);
    const std::int64_t end = until_ + 500'000'000;
    std::vector<std::uint64_t> cpu_from(pids_.size());
    bool started = false, stopped = false;
    for (std::int64_t now = now_ns(); now < end; now = now_ns()) {
      if (!started && now >= from_) {
        for (std::size_t i = 0; i < pids_.size(); i++) cpu_from[i] = cpu_ns(pids_[i]);
        cpu_at_ = now;
        started = true;
      }
      if (!stopped && now >= until_) {
        for (std::size_t i = 0; i < pids_.size(); i++) cpu_used_ += cpu_ns(pids_[i]) - cpu_from[i];
        cpu_window_ = now - cpu_at_;
        stopped = true;
      }
      if (!stopped) send_due(now);
      for (auto& s : sockets_) receive(s);
      const timespec nap{0, 250'000};
      nanosleep(&nap, nullptr);
    }
  }

  void print() const {
    const double loss = counts_.sent == 0 ? 100.0 : 100.0 * (1.0 - static_cast<double>(counts_.received) / static_cast<double>(counts_.sent));
    const double seconds = static_cast<double>(cpu_window_) / 1e9;
    const double relayed = static_cast<double>(flows_.size()) * 50.0 * seconds;
    std::size_t silent = 0;
    for (const auto& f : flows_) silent += f.received == 0 ? 1 : 0;
    std::printf("{\"flows\": %zu, \"sent\": %llu, \"received\": %llu, \"loss_pct\": %.4f, \"corrupt\": %llu, \"bad_tag\": %llu, "
                "\"silent_flows\": %zu, \"latency_us\": %s, \"lateness_us\": %s, \"cpu_per_s\": %.4f, \"us_per_packet\": %.3f}\n",
                flows_.size(), static_cast<unsigned long long>(counts_.sent), static_cast<unsigned long long>(counts_.received), loss,
                static_cast<unsigned long long>(counts_.corrupt), static_cast<unsigned long long>(counts_.bad_tag), silent,
                latency_.json().c_str(), lateness_.json().c_str(), static_cast<double>(cpu_used_) / 1e9 / seconds,
                static_cast<double>(cpu_used_) / 1e3 / relayed);
  }

 private:
  void send_due(std::int64_t now) {
    // Flows were given rising due times, and each moves on by one frame: the ring keeps that order.
    std::map<int, std::vector<Flow*>> due;
    for (std::size_t n = 0; n < flows_.size() && flows_[next_].due_ns <= now; n++) {
      due[flows_[next_].socket].push_back(&flows_[next_]);
      next_ = (next_ + 1) % flows_.size();
    }
    for (auto& [socket, list] : due) {
      std::size_t filled = 0;
      for (Flow* f : list) {
        const std::int64_t at = now_ns();
        lateness_.add((at - f->due_ns) / 1000);
        fill(*f, buffers_->data[filled].data(), at);
        std::size_t length = kHeader + kPayload;
        if (f->send_srtp) length = f->send_srtp->protect(buffers_->data[filled].data(), length);
        prepare(*buffers_, filled++, *f, length);
        if (at >= from_ && at < until_) counts_.sent++;
        f->sent++;
        f->seq++;
        f->due_ns += kFrameNs;
        if (filled == kBatch) {
          flush(sockets_[static_cast<std::size_t>(socket)].fd, *buffers_, filled, counts_);
          filled = 0;
        }
      }
      flush(sockets_[static_cast<std::size_t>(socket)].fd, *buffers_, filled, counts_);
    }
  }

  void receive(Socket& s) {
    for (;;) {
      for (std::size_t i = 0; i < kBatch; i++) {
        buffers_->iov[i] = {buffers_->data[i].data(), buffers_->data[i].size()};
        auto& h = buffers_->messages[i].msg_hdr;
        h = {};
        h.msg_iov = &buffers_->iov[i];
        h.msg_iovlen = 1;
        h.msg_control = buffers_->control[i].data();
        h.msg_controllen = buffers_->control[i].size();
      }
      const int n = recvmmsg(s.fd, buffers_->messages.data(), kBatch, MSG_DONTWAIT, nullptr);
      if (n <= 0) return;
      for (std::size_t i = 0; i < static_cast<std::size_t>(n); i++) take(s, i);
      if (static_cast<std::size_t>(n) < kBatch) return;
    }
  }

  void take(Socket& s, std::size_t i) {
    std::uint32_t to = 0;
    std::int64_t at = 0;
    auto& h = buffers_->messages[i].msg_hdr;
    for (cmsghdr* c = CMSG_FIRSTHDR(&h); c != nullptr; c = CMSG_NXTHDR(&h, c)) {
      if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        in_pktinfo info{};
        std::memcpy(&info, CMSG_DATA(c), sizeof info);
        to = info.ipi_addr.s_addr;
      } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
        timespec t{};
        std::memcpy(&t, CMSG_DATA(c), sizeof t);
        at = std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
      }
    }
    const auto found = s.by_address.find(to);
    if (found == s.by_address.end()) return;
    Flow& f = *found->second;
    std::uint8_t* p = buffers_->data[i].data();
    std::size_t length = buffers_->messages[i].msg_len;
    if (length >= 2 && p[1] >= 192 && p[1] <= 223) return;  // RTCP, multiplexed (RFC 5761 section 4)
    if (f.recv_srtp) {
      length = f.recv_srtp->unprotect(p, length);
      if (length == 0) {
        counts_.bad_tag++;
        return;
      }
    }
    const std::uint8_t* body = p + kHeader;
    const std::uint32_t peer = f.id ^ 1u;
    bool good = length == kHeader + kPayload && get32(body) == peer;
    for (std::size_t k = 16; good && k < kPayload; k++) good = body[k] == static_cast<std::uint8_t>(k * 31 + peer);
    if (!good) {
      counts_.corrupt++;
      return;
    }
    f.received++;
    const std::int64_t sent = static_cast<std::int64_t>(std::uint64_t{get32(body + 8)} << 32 | get32(body + 12));
    if (sent < from_ || sent >= until_) return;
    counts_.received++;
    latency_.add((at - sent) / 1000);
  }

  std::vector<Flow> flows_;
  std::vector<Socket> sockets_;
  std::vector<int> pids_;
  std::unique_ptr<Buffers> buffers_ = std::make_unique<Buffers>();
  std::size_t next_ = 0;
  std::int64_t from_ = 0, until_ = 0, cpu_at_ = 0, cpu_window_ = 1;
  std::uint64_t cpu_used_ = 0;
  Counts counts_;
  Histogram latency_, lateness_;
};

int open_socket(std::uint16_t port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int on = 1, large = 16 << 20;
  setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large, sizeof large) != 0) setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0) fail("port " + std::to_string(port) + " is taken");
  return fd;
}

}  // namespace

int main(int argc, char** argv) {
  double duration = 8, warmup = 2;
  std::uint32_t first_sequence = 0;
  std::vector<int> pids;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--duration") duration = std::stod(argv[i + 1]);
    else if (name == "--warmup") warmup = std::stod(argv[i + 1]);
    else if (name == "--first-sequence") first_sequence = static_cast<std::uint32_t>(std::stoul(argv[i + 1]));
    else if (name == "--pid") pids.push_back(std::stoi(argv[i + 1]));
    else fail("unknown option " + name);
  }
  std::vector<Flow> flows;
  std::vector<Socket> sockets;
  std::map<std::uint16_t, int> by_port;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    std::string local, remote, send_key, recv_key;
    if (!(in >> local >> remote >> send_key >> recv_key)) fail("a flow has four fields");
    Flow f;
    f.id = static_cast<std::uint32_t>(flows.size());
    f.seq = first_sequence;
    f.local = address(local);
    f.remote = address(remote);
    f.send_srtp = stream(send_key);
    f.recv_srtp = stream(recv_key);
    const std::uint16_t port = ntohs(f.local.sin_port);
    if (const auto [at, fresh] = by_port.try_emplace(port, static_cast<int>(sockets.size())); fresh) {
      sockets.push_back({open_socket(port), {}});
      f.socket = at->second;
    } else {
      f.socket = at->second;
    }
    flows.push_back(std::move(f));
  }
  if (flows.empty() || flows.size() % 2 != 0) fail("flows come in pairs");
  // The two sides of a call know nothing of each other: one after the other, the relay would have in its cache for the
  // second what the first one needed.
  std::shuffle(flows.begin(), flows.end(), std::mt19937(11));
  if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) std::fprintf(stderr, "rtpload: memory is not locked; expect more lateness\n");
  Load load(std::move(flows), std::move(sockets), std::move(pids));
  load.run(warmup, duration);
  load.print();
  return 0;
}
