"""LiveModel: the model that a candidate has to hold its own against."""

from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.live_model import executor
from schemas import kinds


class LiveModelSpec(component_spec.ComponentSpec):
    """Outputs and settings of LiveModel."""

    PARAMETERS = {
        "base": component_spec.ExecutionParameter(type=str),
        "objective": component_spec.ExecutionParameter(type=str),
        "labels": component_spec.ExecutionParameter(type=str),
        "kind": component_spec.ExecutionParameter(type=str),
        "repeats": component_spec.ExecutionParameter(type=int),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {executor.LIVE: component_spec.ChannelParameter(type=standard_artifacts.String)}


class LiveModel(base_component.BaseComponent):
    """Finds the model that is live where the Pusher pushes to.

    It takes the place of TFX's resolver of the last blessed model, which Kubeflow Pipelines does not
    implement, and which knows nothing of versions that were pushed, taken back or replaced since.

    Outputs:
      live: of `executor.look`, as text.

    Args:
      base: the folder that a server watches.
      objective: of the candidate.
      labels: whose probabilities the candidate tells.
      kind: of its windows.
      repeats: whether it recommends what a user has had; None: it recommends nothing.
    """

    SPEC_CLASS = LiveModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = executor.Driver

    def __init__(
        self,
        base: str,
        objective: str,
        labels: Sequence[str] = (),
        kind: str = kinds.DEFAULT_KIND,
        repeats: bool | None = None,
    ):
        super().__init__(
            LiveModelSpec(
                base=base,
                objective=objective,
                labels=executor.SEPARATOR.join(labels),
                kind=kind,
                repeats=executor.REPEATS[repeats],
                **{executor.LIVE: types.Channel(type=standard_artifacts.String)},
            )
        )
