// hushwire-media: relays, protects and records the media of calls, as the controller on its Unix socket says.
// Threads: this one (control), the workers (packets), the writer (sealing) and the syncer (fdatasync).
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <signal.h>
#include <sys/signalfd.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <vector>

#include "control/controller.hpp"
#include "control/server.hpp"
#include "io/clock.hpp"
#include "io/harden.hpp"
#include "io/log.hpp"
#include "io/sandbox.hpp"
#include "options.hpp"
#include "version.hpp"

namespace hushwire {
namespace {

std::uint32_t random_u32() {
    std::uint32_t value = 0;
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&value), sizeof value) != 1)
        throw std::runtime_error("no randomness");
    return value;
}

/// SIGTERM and SIGINT as a descriptor, blocked in every thread started from now on.
io::Fd stop_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    return io::Fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

/// `path` up to its last slash, and what stands behind it.
std::pair<std::string, std::string> split(const std::string& path) {
    auto slash = path.rfind('/');
    if (slash == std::string::npos) return {".", path};
    return {path.substr(0, slash + 1), path.substr(slash + 1)};
}

int run(const Options& options) {
    OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, nullptr);  // its files, while there are files to be read
    random_u32();
    auto listener = control::listen_at(options.socket);
    auto [socket_place, socket_name] = split(options.socket);
    io::Fd socket_folder(::open(socket_place.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!io::bind_udp(options.address, 0))
        throw std::runtime_error("--address is not an address of this machine");
    constexpr std::size_t kSharedEach = 4;
    // Before the change of user, which takes away the right to large buffers.
    auto shared = io::bind_shared(options.address, options.low_shared_port, options.high_shared_port,
                                  options.workers, kSharedEach);
    if (!options.user.empty()) io::become(options.user, options.socket);
    io::harden();  // after the change of user, which makes a process traceable again
    io::Fd spool(::open(options.spool.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!spool) throw std::runtime_error("the spool folder can't be opened");
    const io::Reach reach{spool.get(), socket_folder.get()};
    auto landlock = io::confine_files(reach);
    auto stop = stop_signals();

    io::Mailbox mailbox;
    io::PortPool ports(options.address, options.low_port, options.high_port, random_u32);
    control::Server server(std::move(listener), mailbox, stop.get());

    control::Controller* controller = nullptr;
    std::vector<std::unique_ptr<io::ChunkExchange>> exchanges;
    std::vector<io::ChunkExchange*> exchange_pointers;
    for (unsigned i = 0; i < options.workers; i++) {
        exchanges.push_back(std::make_unique<io::ChunkExchange>());
        exchange_pointers.push_back(exchanges.back().get());
    }
    io::Writer writer(
        std::move(spool), exchange_pointers, [&](io::RecordingId id, const io::RecordingResult& result) {
            mailbox.post([&controller, id, result] { controller->recording_failed(id, result); });
        });
    std::vector<std::unique_ptr<io::Worker>> workers;
    std::vector<io::Worker*> worker_pointers;
    for (unsigned i = 0; i < options.workers; i++) {
        auto tell = [&](const Uuid& bridge, const LegEvent& event) {
            mailbox.post([&controller, bridge, event] { controller->leg_event(bridge, event); });
        };
        auto tell_dtls = [&](const Uuid& bridge, unsigned leg, ConstBytes datagram) {
            mailbox.post([&controller, bridge, leg, copy = std::vector(datagram.begin(), datagram.end())] {
                controller->dtls_datagram(bridge, leg, copy);
            });
        };
        workers.push_back(std::make_unique<io::Worker>(options.tick_us, !options.address.is_v4(),
                                                       std::move(shared[i]), *exchanges[i], tell, tell_dtls));
        worker_pointers.push_back(workers.back().get());
    }
    control::Controller the_controller(
        {options.advertise, !options.address.is_v4(), options.orphan_timeout_us, options.leg_allowance},
        server, mailbox, ports, worker_pointers, writer, io::monotonic_us());
    controller = &the_controller;
    io::end_of_threads();
    bool has_filter = io::confine_calls(reach);
    if (!has_filter || !landlock)
        io::log_event("warning", "media.sandbox_incomplete",
                      {{"seccomp", std::int64_t{has_filter}}, {"landlock", std::int64_t{landlock}}});
    io::log_event("info", "media.ready", {{"workers", std::int64_t{options.workers}}, {"program", kProgram}});
    server.run(the_controller);
    ::unlinkat(socket_folder.get(), socket_name.c_str(), 0);
    io::log_event("info", "media.stopped");
    return 0;
}

}  // namespace
}  // namespace hushwire

int main(int argc, char** argv) {
    hushwire::io::bind_all(argv);
    try {
        auto options = hushwire::parse_options({argv + 1, argv + argc});
        if (options.wants_help || options.wants_version) {
            std::puts(options.wants_help ? hushwire::kUsage : hushwire::kProgram);
            return 0;
        }
        return hushwire::run(options);
    } catch (const std::invalid_argument& error) {
        std::fprintf(stderr, "hushwire-media: %s\n%s", error.what(), hushwire::kUsage);
        return 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "hushwire-media: %s\n", error.what());
        return 1;
    }
}
