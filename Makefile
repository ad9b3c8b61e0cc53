.PHONY: env demo test

env:
	@requirements/make_env.sh

demo: env
	@.venv/bin/footfall demo

test: env
	@.venv/bin/python -m pytest
