#!/bin/sh
# Print the Python to make the virtual environment with: 3.11 or newer and, when we are root, one that the user nobody can run,
# since hushwire's roles become nobody.
set -u
for candidate in ${PYTHON:-} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
    found=$(command -v "$candidate" 2>/dev/null) || continue
    "$found" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null 2>&1; then
        real=$("$found" -c 'import os, sys; print(os.path.realpath(sys.executable))')
        (cd / && setpriv --reuid 65534 --regid 65534 --clear-groups "$real" -c 'import ssl') >/dev/null 2>&1 || continue
        found=$real
    fi
    printf '%s\n' "$found"
    exit 0
done
echo 'hushwire: Python 3.11 or newer with its venv module is needed (Debian 12, Ubuntu 24.04 or newer have it): install it, or set PYTHON.' >&2
exit 1
