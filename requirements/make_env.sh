#!/usr/bin/env bash
# Makes the environment .venv: picks the interpreter and its lock, installs both the lock and
# Footfall itself. Does nothing where that has been done before. FOOTFALL_PYTHON names an
# interpreter to take instead.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

# Interpreters of a version: on PATH, then pyenv's, then uv's.
candidates() {
    local version=$1 found
    found=$(command -v "python$version" || true)
    [ -n "$found" ] && printf '%s\n' "$found"
    for found in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
        [ -x "$found" ] && printf '%s\n' "$found"
    done
    if command -v uv >/dev/null; then
        uv python find --no-python-downloads "$version" 2>/dev/null || true
    fi
}

# Whether it runs, is of the version, and can make an environment with pip.
usable() { [ "$(version_of "$1")" = "$2" ] && "$1" -c 'import ensurepip, venv' 2>/dev/null; }

glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | awk '{print $2}' || true)
new_enough() { [ -n "$glibc" ] && [ "$(printf '%s\n' 2.39 "$glibc" | sort -V | head -n 1)" = 2.39 ]; }

python= lock=
pick() {
    local version candidate
    for version in "$@"; do
        while read -r candidate; do
            if [ -n "$candidate" ] && usable "$candidate" "$version"; then
                python=$candidate
                return 0
            fi
        done < <(candidates "$version")
    done
    return 1
}

if [ -n "${FOOTFALL_PYTHON:-}" ]; then
    python=$FOOTFALL_PYTHON
    case "$(version_of "$python")" in
        3.10) lock=requirements/py310-tfx116.txt ;;
        3.11 | 3.12 | 3.13) lock=requirements/py311-tfx121.txt ;;
        *) say "FOOTFALL_PYTHON=$python: wants Python 3.10 to 3.13, found $(version_of "$python")"; exit 1 ;;
    esac
elif new_enough && pick 3.13 3.12 3.11; then
    lock=requirements/py311-tfx121.txt
elif pick 3.10; then
    lock=requirements/py310-tfx116.txt
else
    say "No environment fits this machine (Linux on x86-64 is needed):"
    say "  - TFX 1.21 wants Python 3.11 to 3.13 and glibc 2.39 or newer; found glibc ${glibc:-none}"
    say "  - TFX 1.16 wants Python 3.10, with venv; found none on PATH, in pyenv or in uv"
    say "Install Python 3.10 (for example: pyenv install 3.10), or name one: FOOTFALL_PYTHON=/path/to/python make env"
    exit 1
fi

stamp="$(cat "$lock" requirements/build.txt setup.py requirements/make_env.sh | sha256sum | cut -d' ' -f1) $("$python" -c 'import sys; print(sys.executable, sys.version)' | tr '\n' ' ')"
# Its programs name the folder that they were made in, and Footfall's sources there: in a clone that was moved or copied they
# fail, or run those. A link to an environment elsewhere is kept.
place=$(pwd -P)
if [ -x .venv/bin/footfall ] && [ "$(head -n 1 .venv/.stamp 2>/dev/null)" = "$stamp" ] \
    && { [ -L .venv ] || [ "$(tail -n +2 .venv/.stamp)" = "$place" ]; }; then
    exit 0
fi
# Some packages have no wheel (pyfarmhash is in C++).
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
if ! printf '#include <Python.h>\n' | "${CXX:-c++}" -x c++ -fsyntax-only -I "$headers" - 2>/dev/null; then
    say "A C++ compiler and the headers of $python are needed to build packages without a wheel; found no working"
    say "${CXX:-c++} with $headers/Python.h. On Debian: apt install g++ python3-dev"
    exit 1
fi
say "Making .venv with $("$python" -V) and $lock"
rm -rf .venv
"$python" -m venv .venv
# Each file is one whose hash is in the lock, also those that build the few packages without a wheel: these are built
# with what build.txt has installed, instead of what the index has at the time.
.venv/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
install=(--quiet --require-hashes --no-build-isolation -r "$lock")
if ! .venv/bin/uv pip install --python .venv/bin/python "${install[@]}"; then
    say "uv could not install; trying pip"
    .venv/bin/python -m pip install "${install[@]}"
fi
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
# Written last: an installation that was interrupted is made again.
printf '%s\n%s\n' "$stamp" "$place" > .venv/.stamp
say "Done: .venv/bin/footfall"
