"""All settings of a training together, and which of them suit one another. Free of TensorFlow."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Union

import pydantic

from schemas import settings
from trainer import registry
from trainer.settings import labels, loops, losses
from trainer.settings import model as model_lib
from trainer.settings import training as training_lib

# The parts of an experiment that the Trainer gets.
PARTS = ("model", "loss", "loop", "training")

if TYPE_CHECKING:
    ModelSettings = model_lib.ModelSettings
else:
    # Any of the models that are registered.
    ModelSettings = Annotated[
        Union[tuple(registry.MODELS.values())],  # noqa: UP007  of as many as there are
        pydantic.Field(discriminator="name"),
    ]


def default_loss(parts: dict[str, Any]) -> losses.LossSettings:
    """The loss where none is named, from the parts before it."""
    if isinstance(parts.get("model"), labels.LabelSettings):
        return losses.StepBCESettings(name="step_bce")
    return losses.SoftmaxSettings(name="softmax")


def check_model(
    model: ModelSettings,
    loss: losses.LossSettings,
    loop: loops.LoopSettings,
    training: training_lib.TrainingSettings,
) -> None:
    """Refuses a loss, a loop or a setting of training that a model has no use for.

    Raises:
      ValueError: in one line, with what to do.
    """
    of_exposures = isinstance(model, labels.LabelSettings)
    if isinstance(loss, losses.StepBCESettings) != of_exposures:
        fitting = "step_bce" if of_exposures else "softmax, sampled_softmax, bce or gbce"
        raise ValueError(f"model {model.name} needs loss: {{name: {fitting}}}, found {loss.name}")
    if of_exposures and not isinstance(loop, loops.FitSettings):
        raise ValueError(f"model {model.name} needs loop: {{name: fit}}, found {loop.name}")
    if training.calibration != "none" and not of_exposures:
        raise ValueError(
            f"training.calibration goes with models of exposures, found {training.calibration} "
            f"with {model.name}"
        )
    if of_exposures and training.length_buckets is not None:
        raise ValueError(
            f"training.length_buckets goes with models of windows of events, found {training.length_buckets} "
            f"with {model.name}"
        )


def check_loop(
    loop: loops.LoopSettings, loss: losses.LossSettings, training: training_lib.TrainingSettings
) -> None:
    """Refuses a setting that would not be read, or means something else.

    Raises:
      ValueError: in one line, with what to do.
    """
    default = training_lib.TrainingSettings.model_fields["batch_size"].default
    if isinstance(loop, loops.TPSettings) and training.batch_size != default:
        raise ValueError(
            f"training.batch_size goes with loop: {{name: fit}}; with tp it is users_per_step * user_batch "
            f"({loop.users_per_step} * {loop.user_batch}): leave it out, found {training.batch_size}"
        )
    if getattr(loss, "negative_sampling", None) != losses.IN_BATCH:
        return
    if isinstance(loop, loops.TPSettings):
        raise ValueError(
            "loss.negative_sampling: in_batch needs batches of any users, and those of loop: {name: tp} are of one "
            "user or one class; found in_batch"
        )
    if training.length_buckets not in (None, 1):
        raise ValueError(
            "training.length_buckets: in-batch negatives are those of windows of any length: leave it out, "
            f"found {training.length_buckets}"
        )


class TrainerSettings(settings.Settings):
    """All that decides a training besides the data."""

    model: ModelSettings
    loss: losses.LossSettings = pydantic.Field(default_factory=default_loss)
    loop: loops.LoopSettings = loops.FitSettings(name="fit")
    training: training_lib.TrainingSettings = training_lib.TrainingSettings()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "TrainerSettings":
        check_model(self.model, self.loss, self.loop, self.training)
        check_loop(self.loop, self.loss, self.training)
        return self

    def to_custom_config(self) -> dict[str, str]:
        """For TFX Trainer's `custom_config`: JSON text by name."""
        return {name: getattr(self, name).to_json() for name in PARTS}

    @classmethod
    def from_custom_config(cls, custom: dict[str, str]) -> "TrainerSettings":
        """Reads what `to_custom_config` wrote; other keys are left alone."""
        return cls.from_values({name: json.loads(custom[name]) for name in PARTS})
