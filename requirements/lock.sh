#!/usr/bin/env bash
# Writes both locks anew from their inputs. Needs uv, and takes what the package index has now.
set -euo pipefail
cd "$(dirname "$0")"
compile=(uv pip compile --quiet --upgrade --custom-compile-command requirements/lock.sh --no-emit-index-url --no-emit-find-links)
"${compile[@]}" --python-version 3.10 --python-platform x86_64-manylinux_2_17 py310-tfx116.in -o py310-tfx116.txt
"${compile[@]}" --universal --python-version 3.11 py311-tfx121.in -o py311-tfx121.txt
