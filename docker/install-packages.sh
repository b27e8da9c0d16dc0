#!/bin/sh
# Install the packages of docker/apt-packages.txt that belong to the groups given and are missing.
# Asks first at a terminal; elsewhere (containers, CI) it goes ahead. Needs root or sudo only if something is missing.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)

say() { printf 'hushwire: %s\n' "$*" >&2; }

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-query >/dev/null 2>&1; then
    missing=
    for program in cmake g++ make ninja python3; do
        command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
    done
    [ -z "$missing" ] && exit 0
    say "this system has no apt-get: install$missing and OpenSSL's headers with its own package manager, then run make again."
    exit 1
fi

wanted=
for group in "$@"; do
    wanted="$wanted $(sed -e 's/#.*//' "$here/apt-packages.txt" | awk -v group="$group" '{for (i = 2; i <= NF; i++) if ($i == group) print $1}')"
done
missing=
for package in $(printf '%s\n' $wanted | sort -u); do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

become=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        say "these packages are missing:$missing. Ask an administrator for: apt-get install$missing"
        exit 1
    fi
    become=sudo
fi
if [ -t 0 ] && [ -t 2 ]; then
    printf 'hushwire needs these packages:%s\nInstall them with apt-get now? [Y/n] ' "$missing" >&2
    read -r answer
    case "$answer" in [nN]*) say "nothing was installed: run apt-get install$missing yourself, then make again."; exit 1 ;; esac
fi
say "installing$missing"
$become env DEBIAN_FRONTEND=noninteractive apt-get update -q >&2
# Services that come with a package (rtpengine) are not wanted as services here.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ] && $become sh -c "printf '#!/bin/sh\nexit 101\n' > $policy && chmod 755 $policy"; then
    trap '$become rm -f "$policy"' EXIT
fi
# shellcheck disable=SC2086
$become env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >&2
