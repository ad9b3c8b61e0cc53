"""Tuner: TFX's, which also says what came of every trial, and takes the epochs of a run."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.tuner import executor


class TunerSpec(standard_component_specs.TunerSpec):
    """TFX's, and the parameter of a run."""

    PARAMETERS = {
        **standard_component_specs.TunerSpec.PARAMETERS,
        executor.EPOCHS: component_spec.ExecutionParameter(type=int, optional=True),
    }


class Tuner(base_component.BaseComponent):
    """As `tfx.components.Tuner` with a `tuner_fn`; see `executor.Executor` for what `tuner_results` holds besides.

    Outputs:
      best_hyperparameters, tuner_results: as TFX's.

    Args:
      tuner_fn: the dotted name of the function that searches.
      examples, transform_graph: what is trained on.
      train_args, eval_args: the splits.
      custom_config: of `trainer.arguments.Arguments.pack`.
      epochs: of each trial, in place of those of `custom_config`: a number, a runtime parameter, or None.
    """

    SPEC_CLASS = TunerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        tuner_fn: str,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        train_args: trainer_pb2.TrainArgs,
        eval_args: trainer_pb2.EvalArgs,
        custom_config: dict[str, str],
        epochs: Any = None,
    ):
        super().__init__(
            TunerSpec(
                tuner_fn=tuner_fn,
                examples=examples,
                transform_graph=transform_graph,
                train_args=train_args,
                eval_args=eval_args,
                custom_config=json_utils.dumps(custom_config),
                epochs=epochs,
                best_hyperparameters=types.Channel(type=standard_artifacts.HyperParameters),
                tuner_results=types.Channel(type=standard_artifacts.TunerResults),
            )
        )
