// What the program gives up before it meets a stranger's packet.
#pragma once
#include <string>

namespace hushwire::io {

/// No core dumps, no tracing, no new privileges, as many descriptors as allowed; writes to closed pipes are
/// errors, not signals.
void harden();

/// Becomes `user` for good, with its group and no others. The socket is given to it. Throws
/// std::runtime_error in one sentence.
void become(const std::string& user, const std::string& socket_path);

}  // namespace hushwire::io
