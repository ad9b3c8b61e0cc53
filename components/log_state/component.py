"""LogState: which spans a log has, and which state its files are in."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.behavior_example_gen import spec
from components.log_state import executor


class LogStateSpec(component_spec.ComponentSpec):
    """Outputs and settings of LogState."""

    PARAMETERS = {
        "log": component_spec.ExecutionParameter(type=str),
        executor.PATH: component_spec.ExecutionParameter(type=str, optional=True),
        executor.SPAN: component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {executor.STATE: component_spec.ChannelParameter(type=standard_artifacts.String)}


class LogState(base_component.BaseComponent):
    """Looks at the files of a log before they are read.

    A path with `{SPAN}`, or a date `{YYYY}`, `{MM}`, `{DD}`, (and `{VERSION}`) stands for spans: the newest is found here.

    Outputs:
      state: what `executor.look` gives, as text.

    Args:
      log: what is read.
      path, span: what a run reads otherwise, see `executor.look`: texts, runtime parameters, or None.
    """

    SPEC_CLASS = LogStateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = executor.Driver

    def __init__(self, log: spec.LogSpec, path: Any = None, span: Any = None):
        super().__init__(
            LogStateSpec(
                log=log.to_json(),
                path=path,
                span=span,
                **{executor.STATE: types.Channel(type=standard_artifacts.String)},
            )
        )
