"""All settings of a training together, and which of them suit one another. Free of TensorFlow."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Union

import pydantic

from schemas import errors, settings
from trainer import registry
from trainer.settings import loops, losses
from trainer.settings import model as model_lib
from trainer.settings import training as training_lib

# The parts of an experiment that the Trainer gets.
PARTS = ("model", "loss", "loop", "training")

if TYPE_CHECKING:
    ModelSettings = model_lib.ModelSettings
    LossSettings = losses.LossSettings
    LoopSettings = loops.LoopSettings
else:
    # Any of the models, the losses and the loops that are registered.
    ModelSettings = Annotated[
        Union[tuple(registry.MODELS.values())],  # noqa: UP007  of as many as there are
        pydantic.Field(discriminator="name"),
    ]
    LossSettings = Annotated[
        Union[tuple(losses.LOSSES.values())],  # noqa: UP007
        pydantic.Field(discriminator="name"),
    ]
    LoopSettings = Annotated[
        Union[tuple(loops.LOOPS.values())],  # noqa: UP007
        pydantic.Field(discriminator="name"),
    ]


def default_loss(parts: dict[str, Any]) -> losses.LossSettings:
    """The loss where none is named, from the parts before it."""
    # Without a model nothing is trained, and what is said of that is about the model.
    model = parts.get("model")
    names = tuple(losses.LOSSES) if model is None else fitting_losses(model)
    return losses.LOSSES[names[0]].from_values({"name": names[0]})


def fitting_losses(model: model_lib.ModelSettings) -> tuple[str, ...]:
    """The losses that a model takes; the first is the default."""
    return losses.fitting(model.objective, model.targets) if model.losses is None else model.losses


def check_model(
    model: model_lib.ModelSettings,
    loss: losses.LossSettings,
    loop: loops.LoopSettings,
    training: training_lib.TrainingSettings,
) -> None:
    """Refuses a loss, a loop or a setting of training that a model has no use for.

    Raises:
      ValueError: in one line, with what to do.
    """
    fitting = fitting_losses(model)
    if loss.name not in fitting:
        raise ValueError(f"model {model.name} needs loss: {{name: {_or(fitting)}}}, found {loss.name}")
    sampling = getattr(loss, "negative_sampling", losses.UNIFORM)
    if loss.objective != model.objective and sampling != losses.UNIFORM:
        raise ValueError(
            f"model {model.name} does not know how often items are targets: loss.negative_sampling has to be "
            f"{losses.UNIFORM}, found {sampling}"
        )
    model.check_loss(loss)
    fitting = tuple(
        name
        for name, one in loops.LOOPS.items()
        if one.objectives is None or model.objective in one.objectives
    )
    if loop.name not in fitting:
        raise ValueError(f"model {model.name} needs loop: {{name: {_or(fitting)}}}, found {loop.name}")
    loop.check_model(model)


def reads(
    model: model_lib.ModelSettings,
    loss: losses.LossSettings,
    loop: loops.LoopSettings,
    training: training_lib.TrainingSettings,
) -> tuple[settings.Reads, ...]:
    """Which settings of a training a part of it decides on that is not theirs; see `settings.Settings.reads`."""
    lazy = training.optimizer == "lazy_adam"
    trained = f"a model that is trained, which {model.name} is not"
    return (
        settings.Reads(("loss",), model.trains or loss == default_loss({"model": model}), trained),
        settings.Reads(("loop",), model.trains or loop == loops.FitSettings(name="fit"), trained),
        settings.Reads(
            # Lists of a catalogue are drawn by it, too.
            tuple(f"training.{name}" for name in type(training).model_fields if name != "seed"),
            model.trains,
            trained,
        ),
        *(
            settings.Reads((f"training.{name}",), name in model.training_read, models)
            for name, models in training_lib.ONLY_WITH.items()
        ),
        settings.Reads(
            tuple(f"training.{name}" for name in training_lib.OF_STEPS),
            loop.steps,
            f"a loop that trains by steps, which {loop.name} does not",
        ),
        *(
            settings.Reads(
                (f"loss.{name}",), loop.steps, f"a loop with a loss, which {loop.name} has none of"
            )
            for name in type(loss).model_fields
            if name != "name"
        ),
        settings.Reads(
            ("training.warm_start",),
            model.pretrained is None or model.keeps_pretrained,
            "a model without base_model, or with frozen: true: its network starts from what base_model has pretrained",
        ),
        settings.Reads(
            ("training.batch_size",),
            loop.batch is None,
            f"loop: {{name: fit}}; with {loop.name} it is {loop.batch}",
        ),
        settings.Reads(
            ("training.optimizer",),
            not lazy or not loss.scores_all or model.reads_other_items,
            "a loss that draws negatives: where all items are scored, each row of their table moves in each step",
        ),
    )


def _or(choices: Sequence[str]) -> str:
    return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))


def in_batch(model: model_lib.ModelSettings, loss: losses.LossSettings) -> str | None:
    """What compares the windows of a batch with one another; None: nothing does."""
    if loss.in_batch:
        return "loss.negative_sampling: in_batch"
    return f"model {model.name}" if model.in_batch else None


def check_loop(
    model: model_lib.ModelSettings,
    loss: losses.LossSettings,
    loop: loops.LoopSettings,
    training: training_lib.TrainingSettings,
) -> None:
    """Refuses a setting that would not be read, or means something else.

    Raises:
      ValueError: in one line, with what to do.
    """
    comparing = in_batch(model, loss)
    if comparing is None:
        return
    if loop.batch is not None:
        raise ValueError(
            f"{comparing} needs batches of any users, and those of loop: {{name: {loop.name}}} are of one user or "
            f"of few: use loop: {{name: fit}}, found {loop.name}"
        )
    if loss.in_batch and training.length_buckets not in (None, 1):
        raise ValueError(
            "training.length_buckets: in-batch negatives are those of windows of any length: leave it out, "
            f"found {training.length_buckets}"
        )


class TrainerSettings(settings.Packed):
    """All that decides a training besides the data."""

    model: ModelSettings
    loss: LossSettings = pydantic.Field(default_factory=default_loss)
    loop: LoopSettings = loops.FitSettings(name="fit")
    training: training_lib.TrainingSettings = training_lib.TrainingSettings()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "TrainerSettings":
        check_model(self.model, self.loss, self.loop, self.training)
        check_loop(self.model, self.loss, self.loop, self.training)
        return self


def check_workers(settings: TrainerSettings) -> None:
    """Checks that several workers can train by these settings.

    Raises:
      errors.InputError: if they ask for what is on one device alone.
    """
    if settings.training.optimizer == "lazy_adam":
        raise errors.InputError(
            "training.optimizer: lazy_adam trains on one device, and each of several workers (TF_CONFIG) has one at least: "
            "use adam"
        )
