"""What each run of a compiled pipeline may have otherwise than its experiment says. Free of TFX."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from components.behavior_example_gen import spans
from components.pusher import switch
from pipeline import config, datasets
from schemas import errors

LOG_PATH = "log_path"
SPAN = "span"
EPOCHS = "epochs"
PUSH = "push"
_EPOCHS = "training.epochs"


class Parameter(NamedTuple):
    """A parameter of a run.

    Attributes:
      default: what a run has that names none; its type is the parameter's.
      text: says what it is.
      values: all that there are; None for any.
    """

    default: str | int
    text: str
    values: tuple[str, ...] | None = None


def of(experiment: config.Experiment) -> dict[str, Parameter]:
    """The parameters of an experiment's runs, by name."""
    found = {
        LOG_PATH: Parameter(datasets.resolve(experiment.log.path), "what is read in place of log.path"),
        SPAN: Parameter(spans.NEWEST, "the last span to read: its number, its date as 2024-05-31, or newest"),
        PUSH: Parameter(
            switch.YES,
            "no measures and tries a model, and pushes it nowhere: for a run on another log or an old span",
            switch.VALUES,
        ),
    }
    # What a search finds would have to give way to what every run has by default. Where nothing reads it, it would train
    # the same once more, beside the cache.
    searched = experiment.tuning is not None and _EPOCHS in experiment.tuning.space
    if not searched and all(one.key != _EPOCHS for one in experiment.idle()):
        found[EPOCHS] = Parameter(experiment.training.epochs, f"in place of {_EPOCHS}")
    return found


def read(given: Sequence[str], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values of `NAME=VALUE` texts.

    Raises:
      errors.InputError: if a text is not of that form, a name is unknown, or a value is not of its type.
    """
    values: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or name not in known:
            raise errors.InputError(
                f"--parameter takes NAME=VALUE with a name of {', '.join(known)}; found {text!r}"
            )
        if isinstance(known[name].default, int):
            if not value.isascii() or not value.isdecimal():
                raise errors.InputError(f"--parameter {name}: takes a whole number, found {value!r}")
            values[name] = int(value)
        elif known[name].values is not None and value not in known[name].values:
            raise errors.InputError(
                f"--parameter {name}: takes {' or '.join(known[name].values)}, found {value!r}"
            )
        else:
            values[name] = value
    return values
