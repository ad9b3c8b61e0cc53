"""ServerValidator: the candidate answers from a server before it is pushed."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.infra_validator import executor, spec


class ServerValidatorSpec(component_spec.ComponentSpec):
    """Inputs, outputs and settings of ServerValidator."""

    PARAMETERS = {
        "infra": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "model_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
    }
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServerValidator(base_component.BaseComponent):
    """Loads the candidate in a server of its own, asks every signature, and times its answers.

    TensorFlow Serving is used where its binary or Docker is there, the embedded server
    elsewhere (`InfraSpec.server`).

    Outputs:
      blessing: `InfraBlessing`, as the standard Pusher reads it, with `latency.json`.

    Args:
      model, examples: the candidate, and what it is asked about.
      infra: the settings.
      model_blessing: of the Evaluator, where the trial waits for it.
      code: that asks, of `pipeline.code`: the verdict of other code is not taken from the cache.
    """

    SPEC_CLASS = ServerValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        infra: spec.InfraSpec,
        model_blessing: types.BaseChannel | None = None,
        code: str | None = None,
    ):
        super().__init__(
            ServerValidatorSpec(
                model=model,
                examples=examples,
                model_blessing=model_blessing,
                infra=infra.to_json(),
                code=code,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
