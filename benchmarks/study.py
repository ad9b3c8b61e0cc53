"""Studies: experiments of many points, and what has been measured of them.

A point may start from the model of another one, its *pretraining*: `model: {base_model: "point:byb"}` means the model that the
point `byb` has trained with the same seed in the same study. A pretraining may have other windows than the study's: points are
compared in pairs only where the log, the windows and the split are the same.

A *floor* is what practitioners would do without the study's models, on the same windows; see `baselines.floors`. Floors are
points, too, named below `floors`.
"""

import contextlib
import copy
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
import yaml

from benchmarks import derived, measures
from pipeline import config, datasets
from schemas import names

_HERE = os.path.dirname(os.path.abspath(__file__))
STUDIES = os.path.join(_HERE, "studies")
RESULTS = os.path.join(_HERE, "results")
WORK = os.path.join(".footfall", "benchmarks", "quality")
QUICK = "quick"
AGAINST = " -> "
# What stands before the name of a pretraining in `model.base_model`.
POINT = "point:"
# What windows are made by.
_WINDOWS = ("log", "window", "split")


class Study:
    """A study in its file, with what has been measured of it.

    Args:
      name: of the file.
      data: the folder of the logs.
    """

    def __init__(self, name: str, data: str):
        path = os.path.join(STUDIES, f"{name}.yaml")
        if not os.path.exists(path):
            known = ", ".join(sorted(file[: -len(".yaml")] for file in os.listdir(STUDIES)))
            raise SystemExit(f"{name}: no such study; there are {known}")
        with open(path, encoding="utf-8") as stream:
            # As an experiment is read.
            self._values = config.read_value(stream.read())
        self.name, self._data = name, data
        # Of a study that only shows that all is in place, nothing is worth keeping beside the code.
        self._path = os.path.join(WORK if name == QUICK else RESULTS, f"{name}.json")

    @property
    def title(self) -> str:
        """What is measured, in a line."""
        return self._values["title"]

    @property
    def points(self) -> list[str]:
        """Their names, in the order of the file."""
        return [*self._values["points"], *self._floors]

    def floor(self, point: str) -> dict[str, Any] | None:
        """The settings of a floor; None of a point that is a training."""
        return self._floors.get(point)

    @property
    def _floors(self) -> dict[str, Any]:
        return self._values.get("floors", {})

    def pretraining(self, point: str) -> str | None:
        """The point whose model another one starts from, or reads its vectors from; None for none.

        Raises:
          SystemExit: if there is no such point.
        """
        floor = self.floor(point)
        if floor:
            named = floor.get("items") or floor.get("embeddings")
        else:
            named = self.experiment(point).get("model", {}).get("base_model")
        if not str(named or "").startswith(POINT):
            return None
        base = named[len(POINT) :]
        if base not in self._values["points"] or base == point:
            known = ", ".join(other for other in self._values["points"] if other != point)
            raise SystemExit(f"{self.name} {point}: {named}: no such point; there are {known}")
        return base

    def same_windows(self, *points: str | None) -> bool:
        """Whether points have the same log, windows and split; None is the study's own experiment."""
        found = [{part: self.experiment(point).get(part) for part in _WINDOWS} for point in points]
        return all(one == found[0] for one in found)

    @property
    def seeds(self) -> int:
        """How many trainings a point has."""
        return self._values["seeds"]

    def seed_numbers(self, point: str, seeds: int) -> list[int]:
        """The seeds of a point's trainings."""
        first = self.experiment(None if self.floor(point) else point).get("training", {}).get("seed", 1)
        return list(range(first, first + seeds))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Which points are compared with which: those that are named, and all with the baseline that can be.

        Raises:
          SystemExit: if the points of a named pair have other windows, or learn something else.
        """
        named = [tuple(pair) for pair in self._values.get("compare", ())]
        for pair in named:
            if not self._comparable(*pair):
                raise SystemExit(
                    f"{self.name}: {' and '.join(pair)} cannot be compared: their {' or '.join(_WINDOWS)} differ, or what "
                    "they learn"
                )
        others = [point for point in self.points if self.baseline not in (None, point)]
        others = [point for point in others if self._comparable(self.baseline, point)]
        return [*named, *((self.baseline, point) for point in others if (self.baseline, point) not in named)]

    def _comparable(self, a: str | None, b: str) -> bool:
        return self.same_windows(a, b) and self.measure(a).main == self.measure(b).main

    @property
    def baseline(self) -> str | None:
        """The point that all others are compared with; None for none."""
        return self._values.get("baseline")

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of the labels, where examples have labels."""
        return measures.labels_of(self.experiment())

    @property
    def groups(self) -> dict[str, list[str]]:
        """Labels whose means are measured as well, by the name of their group."""
        return self._values.get("groups", {})

    def measure(self, point: str | None = None) -> Any:
        """What is measured of a point, or (None) of the study's own experiment; see `measures`."""
        floor = point is not None and self.floor(point) is not None
        experiment = self.experiment(None if floor else point)
        return measures.of_experiment(experiment, self.groups)

    def forget(self) -> None:
        """Takes away what has been measured."""
        if os.path.exists(self._path):
            os.remove(self._path)

    def experiment(self, point: str | None = None) -> dict[str, Any]:
        """The experiment of a point: the study's (which it is for None), with the point's parts merged in.

        Of a floor it is what its windows are made by, and its settings.
        """
        merged = copy.deepcopy(self._values["experiment"])
        floor = self.floor(point) if point else None
        if floor is not None:
            windows = {part: merged[part] for part in _WINDOWS if part in merged}
            return {**windows, "floor": floor, "name": self.name}
        for part, settings in (self._values["points"][point] if point else {}).items():
            kept = merged.get(part, {})
            # Settings of another model, loss or loop have no meaning here.
            other = "name" in settings and settings["name"] != kept.get("name")
            merged[part] = dict(settings) if other else {**kept, **settings}
        if merged.get("loop", {}).get("name") == "tp":
            # Its batches are of users.
            merged.get("training", {}).pop("batch_size", None)
        merged["name"] = self.name
        return merged

    def as_it_is_run(self, point: str | None = None) -> dict[str, Any]:
        """`experiment` without what a point inherits from the study and nothing in it reads: a run would refuse it."""
        found = self.experiment(point)
        for one in config.Experiment.from_values(found).unread():
            *parents, last = one.key.split(".")
            place = found
            for parent in parents:
                place = place[parent]
            del place[last]
        return found

    def described(self, point: str) -> dict[str, Any]:
        """What a measurement of a point is kept with: its experiment, with that of its pretraining."""
        base = self.pretraining(point)
        return {**self.experiment(point), **({"pretraining": self.described(base)} if base else {})}

    def values(self, point: str, seed: int | None = None) -> dict[str, Any]:
        """The settings of a point, by part, that its experiment's file does not have.

        Args:
          point: a training.
          seed: of a point with a pretraining: the model that it starts from is another one for each seed.

        Raises:
          SystemExit: if the pretraining has not been trained here.
        """
        found: dict[str, Any] = {}
        if self._together:
            common, own = self.as_it_is_run(), self.as_it_is_run(point)
            found = {part: settings for part, settings in own.items() if common.get(part) != settings}
        base = self.pretraining(point)
        if base is not None and seed is not None:
            model = self.saved_model(base, seed)
            if "model" in found:
                found["model"] = {**found["model"], "base_model": model}
            else:
                found["model.base_model"] = model
        return found

    def run_folder(self, point: str, seed: int) -> str | None:
        """Where what a point has trained with a seed is; None if there is nothing (or of its pretraining)."""
        from pipeline.sweeping import sweep

        base = self.pretraining(point)
        if base is not None and self.run_folder(base, seed) is None:
            return None
        name = sweep.folder_name(self.values(point, seed))
        path = os.path.join(self.folder(point), "points", name, f"seed-{seed}")
        return path if os.path.isdir(path) else None

    def saved_model(self, point: str, seed: int) -> str:
        """The folder of the SavedModel of a point, with its absolute path.

        Raises:
          SystemExit: if it has not been trained here.
        """
        from pipeline.comparing import runs

        folder = self.run_folder(point, seed)
        if folder is None:
            raise SystemExit(
                f"{self.name}: {point} has not been trained with seed {seed} here: measure it first"
            )
        return os.path.abspath(runs.trained(folder).model_dir)

    def windows_run(self, point: str) -> str:
        """The folder of a training of the same windows as a floor's.

        Raises:
          SystemExit: if there is none.
        """
        for other in self._values["points"]:
            if self.same_windows(other, point):
                for seed in self.seed_numbers(other, self.seeds):
                    folder = self.run_folder(other, seed)
                    if folder is not None:
                        return folder
        raise SystemExit(
            f"{self.name} {point}: no windows are there: measure a point that is trained on them first"
        )

    def answers(self, point: str, seed: int) -> pd.DataFrame | None:
        """What a point that was trained, or a floor, with a seed said of each test window; None if that is not kept here.

        It is not with the results, but outlives the models: with it points can be compared in pairs when these are gone.
        """
        path = self._answers_path(point, seed)
        return pd.read_parquet(path) if os.path.exists(path) else None

    def keep_answers(self, point: str, seed: int, table: pd.DataFrame) -> None:
        """Keeps what `answers` gives."""
        path = self._answers_path(point, seed)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        partial = f"{path}.{os.getpid()}.tmp"
        table.to_parquet(partial, index=False)
        os.replace(partial, path)

    def _answers_path(self, point: str, seed: int) -> str:
        # With other settings it is another point, and with other slices there are other columns.
        known_by = json.dumps([self.described(point), names.SLICES], sort_keys=True)
        digest = hashlib.sha256(known_by.encode()).hexdigest()[:12]
        return os.path.join(WORK, self.name, "answers", point, digest, f"seed-{seed}.parquet")

    def folder(self, point: str) -> str:
        """Where the sweep of a point is: of all points, if they share windows, so one after the other."""
        return os.path.join(WORK, self.name, *(() if self._together else (point,)))

    @property
    def _together(self) -> bool:
        """Whether points share windows and Transform; worth it where these take longer than a training."""
        return self._values.get("together", False)

    def write_experiment(self, point: str) -> str:
        """Writes the experiment that a point's sweep starts from, where the log is.

        Returns:
          The path of the file.
        """
        experiment = self.as_it_is_run(None if self._together else point)
        log = experiment["log"]["path"]
        if not log.startswith(datasets.PREFIX):
            make = derived.LOGS.get(log)
            found = make(self._data, WORK) if make else os.path.join(self._data, log)
            if not os.path.exists(found):
                raise SystemExit(f"{self.name}: its log is not there: {found}")
            experiment["log"]["path"] = os.path.abspath(found)
        path = f"{self.folder(point)}.yaml"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            yaml.dump(experiment, stream, config.Dumper, sort_keys=False)
        return path

    def read(self) -> dict[str, Any]:
        """What has been measured with the settings of now, by point."""
        found = self._file()["points"]
        return {
            point: found[point]
            for point in self.points
            if point in found and found[point]["experiment"] == self.described(point)
        }

    def comparisons(self) -> dict[str, Any]:
        """What came of the pairs of which both are measured; see `compare_pair`."""
        measured = self.read()
        return {
            pair: found
            for pair, found in self._file()["comparisons"].items()
            if all(point in measured for point in pair.split(AGAINST))
        }

    def _file(self) -> dict[str, Any]:
        if not os.path.exists(self._path):
            return {"points": {}, "comparisons": {}}
        with open(self._path, encoding="utf-8") as stream:
            return json.load(stream)

    def keep(self, point: str, runs: Sequence[dict[str, Any]]) -> None:
        """Adds runs of a point, one for each seed; other points may be written at the same time."""
        with self._locked():
            points, comparisons = self.read(), self.comparisons()
            before = {run["seed"]: run for run in points.get(point, {}).get("runs", ())}
            before.update({run["seed"]: run for run in runs})
            points[point] = {
                "experiment": self.described(point),
                "runs": [before[seed] for seed in sorted(before)],
            }
            self._write(points, comparisons)

    def keep_comparison(self, a: str, b: str, found: dict[str, Any]) -> None:
        """Keeps what `compare_pair` found."""
        with self._locked():
            self._write(self.read(), {**self.comparisons(), f"{a}{AGAINST}{b}": found})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        os.makedirs(WORK, exist_ok=True)
        with open(os.path.join(WORK, f"{self.name}.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, points: dict[str, Any], comparisons: dict[str, Any]) -> None:
        # A line a run, so that what is added shows as such in version control.
        blocks = []
        for name in self.points:
            if name in points:
                runs = ",\n".join(f"   {json.dumps(run)}" for run in points[name]["runs"])
                settings = json.dumps(points[name]["experiment"])
                blocks.append(f'  {json.dumps(name)}: {{"experiment": {settings}, "runs": [\n{runs}\n  ]}}')
        pairs = [f"  {json.dumps(pair)}: {json.dumps(comparisons[pair])}" for pair in sorted(comparisons)]
        text = (
            f'{{\n "title": {json.dumps(self.title)},\n "points": {{\n'
            + ",\n".join(blocks)
            + '\n },\n "comparisons": {\n'
            + ",\n".join(pairs)
            + "\n }\n}\n"
        )
        partial = f"{self._path}.tmp"
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        with open(partial, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(partial, self._path)
