"""Pusher: TFX's, with a push that a server never sees half done, and that a run can do without."""

from tfx import types
from tfx.components.pusher import component
from tfx.dsl.components.base import base_component, executor_spec
from tfx.orchestration import data_types
from tfx.proto import pusher_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.pusher import executor, switch


class PusherSpec(standard_component_specs.PusherSpec):
    """As TFX's, with whether the run pushes."""

    PARAMETERS = {
        **standard_component_specs.PusherSpec.PARAMETERS,
        switch.PUSH: component_spec.ExecutionParameter(type=str, optional=True),
    }


class Pusher(component.Pusher):
    """As `tfx.components.Pusher`; see `executor.push` for what it leaves in the destination.

    Args:
      model: of the Trainer.
      model_blessing: of the Evaluator.
      infra_blessing: of the ServerValidator.
      base: the folder that servers watch.
      push: one of `switch.VALUES`, or a parameter of runs; None pushes.
    """

    SPEC_CLASS = PusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        model_blessing: types.BaseChannel,
        infra_blessing: types.BaseChannel,
        base: str,
        push: str | data_types.RuntimeParameter | None = None,
    ):
        # TFX's would make a specification that knows of no `push`.
        base_component.BaseComponent.__init__(
            self,
            PusherSpec(
                model=model,
                model_blessing=model_blessing,
                infra_blessing=infra_blessing,
                push_destination=pusher_pb2.PushDestination(
                    filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=base)
                ),
                pushed_model=types.Channel(type=standard_artifacts.PushedModel),
                **({} if push is None else {switch.PUSH: push}),
            ),
        )
