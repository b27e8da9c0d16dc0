#include "io/harden.hpp"

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <stdexcept>

namespace hushwire::io {

void harden() {
    rlimit none{0, 0};
    setrlimit(RLIMIT_CORE, &none);
#ifndef HUSHWIRE_SANITIZED  // the leak checker traces its own process
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);  // a file size limit shows as EFBIG
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
    if (setgroups(1, &gid) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0
        || (uid != 0 && setuid(0) == 0))
        throw std::runtime_error("privileges could not be dropped");
}

}  // namespace hushwire::io
