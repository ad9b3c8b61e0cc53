"""Hands a compiled pipeline to the backend that runs it: a module for each of `runners.targets.TARGETS`."""

import importlib
from typing import Any

# Of runs that wait for one another: each reads all that there is.
AT_ONCE = 1


def get(target: str) -> Any:
    """The module of a backend: `request` makes what it is asked, `send` asks it. Both have its own client imported late."""
    return importlib.import_module(f"pipeline.submitting.{target}")
