"""Finds the newest span of a log, and which state its files are in."""

from collections.abc import Mapping
from typing import Any

from components import observing
from components.behavior_example_gen import spans, spec, state
from schemas import errors

STATE = "state"
# Execution properties: what a run may have otherwise than the settings of the log say.
PATH = "path"
SPAN = "span"


def look(log: spec.LogSpec, path: str | None = None, span: str | None = None) -> dict[str, Any]:
    """Which state a log is in.

    Args:
      log: what is read.
      path: read in place of `log.path`; None is the same.
      span: the last one to read: its number, or its date where the path has one (`2024-05-31`); `newest` or None is the newest.

    Returns:
      As `behavior_example_gen.state.look`; with `path`, if another one is read.

    Raises:
      errors.InputError: if the path does not stand for spans as `log.path` does, no such span is there, or as `state.look`.
    """
    given = state.of_run(log, path)
    number = None if span in (None, "", spans.NEWEST) else spans.number(span, given.path)
    found = state.look(given, number)
    if number not in (None, found["span"]):
        raise errors.InputError(
            f"span: no file of span {span} matches {given.path}; the one before it is {found['span']}"
        )
    return found if given.path == log.path else {**found, "path": given.path}


class _LogObserver(observing.Observer):
    output = STATE

    def look(self, exec_properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `look`."""
        log = spec.LogSpec.from_json(exec_properties["log"])
        return look(log, exec_properties.get(PATH), exec_properties.get(SPAN))


class Executor(_LogObserver, observing.Executor):
    """Executor of LogState."""


class Driver(_LogObserver, observing.Driver):
    """Driver of LogState, of the local runner."""
