// What is left to the program once it runs: packets, its spool, its clock. Whoever takes it over through a
// packet finds no file, no other program and no other kind of socket (docs/media-safety.md, ADR 0026).
#pragma once
#include <cstdint>

namespace hushwire::io {

/// The folders that are still reachable, as descriptors opened before.
struct Reach {
    int spool = -1;          ///< recordings are made here
    int socket_folder = -1;  ///< the control socket is removed from here at the end
};

/// Landlock: no file but new ones in the spool, no TCP, no signals to others, as far as this kernel knows it.
/// To be called while there is one thread only. Returns the kernel's Landlock version, 0 where there is none.
int confine_files(const Reach& reach);

/// Seccomp, for every thread: the system calls of a running hushwire-media and no others. What only an
/// intruder asks for (another program, another process' memory, the kernel's own doors) ends the process; all
/// else that is not on the list fails with EPERM. False where this kernel or processor has no such filters.
bool confine_calls(const Reach& reach);

}  // namespace hushwire::io
