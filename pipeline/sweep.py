"""Trains an experiment with many settings and seeds on the same windows, and says which is best.

All points share one folder and one metadata store, so that TFX's cache serves everything up to
Transform, and every point that is finished already. Nothing is pushed, and no model of a sweep is
a baseline of a later run: the folder is not that of `footfall run`.
"""

import contextlib
import dataclasses
import itertools
import json
import logging
import math
import os
import re
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pydantic
import yaml

from components.evaluator import spec as evaluator_spec
from pipeline import config, lineage, progress
from pipeline.runners import folder as run_folder
from pipeline.runners import local
from schemas import errors, kinds
from trainer import search as search_lib

FILE = "sweep.json"
_TRAINING_COMPONENTS = ("Trainer", "Evaluator")
_FOLDER_LENGTH = 120
_SHOWN = ("ndcg@10", "hr@10", "mrr", "auc", "log_loss")

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


# What a person writes.


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """`model.dim=32,64` to the values of each key.

    Raises:
      errors.InputError: for what is not of this form, or a key that makes other windows.
    """
    grid: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, values = _key_of("--grid", text, grid)
        grid[key] = tuple(_value(part) for part in values.split(","))
    return grid


def parse_space(texts: Sequence[str]) -> dict[str, search_lib.Range]:
    """`model.dim=16..128:log`, `model.dim=16..128:step=16` or `model.heads=1,2,4` to ranges.

    Raises:
      errors.InputError: for what is not of this form, or a key that makes other windows.
    """
    space: dict[str, search_lib.Range] = {}
    for text in texts:
        key, rest = _key_of("--space", text, space)
        try:
            space[key] = _range(text, rest)
        except pydantic.ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise errors.InputError(f"--space {text}: {message}") from error
    return space


def _range(text: str, rest: str) -> search_lib.Range:
    if ".." not in rest:
        return search_lib.Range(choices=tuple(_value(part) for part in rest.split(",")))
    ends, *options = rest.split(":")
    low, high = (_value(part) for part in ends.split("..", 1))
    log, step = "log" in options, None
    for option in options:
        name, _, value = option.partition("=")
        if name == "step":
            step = _value(value)
        elif option not in ("log", "linear"):
            raise errors.InputError(f"--space {text}: {option!r} is none of log, linear, step=NUMBER")
    return search_lib.Range(low=low, high=high, step=step, log=log)


def _key_of(option: str, text: str, known: Mapping[str, Any]) -> tuple[str, str]:
    key, equals, rest = text.partition("=")
    if not equals or not rest:
        raise errors.InputError(f"{option} takes KEY=VALUES, as model.dim=32,64; found {text!r}")
    if key == "training.seed":
        raise errors.InputError(f"{option} {text}: seeds are given with --seeds")
    try:
        search_lib.check_key(key)
    except ValueError as error:
        raise errors.InputError(f"{option} {text}: {error}") from error
    if key in known:
        raise errors.InputError(f"{option} {text}: {key} is there twice")
    return key, rest


def _value(text: str) -> Any:
    value = yaml.safe_load(text)
    if isinstance(value, str):
        # To YAML 1.1, 1e-3 is text.
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _override(key: str, value: Any) -> str:
    return f"{key}={yaml.safe_dump(value, default_flow_style=True, width=math.inf).splitlines()[0]}"


# Which points.


def grid_points(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination; one point without values where the grid is empty."""
    return [dict(zip(grid, values)) for values in itertools.product(*grid.values())]


class Search:
    """Points that Keras Tuner proposes, one after the other, from what came of those before.

    A search that is started again asks for the same points in the same order, as long as it gets
    the same answers: what is finished comes from the cache.

    Args:
      kind: `random` or `bayesian`.
      space: the range of each key.
      trials: how many points at most.
      seed: of the proposals.
    """

    def __init__(self, kind: str, space: Mapping[str, search_lib.Range], trials: int, seed: int):
        self._kind, self._space, self._trials, self._seed = kind, space, trials, seed

    def __len__(self) -> int:
        """The largest number of points."""
        return self._trials

    def __iter__(self) -> Iterator[tuple[dict[str, Any], Callable[[float], None]]]:
        """Yields each point, and what is to be called with its score before the next (-inf: it failed)."""
        oracle = search_lib.build_oracle(self._kind, self._space, self._trials, self._seed)
        with tempfile.TemporaryDirectory() as folder:
            # The metadata store is what remembers; the oracle's own files are of no use later.
            oracle._set_project_dir(folder, "search")
            while True:
                trial = oracle.create_trial("sweep")
                if trial.status != "RUNNING":
                    return

                def answer(score: float, trial: Any = trial) -> None:
                    fine = math.isfinite(score)
                    if fine:
                        oracle.update_trial(trial.trial_id, {search_lib.SCORE: score})
                    trial.status = "COMPLETED" if fine else "FAILED"
                    oracle.end_trial(trial)

                yield search_lib.plain(trial.hyperparameters.values), answer


# Running them.


@dataclasses.dataclass
class Sweep:
    """A sweep in its folder.

    Args:
      path: of the experiment's file.
      overrides: as of `config.load`, of all points.
      folder: of the sweep.
      seeds: how many trainings a point has; the first has the experiment's seed.
    """

    path: str
    overrides: Sequence[str]
    folder: str
    seeds: int

    def run(self, points: Any, search: str) -> list[Point]:
        """Trains all points, and writes `sweep.json` after each.

        Args:
          points: values of each point, or a `Search`.
          search: what chose the points, for `sweep.json`.

        Returns:
          The points, best first.

        Raises:
          errors.InputError: if the log or every point's settings do not fit.
          local.RunFailed: if what comes before training failed.
        """
        base = config.load(self.path, self.overrides)
        if base.tuning is not None:
            raise errors.InputError(
                f"{self.path}: tuning is a search within a run, and a sweep is another: leave it out with "
                "--set tuning=null"
            )
        base = local.prepare(base, print)
        local.check_log(base, self.path)
        self.folder = os.path.abspath(self.folder)
        seeds = [base.training.seed + number for number in range(self.seeds)]
        listed = points if isinstance(points, list) else None
        if listed is not None:
            self._check(listed)
        log_path = os.path.join(self.folder, "log.txt")
        with run_folder.at_work(self.folder, print), progress.quiet(log_path) as screen:
            count = len(points)
            screen.write(f"{base.name}: {count} point(s), {len(seeds)} seed(s) each: {self.folder}\n")
            names = [_step(number, seed) for number in range(count) for seed in seeds]
            with progress.Progress(names, screen, details=False) as shown:
                found: list[Point] = []
                for number, (values, answer) in enumerate(
                    points if listed is None else ((v, None) for v in listed)
                ):
                    point = self._point(values, number, seeds, found, shown, log_path, base)
                    if answer is not None:
                        answer(point.score)
                    found.append(point)
                    self._write(found, seeds, search, base)
        return ranked(found)

    def _check(self, points: Sequence[Values]) -> None:
        """Raises the first error if no point fits; those of some are reported when their turn comes."""
        failures = []
        for values in points:
            try:
                self._experiment(values)
            except errors.InputError as error:
                failures.append(error)
        if failures and len(failures) == len(points):
            raise failures[0]

    def _experiment(self, values: Values, seed: int | None = None) -> config.Experiment:
        chosen = [_override(key, value) for key, value in values.items()]
        if seed is not None:
            chosen.append(f"training.seed={seed}")
        return config.load(self.path, [*self.overrides, *chosen])

    def _point(
        self,
        values: dict[str, Any],
        number: int,
        seeds: Sequence[int],
        before: Sequence[Point],
        shown: progress.Progress,
        log_path: str,
        base: config.Experiment,
    ) -> Point:
        objective = kinds.objective(base.model.objective).metric
        point = Point(dict(values), objective=objective)
        same = next((other for other in before if other.values == point.values), None)
        for index, seed in enumerate(seeds):
            shown.start(_step(number, seed))
            logging.getLogger(progress.LOGGER).info(point.label)
            if same is not None:
                # A search may come back to a point; training is deterministic.
                trial = dataclasses.replace(same.trials[index], state=progress.CACHED, seconds=0.0)
                trial.state = progress.FAILED if trial.error else trial.state
            else:
                trial = self._trial(point, seed, log_path)
            point.trials.append(trial)
            said = trial.error or f"eval {objective} {trial.on_eval.get(objective, math.nan):.4f}"
            shown.finish(trial.state, f"{point.label}: {said}")
        return point

    def _trial(self, point: Point, seed: int, log_path: str) -> Trial:
        try:
            experiment = local.prepare(self._experiment(point.values, seed), print)
        except errors.InputError as error:
            return Trial(seed, progress.FAILED, error=str(error))
        failure: Exception | None = None
        try:
            _launch(experiment, self.folder)
        except Exception as error:  # noqa: BLE001  a point that fails must not end the sweep
            logging.getLogger("footfall").exception("%s, seed %d failed", point.label, seed)
            failure = error
        components = {c.id: c for c in lineage.components(self.folder, {})}
        if failure is not None:
            failed = [c.id for c in components.values() if c.state == "failed"]
            if not failed or any(name not in _TRAINING_COMPONENTS for name in failed):
                # No other point would get further.
                cause = local.input_error(failure)
                where = ", ".join(failed) or "the runner"
                raise cause or local.RunFailed(
                    f"{where}: {local.root_cause(failure)} (log: {log_path})"
                ) from failure
            return Trial(seed, progress.FAILED, error=f"{failed[0]}: {local.root_cause(failure)}")
        return self._result(experiment, point, seed, components)

    def _result(
        self,
        experiment: config.Experiment,
        point: Point,
        seed: int,
        components: Mapping[str, lineage.Component],
    ) -> Trial:
        from components.evaluator import verdict
        from pipeline.comparing import runs
        from trainer import task

        made = {a.type: a.uri for name in _TRAINING_COMPONENTS for a in components[name].outputs}
        examples = next(a.uri for a in components["BehaviorExampleGen"].outputs if a.type == "Examples")
        with open(os.path.join(made["ModelRun"], task.HISTORY), encoding="utf-8") as stream:
            history = json.load(stream)
        best = next(e for e in history["epochs"] if e["epoch"] == history["best_epoch"])
        overall = verdict.read(made["ModelEvaluation"]).overall
        cached = all(components[name].state == "cached" for name in _TRAINING_COMPONENTS)
        trial = Trial(
            seed,
            progress.CACHED if cached else progress.DONE,
            seconds=round(sum(components[name].seconds or 0.0 for name in _TRAINING_COMPONENTS), 1),
            epochs=history["epochs"][-1]["epoch"],
            best_epoch=history["best_epoch"],
            on_eval={name: value for name, value in best.items() if evaluator_spec.is_metric(name)},
            on_test={
                name: estimate.value
                for name, estimate in (overall.candidate.items() if overall else ())
                if math.isfinite(estimate.value)
            },
            folder=os.path.join(self.folder, "points", folder_name(point.values), f"seed-{seed}"),
        )
        _forget_others(os.path.dirname(trial.folder), experiment)
        os.makedirs(trial.folder, exist_ok=True)
        with open(os.path.join(trial.folder, runs.EXPERIMENT), "w", encoding="utf-8") as stream:
            stream.write(experiment.to_yaml())
        with open(os.path.join(trial.folder, runs.POINT), "w", encoding="utf-8") as stream:
            json.dump({"model": made["Model"], "examples": examples}, stream)
        return trial

    def _write(
        self, points: Sequence[Point], seeds: Sequence[int], search: str, base: config.Experiment
    ) -> None:
        text = json.dumps(as_plain(points, seeds, search, base.name), indent=1)
        partial = os.path.join(self.folder, FILE + ".tmp")
        with open(partial, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(partial, os.path.join(self.folder, FILE))


def _step(number: int, seed: int) -> str:
    return f"point {number + 1} seed {seed}"


def folder_name(values: Values) -> str:
    """A point's folder below `points/`, without what a path or a list of `footfall compare` cannot have."""
    text = "+".join(f"{key}={value}" for key, value in values.items()) or "base"
    text = re.sub(r"[^\w.=+-]", "_", text)
    if len(text) <= _FOLDER_LENGTH:
        return text
    import hashlib

    return f"{text[:_FOLDER_LENGTH]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _forget_others(folder: str, experiment: config.Experiment) -> None:
    """Takes seeds of another sweep away, whose other settings were not those of now."""
    from pipeline.comparing import runs

    def but_the_seed(text: str) -> dict[str, Any]:
        values = runs.flat(yaml.safe_load(text))
        values.pop("training.seed", None)
        return values

    wanted = but_the_seed(experiment.to_yaml())
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        path = os.path.join(folder, name, runs.EXPERIMENT)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                if but_the_seed(stream.read()) != wanted:
                    shutil.rmtree(os.path.join(folder, name))


def _launch(experiment: config.Experiment, folder: str) -> None:
    import tensorflow as tf
    from absl import logging as absl_logging
    from tfx.orchestration.local import local_dag_runner

    from pipeline.runners import cache

    # What a point before has left in this process would only take memory.
    tf.keras.backend.clear_session()
    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        with cache.checked(folder):
            local_dag_runner.LocalDagRunner().run(local.assemble(experiment, folder, push=False))
    finally:
        absl_logging.set_verbosity(absl_logging.WARNING)


# What came of it.


def ranked(points: Sequence[Point]) -> list[Point]:
    """Best first; those that failed at the end, in their order."""
    return sorted(points, key=lambda point: -point.score)


def as_plain(points: Sequence[Point], seeds: Sequence[int], search: str, name: str) -> dict[str, Any]:
    """What `sweep.json` holds, best point first."""
    return {
        "name": name,
        "search": search,
        "objective": f"{_objective(points)} on eval, mean over seeds",
        "seeds": list(seeds),
        "points": [
            {
                "values": point.values,
                "on_eval": point.summary("on_eval"),
                "on_test": point.summary("on_test"),
                "errors": point.errors,
                "runs": [dataclasses.asdict(trial) for trial in point.trials],
            }
            for point in ranked(points)
        ],
    }


def table(points: Sequence[Point]) -> str:
    """The points as text for a terminal, in their order."""
    keys = list(dict.fromkeys(key for point in points for key in point.values))
    objective = _objective(points)
    shown = [name for name in _SHOWN if any(name in point.summary("on_test") for point in points)]
    header = [*(keys or ["point"]), f"eval {objective}", *(f"test {name}" for name in shown), "seeds"]
    rows = [header]
    for point in points:
        on_eval, on_test = point.summary("on_eval"), point.summary("on_test")
        fine = sum(trial.state != progress.FAILED for trial in point.trials)
        rows.append(
            [
                *([str(point.values.get(key, "")) for key in keys] or [point.label]),
                _mean(on_eval.get(objective)),
                *(_mean(on_test.get(name)) for name in shown),
                f"{fine}" if fine == len(point.trials) else f"{fine} of {len(point.trials)}",
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    for point in points:
        lines.extend(f"failed: {point.label}: {error}" for error in point.errors)
    lines.append(f"Mean ± standard deviation over seeds, sorted by {objective} on eval; test chose nothing.")
    return "\n".join(lines)


def _objective(points: Sequence[Point]) -> str:
    """The metric of all points."""
    return points[0].objective


def _mean(found: Mapping[str, float | None] | None) -> str:
    if found is None:
        return "–"
    return f"{found['mean']:.4f}" + ("" if found["sd"] is None else f" ± {found['sd']:.4f}")
