#!/bin/sh
# Print the Python to make the virtual environment with: 3.11 or newer and, when we are root, one that the user nobody can run,
# since hushwire's roles become nobody.
set -u
for candidate in ${PYTHON:-} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
    found=$(command -v "$candidate" 2>/dev/null) || continue
    "$found" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if [ "$(id -u)" -eq 0 ]; then
        found=$("$found" -c 'import os, sys; print(os.path.realpath(sys.executable))')
        "$found" -c '
import os, sys
os.chdir("/")
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
os.execv(sys.argv[1], [sys.argv[1], "-c", "import ssl"])' "$found" >/dev/null 2>&1 || continue
    fi
    printf '%s\n' "$found"
    exit 0
done
echo 'hushwire: Python 3.11 or newer with its venv module is needed (Debian 12, Ubuntu 24.04 or newer have it): install it, or set PYTHON.' >&2
exit 1
