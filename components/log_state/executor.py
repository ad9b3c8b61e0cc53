"""Finds the newest span of a log, and which state its files are in."""

from collections.abc import Mapping
from typing import Any

from components import observing
from components.behavior_example_gen import spec, state

STATE = "state"


class _LogObserver(observing.Observer):
    output = STATE

    def look(self, exec_properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """As `behavior_example_gen.state.look`."""
        return state.look(spec.LogSpec.from_json(exec_properties["log"]))


class Executor(_LogObserver, observing.Executor):
    """Executor of LogState."""


class Driver(_LogObserver, observing.Driver):
    """Driver of LogState, of the local runner."""
