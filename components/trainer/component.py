"""Trainer: TFX's, with what a run may have otherwise than the experiment says."""

from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import trainer_pb2
from tfx.types import component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils

from components.behavior_example_gen import artifacts
from components.trainer import custom_job as custom_job_lib
from components.trainer import executor


class TrainerSpec(standard_component_specs.TrainerSpec):
    """TFX's, the parameters of a run, and how the log was split."""

    INPUTS = {
        **standard_component_specs.TrainerSpec.INPUTS,
        executor.PROFILE: component_spec.ChannelParameter(type=artifacts.LogProfile, optional=True),
    }

    PARAMETERS = {
        **standard_component_specs.TrainerSpec.PARAMETERS,
        executor.EPOCHS: component_spec.ExecutionParameter(type=int, optional=True),
        executor.LIVE: component_spec.ExecutionParameter(type=str, optional=True),
        executor.BASE: component_spec.ExecutionParameter(type=str, optional=True),
        custom_job_lib.JOB: component_spec.ExecutionParameter(type=str, optional=True),
    }


class Trainer(base_component.BaseComponent):
    """As `tfx.components.Trainer` with a `run_fn`.

    Outputs:
      model, model_run: as TFX's.

    Args:
      run_fn: the dotted name of the function that trains.
      examples, transform_graph: what is trained on.
      train_args, eval_args: the splits.
      custom_config: of `trainer.arguments.Arguments.pack`.
      hyperparameters: what a search has chosen.
      epochs: in place of those of `custom_config`: a number, a runtime parameter, or None.
      live_model: the value of LiveModel's output, to start from the model that is live; None starts anew.
      base: the value of BaseModel's output, to start from a pretrained model; None has none.
      profile: of the log, which says since when the windows are that test the model; one that it starts from must not have
        learnt from later events.
      custom_job: the custom job of Vertex AI that trains, a `CreateCustomJobRequest` as JSON; None trains in the step.
    """

    SPEC_CLASS = TrainerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        run_fn: str,
        examples: types.BaseChannel,
        transform_graph: types.BaseChannel,
        train_args: trainer_pb2.TrainArgs,
        eval_args: trainer_pb2.EvalArgs,
        custom_config: dict[str, str],
        hyperparameters: types.BaseChannel | None = None,
        epochs: Any = None,
        live_model: Any = None,
        base: Any = None,
        profile: types.BaseChannel | None = None,
        custom_job: str | None = None,
    ):
        super().__init__(
            TrainerSpec(
                run_fn=run_fn,
                examples=examples,
                transform_graph=transform_graph,
                train_args=train_args,
                eval_args=eval_args,
                custom_config=json_utils.dumps(custom_config),
                hyperparameters=hyperparameters,
                epochs=epochs,
                live_model=live_model,
                base=base,
                profile=profile,
                custom_job=custom_job,
                model=types.Channel(type=standard_artifacts.Model),
                model_run=types.Channel(type=standard_artifacts.ModelRun),
            ),
            custom_executor_spec=(
                executor_spec.ExecutorClassSpec(custom_job_lib.Executor) if custom_job else None
            ),
        )
