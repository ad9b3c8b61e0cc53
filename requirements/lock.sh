#!/usr/bin/env bash
# Writes the locks anew from their inputs, with the hashes of all files. Versions stay as they are where they fit;
# `requirements/lock.sh --upgrade` takes what the package index has now (`--upgrade-package NAME` one of them).
# Needs uv, of the version in build.txt or newer. Afterwards: requirements/licences.py in each environment.
set -euo pipefail
cd "$(dirname "$0")"
compile=(uv pip compile --quiet --generate-hashes --custom-compile-command requirements/lock.sh --no-emit-index-url --no-emit-find-links "$@")
"${compile[@]}" --python-version 3.10 --python-platform x86_64-manylinux_2_17 py310-tfx116.in -o py310-tfx116.txt
"${compile[@]}" --universal --python-version 3.11 py311-tfx121.in -o py311-tfx121.txt
# Of no platform: build.txt is installed before the others, by any of their interpreters, and check.txt and docs.txt
# have environments of their own (make_tools.sh).
for name in build check docs; do
    "${compile[@]}" --universal --python-version 3.10 $name.in -o $name.txt
done
# Of these, the libraries alone: the rest is the lock's own.
gpu=$(mktemp)
"${compile[@]}" --python-version 3.10 --python-platform x86_64-manylinux_2_17 py310-tfx116-gpu.in -o "$gpu"
{
    head -n 2 "$gpu"
    awk '/^[a-z]/ { kept = /^nvidia-/ } kept' "$gpu"
} > py310-tfx116-gpu.txt
rm "$gpu"
