"""What a search over settings may try, and Keras Tuner's oracles, which choose from it.

Keras Tuner, and TensorFlow with it, are imported only when an oracle is built.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import pydantic

from schemas import settings
from trainer import config

# What Keras Tuner calls the score of a point, whatever metric of `eval` it is; larger is better.
SCORE = "score"
RANDOM: Final = "random"
BAYESIAN: Final = "bayesian"
GRID: Final = "grid"
# Trials of a random or Bayesian search that says nothing.
_TRIALS = 20
# Of steps: what is this close to the end of a range is still in it.
_SLACK = 1e-9
_DIGITS = 12

_Scalar = bool | int | float | str


class ImpossiblePoint(ValueError):
    """Values that no training can have together; the message says why, in one line."""


class Range(settings.Settings):
    """What a setting of a search may be: `choices`, or numbers from `low` to `high`.

    In a file choices are a list, `[32, 64]`, and numbers `{low: 16, high: 128}`.

    Attributes:
      choices: of one type.
      low, high: both are in the range; whole numbers give whole numbers.
      step: of the numbers; a factor where `log`.
      log: equal ratios are equally likely, not equal differences.
    """

    choices: tuple[_Scalar, ...] = ()
    low: int | float | None = None
    high: int | float | None = None
    step: int | float | None = None
    log: bool = False

    @pydantic.field_validator("*")
    @classmethod
    def _check_whole(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Leaves choices alone: each is tried as a value of its setting, which may be a bound on fractions."""
        return value if info.field_name == "choices" else super()._check_whole(value, info)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _take_a_list(cls, value: Any) -> Any:
        return {"choices": tuple(value)} if isinstance(value, (list, tuple)) else value

    @pydantic.field_validator("choices", mode="before")
    @classmethod
    def _check_choices(cls, value: Any) -> Any:
        # Here rather than by the types, whose message would have a line for each of them.
        value = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        types = {type(choice) for choice in value}
        endless = any(type(choice) is float and not math.isfinite(choice) for choice in value)
        if types == {int, float} and not endless:
            return tuple(float(choice) for choice in value)
        if not value or endless or len(types) > 1 or not types <= {bool, int, float, str}:
            raise ValueError(f"choices are numbers, texts or true and false, found {_shown(value)}")
        return value

    @pydantic.field_validator("low", "high", "step", mode="before")
    @classmethod
    def _check_number(cls, value: Any) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise ValueError(f"a range is of numbers, found {_shown(value)}")
        return value

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Range":
        ends = (self.low, self.high)
        if self.choices:
            if ends != (None, None) or self.step is not None or self.log:
                raise ValueError("a range has choices or low and high, found both")
            return self
        if None in ends:
            raise ValueError(f"a range has choices or low and high, found {_shown(ends)}")
        if not self.low < self.high:
            raise ValueError(f"a range goes up, found {self.low} to {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a range with log is above 0, found {self.low}")
        least = 1 if self.log else 0
        if self.step is not None and self.step <= least:
            raise ValueError(f"step must be above {least}, found {self.step}")
        return self

    @pydantic.model_serializer()
    def _plain(self) -> Any:
        if self.choices:
            return list(self.choices)
        return {"low": self.low, "high": self.high, "step": self.step, "log": self.log}

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole ones."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 1))

    @property
    def values(self) -> tuple[_Scalar, ...]:
        """Everything that it allows; nothing where that is not a list, for want of a step.

        Keras Tuner counts steps with `//`, and so leaves 0.5 out of 0 to 0.5 in steps of 0.1.
        """
        if self.choices or self.step is None:
            return self.choices
        if self.log:
            steps = math.floor(math.log(self.high / self.low, self.step) + _SLACK)
            numbers = [self.low * self.step**index for index in range(steps + 1)]
        else:
            steps = math.floor((self.high - self.low) / self.step + _SLACK)
            numbers = [self.low + index * self.step for index in range(steps + 1)]
        return tuple(number if self.whole else round(float(number), _DIGITS) for number in numbers)

    @property
    def probes(self) -> tuple[_Scalar, ...]:
        """Values each of which has to be one that the setting can have."""
        return self.values or (self.low, self.high)


class TrialTraining(settings.Settings):
    """How long a trial trains; what is not set is as in `training`.

    Attributes:
      epochs, patience, evaluate_every, max_seconds: as the same keys of `training`.
    """

    epochs: int | None = pydantic.Field(default=None, ge=1)
    patience: int | None = pydantic.Field(default=None, ge=1)
    evaluate_every: int | None = pydantic.Field(default=None, ge=1)
    max_seconds: float | None = pydantic.Field(default=None, gt=0)


class TuningSettings(settings.Settings):
    """A search within a run, whose best values the Trainer takes.

    Attributes:
      search: `random`, `bayesian` or `grid`.
      trials: at most this many trainings; by default 20, and of a grid all points.
      space: the range of each setting, as `{model.dim: [32, 64]}`.
      training: of the trials alone.
    """

    search: Literal["random", "bayesian", "grid"] = BAYESIAN
    trials: int | None = pydantic.Field(default=None, ge=1)
    space: dict[str, Range] = pydantic.Field(min_length=1)
    training: TrialTraining = TrialTraining()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "TuningSettings":
        for key, allowed in self.space.items():
            check_key(key)
            if key == "training.seed":
                raise ValueError("space takes no training.seed: one seed is no better than another")
            if key in [f"{room}.name" for room in config.PARTS]:
                raise ValueError(f"space takes no {key}: other settings go with it; see `footfall compare`")
            if key in ("model.base_model", "training.warm_start"):
                raise ValueError(f"space takes no {key}: tuning trains from initial weights")
            room, _, name = key.partition(".")
            if room == "training" and getattr(self.training, name, None) is not None:
                raise ValueError(f"{key} is in space and in training: leave one of them out")
            if self.search == GRID and not allowed.values:
                raise ValueError(
                    f"a grid takes values or a step of {key}, found {_shown(allowed.model_dump())}"
                )
        if self.search == GRID and self.trials is not None:
            raise ValueError(f"a grid has all its points: leave trials out, found {self.trials}")
        return self

    def of_trial(
        self, experiment: config.TrainerSettings, values: Mapping[str, Any]
    ) -> config.TrainerSettings:
        """The settings of a trial.

        Raises:
          ImpossiblePoint: if the values do not go together.
        """
        limits = self.training.model_dump(exclude_none=True)
        return merge(experiment, {**values, **{f"training.{name}": limit for name, limit in limits.items()}})

    def oracle(self, seed: int) -> Any:
        """What chooses the points; see `build_oracle`."""
        points = math.prod(len(allowed.values) for allowed in self.space.values())
        trials = points if self.search == GRID else self.trials or _TRIALS
        return build_oracle(self.search, self.space, trials, seed)


def check_key(key: str) -> None:
    """Refuses the key of a setting that makes other windows or measures something else.

    Raises:
      ValueError: in one line, with what a key starts with.
    """
    if key.split(".")[0] not in config.PARTS or "." not in key:
        raise ValueError(
            "all points have the same windows and are measured alike: a key starts with "
            f"{', '.join(room + '.' for room in config.PARTS)}; found {key}"
        )


def merge(experiment: config.TrainerSettings, values: Mapping[str, Any]) -> config.TrainerSettings:
    """Settings with other values of some keys, as `{"model.dim": 64}`.

    Raises:
      ImpossiblePoint: if they do not go together.
    """
    merged = json.loads(experiment.to_json())
    for key, value in values.items():
        *parents, last = key.split(".")
        place = merged
        for parent in parents:
            place = place[parent]
        place[last] = value
    try:
        settled = config.TrainerSettings.from_values(merged)
    except pydantic.ValidationError as error:
        found = error.errors(include_url=False)
        raise ImpossiblePoint("; ".join(map(_reason, found))) from error
    miscorrected = settled.model.miscorrected(settled.loss)
    if miscorrected is not None:
        raise ImpossiblePoint(miscorrected)
    return settled


def _reason(found: Mapping[str, Any]) -> str:
    message = found["msg"].removeprefix("Value error, ")
    if not found["loc"]:
        # What does not go together in several parts says itself in which.
        return message
    room, *place = found["loc"]
    # The kind of a model, a loss or a loop is part of the place, as the tag of a union.
    where = ".".join(str(part) for part in (place if room == "training" else place[1:]))
    return f"{room}: {where}: {message}; found {_shown(found['input'])}" if where else f"{room}: {message}"


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)


def build_oracle(kind: str, space: Mapping[str, Range], trials: int, seed: int) -> Any:
    """A `keras_tuner.Oracle` that proposes one point after the other.

    An oracle that is built again asks for the same points in the same order, as long as it gets
    the same answers. No number of failed trials ends its search.

    Args:
      kind: `random`, `bayesian` or `grid`.
      space: the range of each key.
      trials: how many points at most.
      seed: of the proposals.
    """
    import keras_tuner

    oracles = {
        RANDOM: keras_tuner.oracles.RandomSearchOracle,
        BAYESIAN: keras_tuner.oracles.BayesianOptimizationOracle,
        GRID: keras_tuner.oracles.GridSearchOracle,
    }
    oracle = oracles[kind](
        objective=keras_tuner.Objective(SCORE, "max"),
        max_trials=trials,
        hyperparameters=_hyperparameters(space),
        allow_new_entries=False,
        # Keras Tuner takes 0 for none.
        seed=seed + 1,
        # Every failure is reported; none ends the search.
        max_consecutive_failed_trials=trials + 1,
    )
    oracle.verbose = 0
    return oracle


def _hyperparameters(space: Mapping[str, Range]) -> Any:
    import keras_tuner

    parameters = keras_tuner.HyperParameters()
    for key, allowed in space.items():
        values = list(allowed.values)
        if set(map(type, values)) == {bool}:
            # A Choice would make 0 and 1 of them.
            if len(set(values)) > 1:
                parameters.Boolean(key)
            else:
                parameters.Fixed(key, values[0])
        elif values:
            parameters.Choice(key, values)
        else:
            make = parameters.Int if allowed.whole else parameters.Float
            make(key, allowed.low, allowed.high, sampling="log" if allowed.log else "linear")
    return parameters


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a trial as Python's own, where Keras Tuner took NumPy's."""
    return {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}


def label(values: Mapping[str, Any]) -> str:
    """`model.dim=32 training.learning_rate=0.001`."""
    return " ".join(
        f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in values.items()
    )
