#!/bin/sh
# Resolve pyproject.toml's ranges in a fresh environment and write the exact versions: names and versions only.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$(sh "$here/docker/choose-python.sh")" -m venv "$scratch/venv"
"$scratch/venv/bin/python" - "$here/pyproject.toml" > "$scratch/wanted.txt" <<'PY'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    data = tomllib.load(file)
project = data["project"]
for line in [*project["dependencies"], *project["optional-dependencies"]["softphone"], *project["optional-dependencies"]["dev"]]:
    print(line)
PY
"$scratch/venv/bin/python" -m pip install -q --disable-pip-version-check ${CONSTRAINTS:+-c "$CONSTRAINTS"} -r "$scratch/wanted.txt"
{
    echo '# Exact versions of everything that make setup installs. Written by make lock from the ranges in pyproject.toml.'
    "$scratch/venv/bin/python" -m pip freeze --exclude pip --exclude setuptools |
        sed -e "s/^\(pjsua2-python==.*\)$/\1 ; python_version < '3.13' and platform_machine == 'x86_64'/" \
            -e "s/^\(atheris==.*\)$/\1 ; python_version < '3.14' and platform_machine == 'x86_64'/"
} > "$here/docker/requirements.lock"
