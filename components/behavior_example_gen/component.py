"""BehaviorExampleGen: from a behaviour log to windowed examples."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.behavior_example_gen import artifacts, executor, spec
from components.behavior_example_gen.windows.kind import WindowSettings


class BehaviorExampleGenSpec(component_spec.ComponentSpec):
    """Outputs and settings of BehaviorExampleGen."""

    PARAMETERS = {
        "log": component_spec.ExecutionParameter(type=str),
        "window": component_spec.ExecutionParameter(type=str),
        "split": component_spec.ExecutionParameter(type=str),
        "state": component_spec.ExecutionParameter(type=str),
        "candidates_within": component_spec.ExecutionParameter(type=float, optional=True),
        # Unused by the executor; it makes the cache key depend on the code.
        "code": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, Any] = {}
    OUTPUTS = {
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
        "rejected": component_spec.ChannelParameter(type=artifacts.RejectedRows),
        "profile": component_spec.ChannelParameter(type=artifacts.LogProfile),
    }


class BehaviorExampleGen(base_beam_component.BaseBeamComponent):
    """Reads a behaviour log, and cuts it into the windows of `train`, `eval` and `test`.

    Of a log in spans it reads the newest one and the `log.spans - 1` before it, since a window of today
    needs the events of yesterday. It is no `FileBasedExampleGen`: what that finds out in a driver, which
    Kubeflow Pipelines never runs, comes from LogState here.

    Outputs:
      examples: gzip TFRecords of tf.Examples (see `schemas.names`), a file a shard; with `candidates_within` also
        `candidates.FILE`.
      rejected: `RejectedRows`: the bad rows, with file, row and reason.
      profile: `LogProfile`: what the log holds.

    Args:
      log, window, split: what to read, and what to make of it.
      state: the value of LogState's output: windows of another state are not taken from the cache.
      code: a version of the code; windows that another one has made are not taken from the cache.
      candidates_within: of `evaluation`, seconds; None: nothing is said of candidates.
    """

    SPEC_CLASS = BehaviorExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        log: spec.LogSpec,
        window: WindowSettings,
        split: spec.SplitSpec,
        state: Any,
        code: str = "",
        candidates_within: float | None = None,
    ):
        super().__init__(
            BehaviorExampleGenSpec(
                log=log.to_json(),
                window=window.to_json(),
                split=split.to_json(),
                state=state,
                candidates_within=candidates_within,
                code=code,
                examples=types.Channel(type=standard_artifacts.Examples),
                rejected=types.Channel(type=artifacts.RejectedRows),
                profile=types.Channel(type=artifacts.LogProfile),
            )
        )
