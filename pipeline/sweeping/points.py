"""What a sweep trains: points, which are settings, and the trials of each, one per seed."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import progress
from schemas import kinds

Values = Mapping[str, Any]


@dataclasses.dataclass
class Trial:
    """One training of a point.

    Attributes:
      seed: of the training.
      state: `done`, `cached` or `failed`.
      seconds: wall time.
      error: why it failed, in one line.
      epochs, best_epoch: how many epochs were trained, and which one the model is of.
      on_eval: what training measured on `eval` at its best epoch.
      on_test: the Evaluator's metrics of all test windows.
      folder: for `footfall compare`; model and windows are named there.
    """

    seed: int
    state: str
    seconds: float = 0.0
    error: str = ""
    epochs: int = 0
    best_epoch: int = 0
    on_eval: dict[str, float] = dataclasses.field(default_factory=dict)
    on_test: dict[str, float] = dataclasses.field(default_factory=dict)
    folder: str = ""


@dataclasses.dataclass
class Point:
    """The settings that differ from the experiment's, and what came of them.

    Attributes:
      objective: the metric on `eval` by which points are ranked; higher is better.
    """

    values: dict[str, Any]
    trials: list[Trial] = dataclasses.field(default_factory=list)
    objective: str = kinds.objective("ranking").metric

    @property
    def label(self) -> str:
        """`model.dim=32 training.learning_rate=0.001`."""
        return " ".join(f"{key}={value}" for key, value in self.values.items()) or "as the experiment"

    def summary(self, of: str) -> dict[str, dict[str, float | None]]:
        """Mean, standard deviation and number of the metrics over seeds; `of` is `on_eval` or `on_test`."""
        measured = [getattr(trial, of) for trial in self.trials if trial.state != progress.FAILED]
        result: dict[str, dict[str, float | None]] = {}
        for name in dict.fromkeys(name for one in measured for name in one):
            values = [one[name] for one in measured if name in one]
            deviation = statistics.stdev(values) if len(values) > 1 else None
            result[name] = {"mean": statistics.fmean(values), "sd": deviation, "seeds": len(values)}
        return result

    @property
    def score(self) -> float:
        """The mean objective on `eval`; the lowest number where nothing was trained."""
        found = self.summary("on_eval").get(self.objective)
        return -math.inf if found is None else found["mean"]

    @property
    def errors(self) -> list[str]:
        """Each different error once."""
        return list(dict.fromkeys(trial.error for trial in self.trials if trial.error))


def ranked(points: Sequence[Point]) -> list[Point]:
    """Best first; those that failed at the end, in their order."""
    return sorted(points, key=lambda point: -point.score)


def compared_by(points: Sequence[Point], otherwise: str) -> str:
    """The objective of the first point that has a trial which did not fail; `otherwise` where there is none."""
    trained = (one for one in points if any(trial.state != progress.FAILED for trial in one.trials))
    return next((one.objective for one in trained), otherwise)
