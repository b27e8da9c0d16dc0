// What the program gives up before it meets a stranger's packet.
#pragma once
#include <string>

namespace hushwire::io {

/// Starts the program again with every function of every library bound (LD_BIND_NOW), where that was not so:
/// the first call of a function that is bound late saves all vector registers on the stack, and with them
/// whatever key was copied last, where nobody wipes it. Goes on where it can't be done.
void bind_all(char* const* arguments);

/// No core dumps, no tracing, no new privileges, as many descriptors as allowed; nothing of this process goes
/// to swap where the limits allow it (RLIMIT_MEMLOCK without end, which a start as root sees to); writes to
/// closed pipes are errors, not signals. Before threads are started.
void harden();

/// No further process or thread of this user from here on. After the last thread was started.
void end_of_threads();

/// Becomes `user` for good, with its group and no others. The socket is given to it. Throws
/// std::runtime_error in one sentence.
void become(const std::string& user, const std::string& socket_path);

}  // namespace hushwire::io
