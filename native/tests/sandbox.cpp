// What a hushwire-media that was taken over can still do: each action is tried by a process of its own, after
// it gave up its rights just as the program does. Not part of hushwire_tests, which must stay free to open
// files.
#include "io/sandbox.hpp"

#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "io/fd.hpp"
#include "io/harden.hpp"
#include "io/spool_file.hpp"
#include "io/udp.hpp"

namespace hushwire::io {
namespace {

/// What came of an action: errno (0 = it succeeded), or minus the signal that ended the process.
using Action = std::function<long(const Reach&)>;  // as a system call returns: -1 and errno, else it worked
enum Layers { files = 1, calls = 2, both = 3 };
constexpr int kKilled = -SIGSYS;

std::string folder;

int outcome_of(int layers, bool in_older_thread, const Action& action) {
    auto child = fork();
    if (child == 0) {
        Fd spool(::open((folder + "/spool").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        Fd place(::open((folder + "/run").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        const Reach reach{spool.get(), place.get()};
        harden();
        if (layers & files) confine_files(reach);
        // Joined to nothing: the child leaves by _exit. The thread is older than the filter.
        std::mutex mutex;
        std::condition_variable wake;
        bool is_confined = false;
        auto act = [&] {
            errno = 0;
            _exit(action(reach) < 0 ? errno : 0);
        };
        std::thread older([&] {
            std::unique_lock lock(mutex);
            wake.wait(lock, [&] { return is_confined; });
            act();
        });
        end_of_threads();
        if ((layers & calls) && !confine_calls(reach)) _exit(251);
        if (!in_older_thread) act();
        {
            std::lock_guard lock(mutex);
            is_confined = true;
        }
        wake.notify_all();
        older.join();
        _exit(252);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int failures = 0;

void expect(const char* sentence, int layers, int outcome, const Action& action) {
    for (bool in_older_thread : {false, true}) {
        auto got = outcome_of(layers, in_older_thread, action);
        if (got == outcome) continue;
        failures++;
        std::fprintf(stderr, "FAILED: %s%s: %d (%s), expected %d\n", sentence,
                     in_older_thread ? " (older thread)" : "", got, got > 0 ? std::strerror(got) : "",
                     outcome);
    }
}

long open_plain(const char* path, int flags) {
    return ::open(path, flags, 0600);
}

/// Whether this kernel (and the container that this may be) lets Landlock be used.
bool has_landlock() {
    auto child = fork();
    if (child == 0) {
        Fd place(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
        harden();
        _exit(confine_files({place.get(), place.get()}) > 0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

void what_still_works() {
    expect("a recording is made, written, synced, cut and removed", both, 0, [](const Reach& r) -> long {
        Fd file(::openat(r.spool, "x.hwr", kSpoolFlags, 0600));
        if (!file || ::write(file.get(), "x", 1) != 1
            || ::sync_file_range(file.get(), 0, 0, SYNC_FILE_RANGE_WRITE) || ::fdatasync(file.get())
            || ::fsync(r.spool) || ::ftruncate(file.get(), 0))
            return -1;
        return ::unlinkat(r.spool, "x.hwr", 0);
    });
    expect("the control socket is removed at the end", both, 0, [](const Reach& r) -> long {
        return ::unlinkat(r.socket_folder, "socket", 0) == 0 || errno == ENOENT ? 0 : -1;
    });
    expect("media sockets are opened, and send", both, 0, [](const Reach&) -> long {
        auto ip = Ip::from(std::array{std::byte{127}, std::byte{0}, std::byte{0}, std::byte{1}});
        auto socket = bind_udp(*ip, 0);
        if (!socket) return -1;
        SmallAddress to;
        auto length = to_socket({*ip, 9}, false, to);
        return ::sendto(socket->get(), "x", 1, 0, &to.any, length);
    });
    expect("memory is had and given back", both, 0, [](const Reach&) -> long {
        std::vector<std::string> much;
        for (std::size_t i = 0; i < 2000; i++) much.emplace_back(i * 37, 'x');
        return 0;
    });
}

void what_is_refused() {
    expect("no file is read (seccomp)", calls, EPERM,
           [](const Reach&) -> long { return open_plain("/etc/passwd", O_RDONLY); });
    expect("no recording is read, not even its own", both, EPERM,
           [](const Reach& r) -> long { return ::openat(r.spool, "there.hwr", O_RDONLY); });
    expect("no recording is opened again to be written", both, EPERM,
           [](const Reach& r) -> long { return ::openat(r.spool, "there.hwr", O_WRONLY | O_TRUNC); });
    expect("a file that is there is not made again", both, EEXIST,
           [](const Reach& r) -> long { return ::openat(r.spool, "there.hwr", kSpoolFlags, 0600); });
    expect("no file is made through another descriptor", both, EPERM,
           [](const Reach& r) -> long { return ::openat(r.socket_folder, "x.hwr", kSpoolFlags, 0600); });
    expect("no folder is made", both, EPERM,
           [](const Reach&) -> long { return ::mkdir("/tmp/hw-no", 0700); });
    expect("nothing is renamed", both, EPERM,
           [](const Reach& r) -> long { return ::renameat(r.spool, "there.hwr", r.spool, "moved.hwr"); });
    expect("no mode is changed", both, EPERM,
           [](const Reach& r) -> long { return ::fchmodat(r.spool, "there.hwr", 0666, 0); });
    expect("no Unix socket", both, EPERM,
           [](const Reach&) -> long { return ::socket(AF_UNIX, SOCK_STREAM, 0); });
    expect("no TCP socket", both, EPERM,
           [](const Reach&) -> long { return ::socket(AF_INET, SOCK_STREAM, 0); });
    expect("no TCP socket over IPv6", both, EPERM,
           [](const Reach&) -> long { return ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0); });
    expect("no raw socket", both, EPERM,
           [](const Reach&) -> long { return ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); });
    expect("no ICMP socket", both, EPERM,
           [](const Reach&) -> long { return ::socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP); });
    expect("no packet socket", both, EPERM,
           [](const Reach&) -> long { return ::socket(AF_PACKET, SOCK_DGRAM, 0); });
    expect("no netlink socket", both, EPERM,
           [](const Reach&) -> long { return ::socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE); });
    expect("no memory with instructions", both, EPERM, [](const Reach&) -> long {
        return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED
                   ? -1
                   : 0;
    });
    expect("no memory is made instructions later", both, EPERM, [](const Reach&) -> long {
        auto* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return ::mprotect(page, 4096, PROT_READ | PROT_EXEC);
    });
    expect("no signal to others", both, EPERM, [](const Reach&) -> long { return ::kill(getppid(), 0); });
    expect("no signal to others' threads", both, EPERM,
           [](const Reach&) -> long { return syscall(SYS_tgkill, getppid(), getppid(), 0); });
    expect("not dumpable again", both, EPERM,
           [](const Reach&) -> long { return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); });
    expect("no limits are lifted", both, EPERM, [](const Reach&) -> long {
        rlimit core{1 << 20, 1 << 20};
        return setrlimit(RLIMIT_CORE, &core);
    });
}

void what_landlock_refuses() {
    expect("no file is read (Landlock)", files, EACCES,
           [](const Reach&) -> long { return open_plain("/etc/passwd", O_RDONLY); });
    expect("no recording is read (Landlock)", files, EACCES,
           [](const Reach& r) -> long { return ::openat(r.spool, "there.hwr", O_RDONLY); });
    expect("no file is made beside the spool", both, EACCES,
           [](const Reach& r) -> long { return ::openat(r.spool, "../beside.hwr", kSpoolFlags, 0600); });
    expect("no file is made by an absolute path", both, EACCES,
           [](const Reach& r) -> long { return ::openat(r.spool, "/tmp/absolute.hwr", kSpoolFlags, 0600); });
    expect("no file is removed elsewhere", both, EACCES,
           [](const Reach& r) -> long { return ::unlinkat(r.spool, "../elsewhere/kept", 0); });
}

void what_ends_the_process() {
    expect("another program", both, kKilled, [](const Reach&) -> long {
        char* const nothing[] = {nullptr};
        return ::execve("/bin/true", nothing, nothing);
    });
    expect("another process", both, kKilled,
           [](const Reach&) -> long { return syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); });
    expect("another thread", both, kKilled, [](const Reach&) -> long {
        std::thread([] {}).join();
        return 0;
    });
    expect("tracing", both, kKilled,
           [](const Reach&) -> long { return ::ptrace(PTRACE_ATTACH, getppid(), 0, 0); });
    expect("others' memory", both, kKilled, [](const Reach&) -> long {
        iovec none{};
        return ::process_vm_readv(getppid(), &none, 1, &none, 1, 0);
    });
    expect("a program in memory", both, kKilled, [](const Reach&) -> long { return ::memfd_create("x", 0); });
    expect("new name spaces", both, kKilled,
           [](const Reach&) -> long { return syscall(SYS_unshare, 0x10000000); });
    expect("io_uring", both, kKilled,
           [](const Reach&) -> long { return syscall(SYS_io_uring_setup, 1, nullptr); });
    expect("BPF", both, kKilled, [](const Reach&) -> long { return syscall(SYS_bpf, 0, nullptr, 0); });
#ifdef __x86_64__
    expect("the 32-bit door", both, kKilled, [](const Reach&) -> long {
        long result = 20;  // getpid by the i386 table: allowed by number, were the architecture not looked at
        asm volatile("int $0x80" : "+a"(result) : : "memory");
        return result;
    });
    expect("the x32 door", both, EPERM,
           [](const Reach&) -> long { return syscall(SYS_read | 0x40000000, 0, nullptr, 0); });
#endif
}

/// The children need a spool with a recording, and a folder beside it.
void make_folders() {
    char name[] = "/tmp/hw-sandbox-XXXXXX";
    folder = ::mkdtemp(name);
    for (const char* part : {"/spool", "/run", "/elsewhere"}) ::mkdir((folder + part).c_str(), 0700);
    for (const char* part : {"/spool/there.hwr", "/elsewhere/kept", "/run/socket"})
        Fd(::open((folder + part).c_str(), O_CREAT | O_WRONLY, 0600));
}

void remove_folders() {
    for (const char* part : {"/spool/there.hwr", "/elsewhere/kept"}) ::unlink((folder + part).c_str());
    for (const char* part : {"/spool", "/run", "/elsewhere", ""}) ::rmdir((folder + part).c_str());
}

}  // namespace
}  // namespace hushwire::io

int main() {
    using namespace hushwire::io;
    make_folders();
    what_still_works();
    what_is_refused();
    bool is_whole = has_landlock();
    if (is_whole) what_landlock_refuses();
    what_ends_the_process();
    struct stat there {};
    if (::stat((folder + "/elsewhere/kept").c_str(), &there) != 0) failures++;
    remove_folders();
    std::printf("sandbox: %d failures%s\n", failures,
                is_whole ? "" : " (no Landlock here: its part was not tried)");
    return failures ? 1 : 0;
}
