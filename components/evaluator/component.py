"""Evaluator: TFX's, whose baseline is the model that is live."""

import json
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import component_spec, standard_artifacts, standard_component_specs

from components.evaluator import executor


class EvaluatorSpec(component_spec.ComponentSpec):
    """TFX's Evaluator's spec without what Footfall does not use, and with the live model."""

    PARAMETERS = {
        standard_component_specs.EVAL_CONFIG_KEY: standard_component_specs.EvaluatorSpec.PARAMETERS[
            standard_component_specs.EVAL_CONFIG_KEY
        ],
        standard_component_specs.EXAMPLE_SPLITS_KEY: component_spec.ExecutionParameter(type=str),
        executor.LIVE_MODEL: component_spec.ExecutionParameter(type=str, optional=True),
        "code": component_spec.ExecutionParameter(type=str, optional=True),
    }
    INPUTS = {
        standard_component_specs.EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples
        ),
        standard_component_specs.MODEL_KEY: component_spec.ChannelParameter(type=standard_artifacts.Model),
    }
    OUTPUTS = standard_component_specs.EvaluatorSpec.OUTPUTS


class Evaluator(base_beam_component.BaseBeamComponent):
    """As `tfx.components.Evaluator`, with the live model as baseline.

    Outputs:
      evaluation, blessing: as TFX's.

    Args:
      examples: of BehaviorExampleGen.
      example_splits: which of them are measured on.
      model: the candidate.
      eval_config: of `config.eval_config`.
      live_model: the value of LiveModel's output; None compares with nothing.
      code: that measures, of `pipeline.code`: the verdict of other code is not taken from the cache.
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: types.BaseChannel,
        example_splits: list[str],
        model: types.BaseChannel,
        eval_config: Any,
        live_model: Any = None,
        code: str | None = None,
    ):
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                eval_config=eval_config,
                example_splits=json.dumps(example_splits),
                live_model=live_model,
                code=code,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
