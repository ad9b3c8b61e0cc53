"""Quality of what `footfall data describe` suggests, beside what it suggested before.

    python -m benchmarks.suggested [--logs A,B] [--splits leave_one_out,time] [--seeds N] [--threads N]
    python -m benchmarks.suggested --floors
    python -m benchmarks.suggested --table
    python -m benchmarks.suggested --quick

Each log is described, and what is suggested for its numbers is trained: `before`, the settings until
2026-11-26, and `now`, those of `pipeline.starting_points`. Windows are cut by Footfall's kernels and models
are trained by its loop, without Beam and TFX around them. The best epoch is chosen on `eval`; metrics are of
the targets of `test` among the whole catalogue, without the items seen before where the suggestion says so,
ties against the model. Beside them are floors, from what trains alone: the items by their counts; and, where
users come back to items, those of the user's own window by count and by recency. `--floors` gives these
and the share of targets outside the catalogue, and trains nothing.

What was measured is kept in benchmarks/results/suggested.json with its settings, and is not measured again
while these are the same. The last line is one JSON object of the figures.
"""

import argparse
import json
import logging
import os
import statistics
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks import quick
from benchmarks import study as study_lib
from components.behavior_example_gen.windows.next import NextWindow
from schemas import ranks as rank_lib

_DATA = os.path.join("..", "shared", "data")
LOGS = {
    "amazon-beauty": "amazon-beauty/events.csv.gz",
    "movietweetings": "movietweetings/ratings.csv.gz",
    "retailrocket": "retailrocket/events.csv.gz",
    "online-retail": "online-retail/transactions.parquet",
    "ml-1m-2999": "ml-1m/ratings_users_1_2999.csv.gz",
}
BEFORE, NOW = "before", "now"
_SPLITS = ("leave_one_out", "time")
_CUTOFF = 10
_METRICS = ("hr@10", "ndcg@10")
_PROGRESS = "footfall.progress"


def before(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings that were suggested until 2026-11-26."""
    length = int(min(200, max(10, 10 * round(description["history"].get("p75", 50) / 10))))
    many = {"name": "sampled_softmax", "negatives": 1024, "shared_negatives": True}
    return {
        "window": {"kind": "next", "length": length},
        "model": {"name": "sasrec", "dim": 64},
        "loss": {"name": "softmax"} if description["items"] <= 20_000 else many,
        "training": {"epochs": 50, "batch_size": 128},
    }


def now(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings that are suggested."""
    from pipeline import starting_points

    return starting_points.next_items(starting_points.Numbers.of(description)).settings


_SUGGESTIONS = {BEFORE: before, NOW: now}


class Log:
    """A log with its description, read once.

    Args:
      path: of the log.
    """

    def __init__(self, path: str):
        from components.behavior_example_gen import describe
        from pipeline import suggest

        self.description = describe.describe(path)
        self.exclude_seen = self.description["repeat_share"] <= suggest.MANY_REPEATS
        self._table: Any = None
        self._cut: dict[tuple[int, str], Any] = {}

    def windows(self, length: int, split: str) -> Any:
        """Its `next_windows.Windows`."""
        from benchmarks import next_windows
        from components.behavior_example_gen import spec

        if self._table is None:
            self._table = next_windows.read(spec.LogSpec.from_values(self.description["log"]))
        if (length, split) not in self._cut:
            self._cut[length, split] = next_windows.cut(
                self._table, NextWindow(length=length), spec.SplitSpec(by=(split,))
            )
        return self._cut[length, split]


def measure(log: Log, split: str, settings: dict[str, dict[str, Any]], seed: int) -> dict[str, Any]:
    """Trains what is suggested, and measures it and the floors on `test`."""
    import time

    from benchmarks import next_windows
    from schemas import names
    from trainer import config

    found = log.windows(settings["window"]["length"], split)
    parts = {part: settings[part] for part in ("model", "loss", "training")}
    parts["training"] = {**parts["training"], "seed": seed}
    used = time.process_time()
    history, ranks = next_windows.train(found, config.TrainerSettings.from_values(parts), log.exclude_seen)
    cpu = time.process_time() - used
    best = next(epoch for epoch in history["epochs"] if epoch["epoch"] == history["best_epoch"])
    return {
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
        "epochs": len(history["epochs"]),
        "best_epoch": history["best_epoch"],
        "on_eval": [round(best[metric], 5) for metric in _METRICS],
        "on_test": _means(_values(ranks), found.users[names.TEST]),
        **untrained(found, log.exclude_seen),
        "cpu_seconds": round(cpu, 1),
    }


def untrained(found: Any, exclude_seen: bool) -> dict[str, Any]:
    """What is known of the windows of `test` before any training.

    Returns:
      How many windows there are, of how many users; the share of targets that are outside the catalogue,
      which no model can hit; and the floors.
    """
    from benchmarks import next_windows
    from schemas import names

    floors = {
        "popularity": next_windows.popular_ranks(found, exclude_seen),
        "recent popularity": next_windows.recent_ranks(found, exclude_seen),
    }
    if not exclude_seen:
        floors["own frequent"], floors["own recent"] = next_windows.own_ranks(found)
    users = found.users[names.TEST]
    unknown = found.features[names.TEST][names.TARGET_ITEM_INDEX] < names.FIRST_INDEX
    return {
        "windows": len(users),
        "users": int(users.max()) + 1,
        "outside_catalogue": round(float(unknown.mean()), 4),
        "floors": {name: _means(_values(ranks), users) for name, ranks in floors.items()},
    }


def _values(ranks: np.ndarray) -> np.ndarray:
    """HR and NDCG of each window, `[W, 2]`; ranks of 0 are misses."""
    found = np.asarray(ranks, np.float64)
    return rank_lib.values(np.where(found >= 1, found, np.inf), [_CUTOFF])[:, :2]


def _means(values: np.ndarray, users: np.ndarray) -> list[list[float]]:
    """Mean and half width of the 95 % interval (bootstrap over users) of each metric."""
    from pipeline.comparing import paired

    found = paired.compare(values, users, resamples=1000)
    half = (found.high - found.low) / 2
    return [[round(float(mean), 5), round(float(width), 5)] for mean, width in zip(found.difference, half)]


class Results:
    """What was measured, in its file.

    Args:
      path: of the file.
    """

    def __init__(self, path: str):
        self._path = path
        self.points: dict[str, Any] = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as stream:
                self.points = json.load(stream)

    def runs(self, key: str, settings: Any) -> list[dict[str, Any]]:
        """Those of a point that were measured with these settings."""
        point = self.points.get(key)
        return list(point["runs"]) if point and point["settings"] == settings else []

    def keep(self, key: str, settings: Any, run: dict[str, Any]) -> None:
        """Adds a run."""
        self.points[key] = {"settings": settings, "runs": [*self.runs(key, settings), run]}
        lines = [f" {json.dumps(name)}: {json.dumps(self.points[name])}" for name in sorted(self.points)]
        os.makedirs(os.path.dirname(self._path), exist_ok=True)
        with open(f"{self._path}.tmp", "w", encoding="utf-8") as stream:
            stream.write("{\n" + ",\n".join(lines) + "\n}\n")
        os.replace(f"{self._path}.tmp", self._path)


def table(points: dict[str, Any]) -> str:
    """What was measured, as Markdown: a row for each log, split and suggestion, and one for each floor."""
    lines = ["| log, split | | seeds | best epoch | HR@10 | NDCG@10 | CPU s |", "| --- " * 7 + "|"]
    floors_of = None
    for key, point in points.items():
        log, split, suggestion = key.split(", ")
        runs = point["runs"]
        if floors_of != (log, split):
            floors_of = (log, split)
            for name, found in runs[0]["floors"].items():
                lines.append(f"| {log}, {split} | {name} | | | {_cell([found], 0)} | {_cell([found], 1)} | |")
        best = ", ".join(f"{run['best_epoch']} of {run['epochs']}" for run in runs)
        tested = [run["on_test"] for run in runs]
        cpu = statistics.fmean(run["cpu_seconds"] for run in runs)
        cells = f"{_cell(tested, 0)} | {_cell(tested, 1)} | {cpu:.0f}"
        lines.append(f"| {log}, {split} | {suggestion} | {len(runs)} | {best} | {cells} |")
    return "\n".join(lines)


def _cell(measured: Sequence[Any], metric: int) -> str:
    mean, half = interval([run[metric] for run in measured])
    return f"{mean:.4f} ± {half:.4f}"


def interval(measured: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Mean and half width of the 95 % interval: Student's over seeds; of one seed, over its users."""
    from scipy import stats

    means = [mean for mean, _ in measured]
    if len(means) == 1:
        return means[0], measured[0][1]
    spread = statistics.stdev(means) / np.sqrt(len(means))
    return statistics.fmean(means), float(stats.t.ppf(0.975, len(means) - 1) * spread)


def run(
    logs: dict[str, str],
    splits: Sequence[str],
    suggestions: Sequence[str],
    seeds: int,
    results: Results,
    training: dict[str, Any] | None = None,
) -> None:
    """Measures what has not been; settings of `training` take the place of those that are suggested."""
    for name, path in logs.items():
        if not os.path.exists(path):
            print(f"{name}: its log is not there: {path}")
            continue
        log = Log(path)
        for split in splits:
            for suggestion in suggestions:
                settings = _SUGGESTIONS[suggestion](log.description)
                settings["training"] = {**settings["training"], **(training or {})}
                key = f"{name}, {split}, {suggestion}"
                done = {found["seed"] for found in results.runs(key, settings)}
                for seed in range(1, seeds + 1):
                    if seed not in done:
                        results.keep(key, settings, measure(log, split, settings, seed))
                        print(key, json.dumps(results.points[key]["runs"][-1]), flush=True)


def floors_of(logs: dict[str, str], splits: Sequence[str]) -> dict[str, Any]:
    """What `untrained` says of each log and split, with the windows that are suggested now."""
    found = {}
    for name, path in logs.items():
        log = Log(path)
        length = now(log.description)["window"]["length"]
        for split in splits:
            found[f"{name}, {split}"] = untrained(log.windows(length, split), log.exclude_seen)
            print(f"{name}, {split}", json.dumps(found[f"{name}, {split}"]), flush=True)
    return found


def drawn_log(folder: str, users: int = 120, items: int = 40, seed: int = 0) -> str:
    """A small log in which most items have a successor of their own; for trying this out."""
    rng = np.random.default_rng(seed)
    lines, moment = ["user_id,item_id,timestamp"], 1_700_000_000
    for user in range(users):
        item = int(rng.integers(items))
        for _ in range(5 + int(rng.integers(10))):
            moment += 60
            lines.append(f"u{user},i{item},{moment}")
            item = (7 * item + 3) % items if rng.random() < 0.8 else int(rng.integers(items))
    path = os.path.join(folder, "drawn.csv")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    return path


def figures(points: dict[str, Any]) -> dict[str, Any]:
    """Mean and half width of the interval of each metric on `test`, by point."""
    found: dict[str, Any] = {}
    for key, point in points.items():
        tested = [run["on_test"] for run in point["runs"]]
        found[key] = {"seeds": len(tested)}
        for index, metric in enumerate(_METRICS):
            found[key][metric] = [round(v, 4) for v in interval([run[index] for run in tested])]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", help=f"which, with commas (default: {','.join(LOGS)})")
    parser.add_argument("--splits", default=",".join(_SPLITS), help="which (default: %(default)s)")
    parser.add_argument("--suggestions", default=f"{BEFORE},{NOW}", help="which (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of TensorFlow; one for each core by default")
    parser.add_argument("--data", default=_DATA, help="folder of the logs (default: %(default)s)")
    parser.add_argument("--floors", action="store_true", help="show what needs no training, and keep nothing")
    parser.add_argument("--table", action="store_true", help="show what was measured, and measure nothing")
    quick.add(parser, "a drawn log, within a minute; keeps nothing", users=120, epochs=2)
    given = parser.parse_args(arguments)
    chosen = {
        option: getattr(given, option).split(",") if getattr(given, option) else list(known)
        for option, known in (("logs", LOGS), ("splits", _SPLITS), ("suggestions", _SUGGESTIONS))
    }
    for option, known in (("logs", LOGS), ("splits", _SPLITS), ("suggestions", _SUGGESTIONS)):
        unknown = [name for name in chosen[option] if name not in known]
        if unknown:
            parser.error(f"--{option} takes {', '.join(known)}; found {', '.join(unknown)}")
    logging.basicConfig(format="%(message)s")
    logging.getLogger(_PROGRESS).setLevel(logging.INFO)
    if given.threads and not given.table:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(given.threads)
        tf.config.threading.set_inter_op_parallelism_threads(given.threads)
    paths = {name: os.path.join(given.data, LOGS[name]) for name in chosen["logs"]}
    if given.floors:
        print(json.dumps(floors_of(paths, chosen["splits"])))
        return
    if given.quick:
        with tempfile.TemporaryDirectory() as folder:
            results = Results(os.path.join(folder, "suggested.json"))
            logs = {"drawn": drawn_log(folder, given.quick["users"])}
            # One width, so that the step's graph is made once.
            changed = {"epochs": given.quick["epochs"], "length_buckets": 1}
            run(logs, _SPLITS[:1], chosen["suggestions"], 1, results, changed)
    else:
        results = Results(os.path.join(study_lib.RESULTS, "suggested.json"))
        if not given.table:
            run(paths, chosen["splits"], chosen["suggestions"], given.seeds, results)
    print(table(results.points))
    print(json.dumps(figures(results.points)))


if __name__ == "__main__":
    main()
