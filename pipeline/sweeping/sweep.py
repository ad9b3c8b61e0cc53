"""Trains an experiment with many settings and seeds on the same windows, and says which is best.

All points share one folder and one metadata store, so that TFX's cache serves everything up to
Transform, and every point that is finished already. Nothing is pushed, and no model of a sweep is
a baseline of a later run: the folder is not that of `footfall run`.
"""

import dataclasses
import json
import logging
import math
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from components.evaluator import spec as evaluator_spec
from pipeline import config, lineage, progress
from pipeline.runners import failures, local, stopping, store, whole
from pipeline.runners import folder as run_folder
from pipeline.sweeping import results, space
from pipeline.sweeping.points import Point, Trial, Values, compared_by, ranked
from schemas import errors, figures, kinds

_TRAINING_COMPONENTS = ("Trainer", "Evaluator")
_FOLDER_LENGTH = 120


@dataclasses.dataclass
class Sweep:
    """A sweep in its folder.

    Args:
      path: of the experiment's file.
      overrides: as of `config.load`, of all points.
      folder: of the sweep.
      seeds: how many trainings a point has; the first has the experiment's seed.
      to: where its progress is shown, 1 (stdout) or 2 (stderr).
    """

    path: str
    overrides: Sequence[str]
    folder: str
    seeds: int
    to: int = 1
    _text: bytes | None = dataclasses.field(default=None, init=False)

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
        with open(self.path, "rb") as stream:
            # As it is now: an edit while points are trained is of a later sweep.
            self._text = stream.read()
        base = config.load(self.path, self.overrides, must_be_read=(), text=self._text)
        if base.tuning is not None:
            raise errors.InputError(
                f"{self.path}: tuning is a search within a run, and a sweep is another: leave it out with "
                "--set tuning=null"
            )
        listed = points if isinstance(points, list) else None
        self._check_read(base, points.probes if listed is None else listed)
        base = local.prepare(base, self._say)
        self.folder = os.path.abspath(self.folder)
        local.check_log(base, self.path, self.folder)
        seeds = [base.training.seed + number for number in range(self.seeds)]
        if listed is not None:
            self._check(listed)
        log_path = os.path.join(self.folder, "log.txt")
        with (
            run_folder.at_work(self.folder, self._say),
            stopping.by_signals() as stop,
            progress.quiet(log_path, self.to) as screen,
        ):
            count = len(points)
            screen.write(f"{base.name}: {count} point(s), {len(seeds)} seed(s) each: {self.folder}\n")
            names = [_step(number, seed) for number in range(count) for seed in seeds]
            with progress.Progress(names, screen, details=False) as shown:
                found: list[Point] = []
                for number, (values, answer) in enumerate(
                    points if listed is None else ((v, None) for v in listed)
                ):
                    point = self._point(values, number, seeds, found, shown, log_path, base, stop)
                    if answer is not None:
                        answer(point.score)
                    found.append(point)
                    self._write(found, seeds, search, base)
        return ranked(found)

    def _say(self, text: str) -> None:
        print(text, file=sys.stderr if self.to == 2 else sys.stdout)

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

    def _check_read(self, base: config.Experiment, points: Sequence[Values]) -> None:
        """Raises an error of what the file has for nothing, at each of these points too."""
        vain = list(config.in_vain(base))
        for values in points if vain else ():
            try:
                still = {key for key, _ in config.in_vain(self._experiment(values))}
            except errors.InputError:
                continue
            vain = [(key, said) for key, said in vain if key in still]
        if vain:
            raise errors.InputError(f"{self.path}: " + "; ".join(dict.fromkeys(said for _, said in vain)))

    def _experiment(self, values: Values, seed: int | None = None) -> config.Experiment:
        chosen = [space.override(key, value) for key, value in values.items()]
        if seed is not None:
            chosen.append(f"training.seed={seed}")
        return config.load(self.path, [*self.overrides, *chosen], must_be_read=tuple(values), text=self._text)

    def _point(
        self,
        values: dict[str, Any],
        number: int,
        seeds: Sequence[int],
        before: Sequence[Point],
        shown: progress.Progress,
        log_path: str,
        base: config.Experiment,
        stop: stopping.Stop,
    ) -> Point:
        point = Point(dict(values), objective=kinds.objective(base.model.objective).metric)
        same = next((other for other in before if other.values == point.values), None)
        for index, seed in enumerate(seeds):
            shown.start(_step(number, seed))
            logging.getLogger(progress.LOGGER).info(point.label)
            if same is not None:
                # A search may come back to a point; training is deterministic.
                trial = dataclasses.replace(same.trials[index], state=progress.CACHED, seconds=0.0)
                trial.state = progress.FAILED if trial.error else trial.state
            else:
                trial = self._trial(point, seed, log_path, stop)
            point.trials.append(trial)
            measured = trial.on_eval.get(point.objective)
            said = trial.error or f"eval {point.objective} {figures.metric(measured)}"
            shown.finish(trial.state, f"{point.label}: {said}")
        # Points that learn something else than the first are ranked by its objective, if they are measured by it.
        first = compared_by(before, point.objective)
        if all(first in trial.on_eval for trial in point.trials if not trial.error):
            point.objective = first
        return point

    def _trial(self, point: Point, seed: int, log_path: str, stop: stopping.Stop) -> Trial:
        try:
            experiment = local.prepare(self._experiment(point.values, seed), self._say)
        except errors.InputError as error:
            return Trial(seed, progress.FAILED, error=str(error))
        failure: Exception | None = None
        try:
            _launch(experiment, self.folder)
        except Exception as error:  # noqa: BLE001  a point that fails must not end the sweep
            stop.heed(error)
            logging.getLogger("footfall").exception("%s, seed %d failed", point.label, seed)
            failure = error
        components = {c.id: c for c in lineage.components(self.folder, {})}
        if failure is not None:
            cause = failures.input_error(failure)
            if isinstance(cause, errors.ModelError):
                return Trial(seed, progress.FAILED, error=str(cause))
            failed = [c.id for c in components.values() if c.state == "failed"]
            if not failed or any(name not in _TRAINING_COMPONENTS for name in failed):
                # No other point would get further.
                where = ", ".join(failed) or "the runner"
                raise cause or local.RunFailed(
                    f"{where}: {failures.root_cause(failure)} (log: {log_path})"
                ) from failure
            return Trial(seed, progress.FAILED, error=f"{failed[0]}: {failures.root_cause(failure)}")
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
        # What it was stopped by: of a pretraining with labels another one than of those without.
        point.objective = history["objective"]
        best = next(e for e in history["epochs"] if e["epoch"] == history["best_epoch"])
        overall = verdict.read(made["ModelEvaluation"]).overall
        cached = all(components[name].state == "cached" for name in _TRAINING_COMPONENTS)
        trial = Trial(
            seed,
            progress.CACHED if cached else progress.DONE,
            seconds=round(sum(components[name].seconds or 0.0 for name in _TRAINING_COMPONENTS), 1),
            epochs=history["epochs"][-1]["epoch"],
            best_epoch=history["best_epoch"],
            on_eval={
                name: value
                for name, value in best.items()
                if evaluator_spec.is_metric(name) or name in experiment.loop.measures
            },
            on_test={
                name: estimate.value
                for name, estimate in (overall.candidate.items() if overall else ())
                if math.isfinite(estimate.value)
            },
            folder=os.path.join(self.folder, store.POINTS, folder_name(point.values), f"seed-{seed}"),
        )
        _forget_others(os.path.dirname(trial.folder), experiment)
        os.makedirs(trial.folder, exist_ok=True)
        whole.write(os.path.join(trial.folder, runs.EXPERIMENT), experiment.to_yaml())
        place = {"model": made["Model"], "examples": examples}
        whole.write(os.path.join(trial.folder, runs.POINT), json.dumps(place))
        return trial

    def _write(
        self, points: Sequence[Point], seeds: Sequence[int], search: str, base: config.Experiment
    ) -> None:
        text = json.dumps(results.as_plain(points, seeds, search, base.name), indent=1)
        whole.write(os.path.join(self.folder, results.FILE), text)


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

    def but_the_seed(text: str) -> dict[str, Any] | None:
        try:
            values = runs.flat(yaml.safe_load(text))
        except (yaml.YAMLError, AttributeError):
            # Left by a full disk.
            return None
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
    from absl import logging as absl_logging
    from tfx.orchestration.local import local_dag_runner

    from pipeline.runners import cache

    absl_logging.set_verbosity(absl_logging.INFO)
    try:
        with cache.checked(folder):
            local_dag_runner.LocalDagRunner().run(local.assemble(experiment, folder, push=False))
    finally:
        absl_logging.set_verbosity(absl_logging.WARNING)
