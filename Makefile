.PHONY: env demo test test-slow

env:
	@requirements/make_env.sh

demo: env
	@.venv/bin/footfall demo

test: env
	@.venv/bin/python -m pytest

test-slow: env
	@.venv/bin/python -m pytest -m slow
