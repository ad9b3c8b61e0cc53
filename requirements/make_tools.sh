#!/usr/bin/env bash
# Makes the environment .venv-NAME of requirements/NAME.txt: `check` (style and types) or `docs` (the site). It has the
# interpreter of .venv, which make_env.sh makes, and nothing of Footfall. Does nothing where that has been done before.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1 lock=requirements/$1.txt folder=.venv-$1
stamp="$(cat "$lock" requirements/make_tools.sh | sha256sum | cut -d' ' -f1) $(.venv/bin/python -c 'import sys; print(sys.base_prefix, sys.version)' | tr '\n' ' ')"
# Of a clone that was moved or copied, as in make_env.sh.
place=$(pwd -P)
if [ "$(head -n 1 "$folder/.stamp" 2>/dev/null)" = "$stamp" ] \
    && { [ -L "$folder" ] || [ "$(tail -n +2 "$folder/.stamp")" = "$place" ]; }; then
    exit 0
fi
printf 'Making %s with %s\n' "$folder" "$lock" >&2
rm -rf "$folder"
.venv/bin/python -m venv "$folder"
if ! .venv/bin/uv pip install --quiet --python "$folder/bin/python" --require-hashes -r "$lock"; then
    echo "uv could not install; trying pip" >&2
    "$folder/bin/python" -m pip install --quiet --require-hashes -r "$lock"
fi
# Written last: an installation that was interrupted is made again.
printf '%s\n%s\n' "$stamp" "$place" > "$folder/.stamp"
