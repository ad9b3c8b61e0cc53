"""What the Trainer asks of an objective."""

import abc
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf
import tensorflow_transform as tft

from components.transform import spec as transform_spec
from trainer import config
from trainer.loops import loop as loop_lib
from trainer.settings import training as training_settings


@dataclasses.dataclass(frozen=True)
class Data:
    """What trainings of different settings have in common.

    Attributes:
      transform_output: of TFX Transform.
      known: what models have to know of the data, by the objective.
      train_files, eval_files: patterns of transformed examples.
      exclude_seen: see `evaluator.spec.EvaluationSpec`.
    """

    transform_output: tft.TFTransformOutput
    known: Any
    train_files: Sequence[str]
    eval_files: Sequence[str]
    exclude_seen: bool


class Evaluation(Protocol):
    """How good a model is on `eval`.

    Attributes:
      objective: the name of the metric that is to become large.
    """

    objective: str

    def evaluate(self) -> dict[str, float]:
        """Metrics by name."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What a training is made of.

    Attributes:
      build: makes the model, with its `training_loss`.
      loop: makes the loop that trains it, of what `loops.loop.Loop` takes.
      settings: of the loop.
      batches: blocks of the examples to train on.
      evaluation: makes the evaluation of the model.
      tell: what the history says of the trained model besides, of its evaluation.
    """

    build: Callable[[], tf.keras.Model]
    loop: Callable[..., loop_lib.Loop]
    settings: training_settings.TrainingSettings
    batches: tf.data.Dataset
    evaluation: Callable[[Any], Evaluation]
    tell: Callable[[Any], dict[str, Any]] = lambda evaluation: {}


class Objective(abc.ABC):
    """How models of an objective are trained."""

    @abc.abstractmethod
    def known(
        self,
        transform_output: tft.TFTransformOutput,
        settings: transform_spec.TransformSettings,
        train_files: Sequence[str],
    ) -> Any:
        """What models have to know of the data.

        Args:
          transform_output: of TFX Transform.
          settings: that its features were made by.
          train_files: patterns of transformed examples.

        Raises:
          errors.InputError: if they lack what models need.
        """

    @abc.abstractmethod
    def prepare(self, settings: config.TrainerSettings, data: Data) -> Training:
        """What a training of these settings is made of.

        Raises:
          errors.InputError: if the settings name what the data does not have.
        """
