.PHONY: env demo check lint test docs image

# What `make image` names what it builds.
IMAGE ?= footfall:latest

env:
	@requirements/make_env.sh

demo: env
	@.venv/bin/footfall demo

# What a change must pass.
check: lint test

# Style, imports, types, and whether the generated parts of the documentation are those of this code.
lint: env
	@requirements/make_tools.sh check
	@.venv-check/bin/ruff check .
	@.venv-check/bin/ruff format --check .
	@.venv-check/bin/mypy --python-executable .venv/bin/python
	@.venv/bin/python -m docs.generate --check

# Processes that import TensorFlow and TFX start in a third of the time where Python may keep their bytecode.
test: env
	@env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest

# The site, in site/.
docs: env
	@requirements/make_tools.sh docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --strict

# The container image for Kubeflow and Vertex AI: `make image IMAGE=my-registry/footfall:1`, with GPU=1 for GPUs.
image:
	@command -v docker >/dev/null || { echo "make image needs docker, found none on PATH" >&2; exit 1; }
	@docker build --build-arg GPU="$(GPU)" --tag "$(IMAGE)" .
