"""Ranking quality of the models on real logs: studies of many points, each trained with several seeds.

    python -m benchmarks.quality STUDY [--points A,B] [--seeds N] [--data FOLDER]
    python -m benchmarks.quality STUDY --table
    python -m benchmarks.quality --quick

A study (`benchmarks/studies/STUDY.yaml`) is one experiment and points that differ from it in
model, loss, loop and training, so that all have the same windows. A point goes through the
pipeline as a run does, but for the push: windows, Transform, Trainer, Evaluator. What it
measured is kept in `benchmarks/results/STUDY.json` as soon as it is done, with its settings;
a point whose settings are the same is not trained again, so that a study can be measured in
pieces. Metrics are of the test windows: the whole catalogue without the items seen before, ties against
the model. The best epoch is chosen on `eval`.

The last line is one JSON object of the study's figures.
"""

import argparse
import copy
import fcntl
import json
import os
import statistics
import time
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import numpy as np
import yaml
from scipy import stats

from schemas import names

_HERE = os.path.dirname(os.path.abspath(__file__))
_STUDIES = os.path.join(_HERE, "studies")
_RESULTS = os.path.join(_HERE, "results")
_WORK = os.path.join(".footfall", "benchmarks", "quality")
_DATA = os.path.join("..", "shared", "data")
_CUTOFFS = (1, 5, 10, 20, 50)
_QUICK = "quick"
_ALL = "all"
# Slices, and the crossings of two of them that papers show.
_CROSSED = ((names.USER_STATUS,), (names.USER_FREQUENCY,), (names.USER_STATUS, names.USER_FREQUENCY))
_MORE = ((names.ITEM_FREQUENCY,), (names.HISTORY_LENGTH,))
# Of the folder of a point's only setting: its experiment says the rest.
_AS_IT_IS: Dict[str, Any] = {}


class Study:
    """A study in its file, with what has been measured of it.

    Args:
      name: of the file.
      data: the folder of the logs.
    """

    def __init__(self, name: str, data: str):
        path = os.path.join(_STUDIES, f"{name}.yaml")
        if not os.path.exists(path):
            known = ", ".join(sorted(file[: -len(".yaml")] for file in os.listdir(_STUDIES)))
            raise SystemExit(f"{name}: no such study; there are {known}")
        with open(path, encoding="utf-8") as stream:
            self._values = yaml.safe_load(stream)
        self.name, self._data = name, data
        self._path = os.path.join(_RESULTS, f"{name}.json")

    @property
    def title(self) -> str:
        """What is measured, in a line."""
        return self._values["title"]

    @property
    def points(self) -> List[str]:
        """Their names, in the order of the file."""
        return list(self._values["points"])

    @property
    def seeds(self) -> int:
        """How many trainings a point has."""
        return self._values["seeds"]

    def seed_numbers(self, point: str, seeds: int) -> List[int]:
        """The seeds of a point's trainings."""
        first = self.experiment(point).get("training", {}).get("seed", 1)
        return list(range(first, first + seeds))

    @property
    def pairs(self) -> List[Tuple[str, str]]:
        """Which points are compared with which."""
        return [tuple(pair) for pair in self._values.get("compare", ())]

    def experiment(self, point: str) -> Dict[str, Any]:
        """The experiment of a point: the study's, with the point's parts merged in."""
        merged = copy.deepcopy(self._values["experiment"])
        for part, settings in self._values["points"][point].items():
            kept = merged.get(part, {})
            # Settings of another model, loss or loop have no meaning here.
            other = "name" in settings and settings["name"] != kept.get("name")
            merged[part] = dict(settings) if other else {**kept, **settings}
        merged["name"] = self.name
        return merged

    def write_experiment(self, point: str) -> str:
        """Writes the experiment of a point where the log is.

        Returns:
          The path of the file.
        """
        experiment = self.experiment(point)
        experiment["log"]["path"] = os.path.abspath(os.path.join(self._data, experiment["log"]["path"]))
        path = os.path.join(_WORK, self.name, f"{point}.yaml")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            yaml.safe_dump(experiment, stream, sort_keys=False)
        return path

    def read(self) -> Dict[str, Any]:
        """What has been measured with the settings of now, by point."""
        if not os.path.exists(self._path):
            return {}
        with open(self._path, encoding="utf-8") as stream:
            found = json.load(stream)["points"]
        return {
            point: found[point]
            for point in self.points
            if point in found and found[point]["experiment"] == self.experiment(point)
        }

    def keep(self, point: str, runs: Sequence[Dict[str, Any]]) -> None:
        """Adds runs of a point, one for each seed; other points may be written at the same time."""
        os.makedirs(_WORK, exist_ok=True)
        with open(os.path.join(_WORK, f"{self.name}.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            points = self.read()
            before = {run["seed"]: run for run in points.get(point, {}).get("runs", ())}
            before.update({run["seed"]: run for run in runs})
            points[point] = {
                "experiment": self.experiment(point),
                "runs": [before[seed] for seed in sorted(before)],
            }
            ordered = {name: points[name] for name in self.points if name in points}
            partial = f"{self._path}.tmp"
            os.makedirs(_RESULTS, exist_ok=True)
            with open(partial, "w", encoding="utf-8") as stream:
                json.dump({"title": self.title, "points": ordered}, stream, indent=1)
                stream.write("\n")
            os.replace(partial, self._path)


def measure(study: Study, point: str, seeds: int) -> List[Dict[str, Any]]:
    """Trains and evaluates a point, as far as that has not been done.

    Returns:
      What each seed came to: metrics by slice, epochs and seconds.
    """
    from pipeline import sweep

    path = study.write_experiment(point)
    used, started = time.process_time(), time.monotonic()
    found = sweep.Sweep(path, (), os.path.join(_WORK, study.name, point), seeds).run([_AS_IT_IS], "benchmark")
    trials = found[0].trials
    failed = [trial for trial in trials if trial.error]
    if failed:
        raise SystemExit(f"{study.name} {point}: seed {failed[0].seed}: {failed[0].error}")
    fresh = sum(trial.state != "cached" for trial in trials)
    # Of the whole process, so that windows and start-up are in it; of what came from a cache nothing is known.
    cpu = (time.process_time() - used) / fresh if fresh else None
    wall = (time.monotonic() - started) / fresh if fresh else None
    return [_run(trial, cpu, wall) for trial in trials]


def _run(trial: Any, cpu: Optional[float], wall: Optional[float]) -> Dict[str, Any]:
    from pipeline import compare

    result = {
        "seed": trial.seed,
        "date": time.strftime("%Y-%m-%d"),
        "epochs": trial.epochs,
        "best_epoch": trial.best_epoch,
        "component_seconds": trial.seconds,
        "on_eval": trial.on_eval,
        "slices": _slices(compare.ranks(compare.find_runs(trial.folder)[0])),
    }
    if trial.state != "cached":
        result.update(cpu_seconds=round(cpu, 1), wall_seconds=round(wall, 1))
    return result


def _slices(ranks: Any) -> Dict[str, Dict[str, Any]]:
    """Mean and standard error of each metric over the windows of each slice."""
    from components.evaluator import metrics

    values = metrics.metric_values(ranks[names.RANK].to_numpy(), _CUTOFFS)
    found: Dict[str, Dict[str, Any]] = {}
    for label, chosen in _chosen(ranks):
        part = values[chosen]
        errors = part.std(axis=0, ddof=1) / np.sqrt(len(part)) if len(part) > 1 else np.zeros(part.shape[1])
        found[label] = {"windows": len(part)}
        for index, name in enumerate(metrics.metric_names(_CUTOFFS)):
            found[label][name] = [round(float(part[:, index].mean()), 5), round(float(errors[index]), 5)]
    return found


def _chosen(ranks: Any) -> Iterator[Tuple[str, np.ndarray]]:
    yield _ALL, np.ones(len(ranks), bool)
    for features in (*_CROSSED, *_MORE):
        values = [ranks[feature].to_numpy() for feature in features]
        for combination in sorted(set(zip(*values))):
            chosen = np.all([column == value for column, value in zip(values, combination)], axis=0)
            if all(combination) and (len(features) == 1 or chosen.sum() < len(ranks)):
                yield " ".join(f"{f}={v}" for f, v in zip(features, combination)), chosen


def compare_pair(study: Study, a: str, b: str, seeds: int) -> Dict[str, Any]:
    """Differences B - A of two points by slice: means over seeds, paired over users."""
    from components.evaluator import metrics
    from pipeline import compare, paired

    sides = []
    for point in (a, b):
        folder = os.path.join(_WORK, study.name, point, "points", "base")
        runs = compare.find_runs(folder)[:seeds]
        tables = [compare.ranks(run).sort_values(names.USER_ID, kind="stable") for run in runs]
        values = [metrics.metric_values(table[names.RANK].to_numpy(), _CUTOFFS) for table in tables]
        sides.append((tables[0], np.mean(values, axis=0)))
    (first, of_a), (second, of_b) = sides
    key = [names.USER_ID, names.TARGET_ITEM_ID]
    if first[key].values.tolist() != second[key].values.tolist():
        raise SystemExit(f"{study.name}: {a} and {b} were not measured on the same windows")
    users = np.unique(first[names.USER_ID].to_numpy(), return_inverse=True)[1]
    found: Dict[str, Any] = {}
    for label, chosen in _chosen(first):
        codes = np.unique(users[chosen], return_inverse=True)[1]
        result = paired.compare((of_b - of_a)[chosen], codes, 0)
        found[label] = {
            name: [round(float(v[i]), 5) for v in (result.difference, result.low, result.high, result.p)]
            for i, name in enumerate(metrics.metric_names(_CUTOFFS))
        }
    return found


def mean_and_interval(runs: Sequence[Dict[str, Any]], label: str, metric: str) -> Tuple[float, float]:
    """The mean over seeds of a metric, and the half width of its 95 % interval.

    With several seeds the interval is Student's over them; with one it is over the windows.
    """
    found = [run["slices"][label][metric] for run in runs]
    means = [mean for mean, _ in found]
    if len(means) == 1:
        return means[0], 1.96 * found[0][1]
    spread = statistics.stdev(means) / np.sqrt(len(means))
    return statistics.fmean(means), float(stats.t.ppf(0.975, len(means) - 1) * spread)


def table(study: Study, metrics: Sequence[str] = ("hr@10", "ndcg@10")) -> str:
    """The study as Markdown: a row a point, then a row for each compared pair and slice."""
    found = study.read()
    lines = ["| point | seeds | best epoch | " + " | ".join(metrics) + " | CPU h |"]
    lines.append("| --- " * (4 + len(metrics)) + "|")
    for point, measured in found.items():
        runs = measured["runs"]
        cells = ["{:.4f} ± {:.4f}".format(*mean_and_interval(runs, _ALL, metric)) for metric in metrics]
        epochs = ", ".join(str(run["best_epoch"]) for run in runs)
        hours = sum(run.get("cpu_seconds", 0) for run in runs) / 3600
        lines.append(f"| {point} | {len(runs)} | {epochs} | {' | '.join(cells)} | {hours:.2f} |")
    return "\n".join(lines)


def run(study: Study, points: Sequence[str], seeds: int) -> Dict[str, Any]:
    """Measures points; returns the figures of all that the study has."""
    for point in points:
        known = study.read().get(point, {}).get("runs", ())
        if {run["seed"] for run in known} >= set(study.seed_numbers(point, seeds)):
            print(f"{study.name} {point}: measured before")
            continue
        study.keep(point, measure(study, point, seeds))
    return figures(study)


def figures(study: Study) -> Dict[str, Any]:
    """Mean and half width of the interval of the main metrics of each measured point."""
    return {
        point: {
            "seeds": [run["seed"] for run in measured["runs"]],
            **{
                metric: [round(v, 4) for v in mean_and_interval(measured["runs"], _ALL, metric)]
                for metric in ("hr@10", "ndcg@10")
            },
        }
        for point, measured in study.read().items()
    }


def main(arguments: Optional[Sequence[str]] = None) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", help="name of a file in benchmarks/studies")
    parser.add_argument("--points", help="which, with commas; all by default")
    parser.add_argument("--seeds", type=int, help="trainings of a point; as the study says by default")
    parser.add_argument("--data", default=_DATA, help="folder of the logs (default: %(default)s)")
    parser.add_argument(
        "--table", action="store_true", help="show what has been measured, and measure nothing"
    )
    parser.add_argument("--quick", action="store_true", help="a small study, within a minute; keeps nothing")
    given = parser.parse_args(arguments)
    if bool(given.study) == given.quick:
        parser.error("name a study, or --quick")
    study = Study(given.study or _QUICK, given.data)
    points = given.points.split(",") if given.points else study.points
    unknown = [point for point in points if point not in study.points]
    if unknown:
        parser.error(f"{study.name} has no point {', '.join(unknown)}; it has {', '.join(study.points)}")
    if not given.table:
        run(study, points, given.seeds or study.seeds)
    print(table(study))
    print(json.dumps(figures(study)))


if __name__ == "__main__":
    main()
