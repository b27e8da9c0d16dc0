#include "io/harden.hpp"

#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <stdexcept>

namespace hushwire::io {

namespace {

rlimit raise(__rlimit_resource kind) {
    rlimit limit{};
    getrlimit(kind, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(kind, &limit);
    return limit;
}

void keep_out_of_swap() {
#ifndef HUSHWIRE_SANITIZED  // their shadow memory is not to be locked
    // With a limit, locking all would make later allocations fail: then only the recordings' chunks are
    // locked.
    rlimit endless{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &endless);
    if (raise(RLIMIT_MEMLOCK).rlim_cur == RLIM_INFINITY) mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
#endif
}

}  // namespace

void harden() {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
#ifndef HUSHWIRE_SANITIZED  // the leak checker traces its own process
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    raise(RLIMIT_NOFILE);
    keep_out_of_swap();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);  // a file size limit shows as EFBIG
}

void bind_all(char* const* arguments) {
    if (::getenv("LD_BIND_NOW")) return;
    std::array<char, PATH_MAX> path{};
    auto length = ::readlink("/proc/self/exe", path.data(), path.size() - 1);
    if (length <= 0 || ::setenv("LD_BIND_NOW", "1", 1) != 0) return;
    ::execv(path.data(), arguments);
}

void end_of_threads() {
    rlimit none{0, 0};
    setrlimit(RLIMIT_NPROC, &none);
}

void become(const std::string& user, const std::string& socket_path) {
    if (geteuid() != 0) {
        const auto* self = getpwuid(geteuid());
        if (self && user == self->pw_name) return;
        throw std::runtime_error("--user needs a start as root");
    }
    const auto* entry = getpwnam(user.c_str());
    if (!entry) throw std::runtime_error("--user names nobody on this system");
    auto uid = entry->pw_uid;
    auto gid = entry->pw_gid;
    if (::chown(socket_path.c_str(), uid, gid) != 0)
        throw std::runtime_error("the control socket can't be given to --user");
    rlimit endless{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &endless);  // what is locked later counts against the user
    if (setgroups(1, &gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0
        || (uid != 0 && setuid(0) == 0))
        throw std::runtime_error("privileges could not be dropped");
}

}  // namespace hushwire::io
