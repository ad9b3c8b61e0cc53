.PHONY: env demo test

env:
	@requirements/make_env.sh

demo: env
	@.venv/bin/footfall demo

# Processes that import TensorFlow and TFX start in a third of the time where Python may keep their bytecode.
test: env
	@env -u PYTHONDONTWRITEBYTECODE .venv/bin/python -m pytest
