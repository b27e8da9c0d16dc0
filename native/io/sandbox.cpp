#include "io/sandbox.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <initializer_list>
#include <vector>

#include "io/spool_file.hpp"

namespace hushwire::io {
namespace {

// Landlock's numbers, which the kernel headers of an older build machine may lack.
namespace landlock {
constexpr long kCreateRuleset = 444, kAddRule = 445, kRestrictSelf = 446;
constexpr unsigned kAskVersion = 1, kPathBeneath = 1;
constexpr std::uint64_t kWriteFile = 1U << 1, kReadDir = 1U << 3, kRemoveFile = 1U << 5, kMakeReg = 1U << 8,
                        kTruncate = 1U << 14;
constexpr std::uint64_t kTcp = 0b11, kScopes = 0b11;  // bind and connect; abstract sockets and signals

struct Ruleset {
    std::uint64_t files, network, scopes;
};
struct [[gnu::packed]] PathBeneath {
    std::uint64_t allowed;
    std::int32_t folder;
};

/// Every file right that this version of Landlock can take away.
constexpr std::uint64_t file_rights(int version) {
    unsigned count = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;
    return (1ULL << count) - 1;
}
/// The part of Ruleset that this version knows.
constexpr std::size_t ruleset_size(int version) {
    return version >= 6 ? 24 : version >= 4 ? 16 : 8;
}
}  // namespace landlock

#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t kArchitecture = 0;
#endif

constexpr std::uint32_t kRefuse = SECCOMP_RET_ERRNO | EPERM;

/// Low words are enough: the kernel itself reads these arguments as int, or tests a bit in the low word.
struct Check {
    unsigned argument;
    std::uint32_t mask;
    std::vector<std::uint32_t> values;
};

/// A classic BPF program, built top down: for each system call a comparison, and behind it what becomes of
/// it.
class Filter {
  public:
    Filter() {
        load(offsetof(seccomp_data, arch));
        jump(kArchitecture, 1, 0);
        end(SECCOMP_RET_KILL_PROCESS);
        load(offsetof(seccomp_data, nr));
    }
    void allow(std::initializer_list<long> calls) { each(calls, SECCOMP_RET_ALLOW); }
    void kill(std::initializer_list<long> calls) { each(calls, SECCOMP_RET_KILL_PROCESS); }
    /// Allowed where every check holds, else refused.
    void allow_if(long call, std::initializer_list<Check> checks) {
        std::size_t length = 1;
        for (const auto& check : checks) length += 3 + check.values.size();
        jump(static_cast<std::uint32_t>(call), 0, static_cast<std::uint8_t>(length));
        for (const auto& check : checks) {
            load(static_cast<std::uint32_t>(offsetof(seccomp_data, args) + 8 * check.argument));
            code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, check.mask));
            auto left = static_cast<std::uint8_t>(check.values.size());
            for (auto value : check.values) jump(value, left--, 0);
            end(kRefuse);
        }
        end(SECCOMP_RET_ALLOW);
    }
    std::vector<sock_filter> finish() {
        end(kRefuse);
        return std::move(code_);
    }

  private:
    void each(std::initializer_list<long> calls, std::uint32_t verdict) {
        for (auto call : calls) {
            jump(static_cast<std::uint32_t>(call), 0, 1);
            end(verdict);
        }
    }
    void load(std::size_t offset) {
        code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
    }
    void jump(std::uint32_t value, std::uint8_t if_equal, std::uint8_t if_not) {
        code_.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, if_equal, if_not));
    }
    void end(std::uint32_t verdict) { code_.push_back(BPF_STMT(BPF_RET | BPF_K, verdict)); }

    std::vector<sock_filter> code_;
};

constexpr std::uint32_t kAll = 0xffffffff;

std::uint32_t word(int value) {
    return static_cast<std::uint32_t>(value);
}

[[maybe_unused]] std::vector<sock_filter> program(const Reach& reach) {
    Filter filter;
    // The packet path first (kernels before 5.11 walk the list for each call).
    filter.allow({__NR_recvfrom, __NR_sendto, __NR_sendmmsg, __NR_recvmmsg, __NR_clock_nanosleep,
                  __NR_epoll_pwait, __NR_futex, __NR_read, __NR_write, __NR_recvmsg, __NR_sendmsg});
#ifdef __NR_epoll_wait
    filter.allow({__NR_epoll_wait, __NR_poll});
#endif
#ifdef __NR_epoll_pwait2
    filter.allow({__NR_epoll_pwait2});
#endif
    filter.allow({__NR_ppoll, __NR_epoll_ctl, __NR_close, __NR_accept4});
    // Media sockets: UDP only. AF_UNIX, TCP, raw, packet and netlink sockets can't be made.
    filter.allow_if(__NR_socket, {{0, kAll, {AF_INET, AF_INET6}},
                                  {1, ~std::uint32_t{SOCK_NONBLOCK | SOCK_CLOEXEC}, {SOCK_DGRAM}},
                                  {2, kAll, {0, IPPROTO_UDP}}});
    filter.allow({__NR_bind, __NR_getsockname, __NR_setsockopt, __NR_getsockopt});
    // The spool: new files only, through its own descriptor, never through a link, never read.
    filter.allow_if(__NR_openat, {{0, kAll, {word(reach.spool)}}, {2, kAll, {word(kSpoolFlags)}}});
    filter.allow_if(__NR_unlinkat,
                    {{0, kAll, {word(reach.spool), word(reach.socket_folder)}}, {2, kAll, {0}}});
    filter.allow({__NR_fdatasync, __NR_sync_file_range, __NR_fsync, __NR_ftruncate, __NR_lseek, __NR_writev,
                  __NR_fstat});
    // Memory, but none that holds instructions.
    filter.allow_if(__NR_mmap, {{2, PROT_EXEC, {0}}});
    filter.allow_if(__NR_mprotect, {{2, PROT_EXEC, {0}}});
    filter.allow({__NR_munmap, __NR_mremap, __NR_madvise, __NR_brk, __NR_mlock, __NR_munlock});
    // Threads, time, chance, and the way out (abort included: signals to this process alone).
    filter.allow({__NR_clock_gettime, __NR_gettimeofday, __NR_nanosleep, __NR_getrandom, __NR_sched_yield,
                  __NR_gettid, __NR_getpid, __NR_rt_sigprocmask, __NR_rt_sigreturn, __NR_rt_sigaction,
                  __NR_sigaltstack, __NR_restart_syscall, __NR_set_robust_list, __NR_exit, __NR_exit_group});
#ifdef __NR_rseq
    filter.allow({__NR_rseq});
#endif
    filter.allow_if(__NR_tgkill, {{0, kAll, {word(getpid())}}});
    filter.allow_if(__NR_prctl, {{0, kAll, {PR_SET_NAME, PR_SET_TIMERSLACK}}});
    filter.kill({__NR_execve,
                 __NR_execveat,
                 __NR_ptrace,
                 __NR_process_vm_readv,
                 __NR_process_vm_writev,
                 __NR_clone,
                 __NR_unshare,
                 __NR_setns,
                 __NR_mount,
                 __NR_umount2,
                 __NR_chroot,
                 __NR_bpf,
                 __NR_perf_event_open,
                 __NR_userfaultfd,
                 __NR_keyctl,
                 __NR_add_key,
                 __NR_init_module,
                 __NR_finit_module,
                 __NR_kexec_load,
                 __NR_io_uring_setup,
                 __NR_pidfd_open,
                 __NR_setuid,
                 __NR_setresuid,
                 __NR_memfd_create});
#ifdef __NR_fork
    filter.kill({__NR_fork, __NR_vfork});
#endif
#ifdef __NR_clone3
    filter.kill({__NR_clone3});
#endif
#ifdef __NR_pidfd_getfd
    filter.kill({__NR_pidfd_getfd});
#endif
    return filter.finish();
}

}  // namespace

int confine_files([[maybe_unused]] const Reach& reach) {
#ifdef HUSHWIRE_SANITIZED  // the sanitizers read symbols and maps when they report
    return 0;
#else
    auto version =
        static_cast<int>(syscall(landlock::kCreateRuleset, nullptr, std::size_t{0}, landlock::kAskVersion));
    if (version <= 0) return 0;
    landlock::Ruleset rules{landlock::file_rights(version), landlock::kTcp, landlock::kScopes};
    Fd ruleset(
        static_cast<int>(syscall(landlock::kCreateRuleset, &rules, landlock::ruleset_size(version), 0U)));
    if (!ruleset) return 0;
    auto permit = [&](int folder, std::uint64_t rights) {
        landlock::PathBeneath path{rights & rules.files, folder};
        return syscall(landlock::kAddRule, ruleset.get(), landlock::kPathBeneath, &path, 0U) == 0;
    };
    bool is_whole = permit(reach.spool, landlock::kWriteFile | landlock::kMakeReg | landlock::kRemoveFile
                                            | landlock::kTruncate)
                    && permit(reach.socket_folder, landlock::kRemoveFile)
                    && syscall(landlock::kRestrictSelf, ruleset.get(), 0U) == 0;
    return is_whole ? version : 0;
#endif
}

bool confine_calls([[maybe_unused]] const Reach& reach) {
#ifdef HUSHWIRE_SANITIZED
    return false;
#else
    if (!kArchitecture) return false;
    auto code = program(reach);
    sock_fprog whole{static_cast<unsigned short>(code.size()), code.data()};
    // Without SPEC_ALLOW, kernels before 5.16 would also slow every store down; there is nobody else's code
    // in this process that could watch its speculation.
    unsigned flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    return syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, flags, &whole) == 0;
#endif
}

}  // namespace hushwire::io
