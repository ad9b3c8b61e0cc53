"""Quality of the models on real logs: studies of many points, each trained with several seeds.

    python -m benchmarks.quality STUDY [--points A,B] [--seeds N] [--data FOLDER]
    python -m benchmarks.quality STUDY --table [--metrics A,B] [--slices "all,user_status=new"]
    python -m benchmarks.quality --quick

A study (`benchmarks/studies/STUDY.yaml`) is one experiment and points that differ from it in
features, model, loss, loop and training, so that all have the same windows. A point goes through the
pipeline as a run does, but for the push: windows, Transform, Trainer, Evaluator. What it
measured is kept in `benchmarks/results/STUDY.json` as soon as it is done, with its settings;
a seed of a point whose settings are the same is not trained again, so that a study can be measured in
pieces. Metrics are of the test windows. Of `next` windows they are those of ranking the whole catalogue
without the items seen before, ties against the model; with `evaluation.sampled_negatives` those of a
sampled ranking as well, under their names. Of exposures, and of periods with labels, they are those of each label; of a
pretraining without labels they tell whether its embeddings are of use. The best
epoch is chosen on `eval`. Points are compared in pairs, `compare`, and all with `baseline`, if the study
names one: by what each said of the test windows, which is kept below `.footfall/benchmarks/quality/STUDY/answers`, so that a
point of a pair may be measured long after the other. The interval and p of a pair are over users, of the models that were
trained; beside them stands what tells a method from the luck of its seeds, p by Student's t of the differences of each seed.

A point may start from the model that another point of the study has trained with the same seed, and floors are measured on the
windows of a study, too: see `study`. Pretrainings that are not there are trained first.

The last line is one JSON object of the study's figures.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from benchmarks import measures
from benchmarks import study as study_lib
from pipeline.cli import entry
from schemas import errors

_DATA = os.path.join("..", "shared", "data")
# Differences of seeds that are nearer to one another are the same but for rounding.
_ALIKE = 1e-9


def measure(study: study_lib.Study, point: str, seed: int) -> dict[str, Any]:
    """Trains and evaluates a point with a seed, as far as that has not been done here.

    Returns:
      What it came to: metrics by slice, epochs and seconds.
    """
    from pipeline.sweeping import sweep

    path = study.write_experiment(point)
    used, started = time.process_time(), time.monotonic()
    try:
        one = sweep.Sweep(path, (f"training.seed={seed}",), study.folder(point), 1)
        trial = one.run([study.values(point, seed)], "benchmark")[0].trials[0]
    except errors.InputError as error:
        raise SystemExit(f"{study.name} {point}: {error}") from error
    if trial.error:
        raise SystemExit(f"{study.name} {point}: seed {seed}: {trial.error}")
    # Of the whole process, so that windows and start-up are in it; what came from a cache tells nothing.
    used, started = time.process_time() - used, time.monotonic() - started
    return _run(study, point, trial, used, started)


def measure_floor(study: study_lib.Study, point: str, seed: int) -> dict[str, Any]:
    """Fits and evaluates a floor on the windows of the study; see `measure`."""
    from benchmarks.baselines import floors
    from pipeline.comparing import runs

    settings, windows = study.floor(point), runs.trained(study.windows_run(point))
    base = study.pretraining(point)
    used, started = time.process_time(), time.monotonic()
    saved = study.saved_model(base, seed) if base else None
    table, chosen = floors.answers(settings, windows, seed, saved)
    study.keep_answers(point, seed, table)
    return {
        "seed": seed,
        "date": time.strftime("%Y-%m-%d"),
        "chosen_on_eval": chosen,
        "slices": study.measure(point).slices(table),
        "cpu_seconds": round(time.process_time() - used, 1),
        "wall_seconds": round(time.monotonic() - started, 1),
    }


def _run(study: study_lib.Study, point: str, trial: Any, cpu: float, wall: float) -> dict[str, Any]:
    from pipeline.comparing import runs

    run, measured = runs.find_runs(trial.folder)[0], study.measure(point)
    table = measured.ask(run)
    study.keep_answers(point, trial.seed, table)
    result = {
        "seed": trial.seed,
        "date": time.strftime("%Y-%m-%d"),
        "epochs": trial.epochs,
        "best_epoch": trial.best_epoch,
        "parameters": _parameters(run),
        "component_seconds": trial.seconds,
        "on_eval": trial.on_eval,
        "slices": measured.slices(table),
    }
    if trial.state != "cached":
        result.update(cpu_seconds=round(cpu, 1), wall_seconds=round(wall, 1))
    return result


def _parameters(run: Any) -> int:
    """How many numbers the served model has learnt."""
    import tensorflow as tf
    from tfx.utils import path_utils

    from trainer import warm_start

    saved = path_utils.serving_model_path(run.model_uri)
    shapes = dict(tf.train.list_variables(os.path.join(saved, "variables", "variables")))
    keys = (warm_start.KEY.format(place) for place in range(len(warm_start.names_of(saved))))
    return int(sum(np.prod(shapes[key]) for key in keys))


def compare_pair(study: study_lib.Study, a: str, b: str) -> dict[str, Any] | None:
    """Differences B - A of two points by slice: means over the seeds that both have, paired over users.

    Returns:
      `seeds`, and `slices`: difference, bounds of its 95 % interval and p of each metric; None if there is nothing here
      that a point said with any of these seeds.
    """
    measured = study.read()
    numbers = ([run["seed"] for run in measured[point]["runs"]] for point in (a, b))
    seeds = sorted(set.intersection(*map(set, numbers)))
    said = ([_said(study, one, seed) for one in (a, b)] for seed in seeds)
    pairs = [pair for pair in said if not any(one is None for one in pair)]
    if not pairs:
        return None
    side_a, side_b = zip(*pairs)
    try:
        slices = study.measure(a).compare(side_a, side_b)
    except ValueError as error:
        raise SystemExit(f"{study.name}: {a} and {b}: {error}") from error
    return {"seeds": len(pairs), "slices": slices}


def _said(study: study_lib.Study, point: str, seed: int) -> Any:
    """What a point said of the test windows: its model is asked, or what was kept is read; None where neither is here."""
    from pipeline.comparing import runs

    folder = None if study.floor(point) is not None else study.run_folder(point, seed)
    # What the model has said is beside it, too.
    return study.answers(point, seed) if folder is None else study.measure(point).ask(runs.trained(folder))


def mean_and_interval(
    runs: Sequence[dict[str, Any]], label: str, metric: str
) -> tuple[float, float | None] | None:
    """The mean over seeds of a metric, and the half width of its 95 % interval.

    With several seeds the interval is Student's over them; with one it is over the windows (of exposures:
    over their users).

    Returns:
      None if a seed has no value (or no such slice); the half width is None where nothing is known of it.
    """
    found = [run["slices"].get(label, {}).get(metric) for run in runs]
    if None in found:
        return None
    means = [mean for mean, _ in found]
    if len(means) == 1:
        error = found[0][1]
        return means[0], None if error is None else 1.96 * error
    spread = statistics.stdev(means) / np.sqrt(len(means))
    return statistics.fmean(means), float(stats.t.ppf(0.975, len(means) - 1) * spread)


class OverSeeds(NamedTuple):
    """A difference of two points' means, and its p by Student's paired t over the seeds that both have."""

    difference: float
    p: float
    seeds: int


def over_seeds(
    a: Sequence[dict[str, Any]], b: Sequence[dict[str, Any]], label: str, metric: str
) -> OverSeeds | None:
    """What the runs of two points with the same seed say of B - A.

    Returns:
      None where fewer than three seeds have both, or all differ by the same.
    """
    sides = [
        {run["seed"]: run["slices"].get(label, {}).get(metric, (None,))[0] for run in runs} for runs in (a, b)
    ]
    both = [
        sides[1][seed] - sides[0][seed]
        for seed in sides[0].keys() & sides[1].keys()
        if sides[0][seed] is not None and sides[1][seed] is not None
    ]
    if len(both) < 3 or np.ptp(both) < _ALIKE:
        return None
    return OverSeeds(statistics.fmean(both), float(stats.ttest_1samp(both, 0.0).pvalue), len(both))


def table(
    study: study_lib.Study, metrics: Sequence[str] = (), slices: Sequence[str] = (measures.ALL,)
) -> str:
    """The study as Markdown: a row a point, with each metric in each slice; then, for each pair, a row a slice."""
    measured, kind = study.read(), study.measure()
    known = _known_metrics(measured)
    by_default = dict.fromkeys(metric for point in measured for metric in study.measure(point).shown)
    asked = metrics or [metric for metric in by_default if metric in known]
    shown = [(label, metric) for label in slices for metric in asked]
    of_slices = [run["slices"] for found in measured.values() for run in found["runs"]]
    _check_known("slice", slices, of_slices)
    by_slice = [values for run in of_slices for values in run.values()]
    _check_known("metric", metrics, [set(values) - {kind.noun} for values in by_slice])
    names = [metric if label == measures.ALL else f"{metric}, {label}" for label, metric in shown]
    header = ["point", "seeds", "best epoch", *names, "CPU h"]
    rows = []
    for point, found in measured.items():
        runs = found["runs"]
        cells = [_mean_cell(mean_and_interval(runs, label, metric)) for label, metric in shown]
        # Of floors nothing is an epoch.
        epochs = ", ".join(str(run["best_epoch"]) for run in runs if "best_epoch" in run) or "–"
        hours = sum(run.get("cpu_seconds", 0) for run in runs) / 3600
        rows.append([point, str(len(runs)), epochs, *cells, f"{hours:.2f}"])
    lines = _markdown(header, rows)
    rows = []
    compared = [*(metric for metric in kind.main if metric in known)]
    compared += [f"relaimpr/{step}" for step in study.steps]
    comparisons = study.comparisons()
    for a, b in dict.fromkeys([*map(_points_of, comparisons), *study.pairs]):
        if not {a, b} <= set(measured):
            continue
        # Where what they said was never in one place, their means are all there is.
        found = comparisons.get(f"{a}{study_lib.AGAINST}{b}", {"seeds": 0, "slices": {measures.ALL: {}}})
        sides = [measured[point]["runs"] for point in (a, b)]
        before, seeds = sides[0][0]["slices"], _of_seeds(found["seeds"], sides)
        for label in filter(measures.is_main, found["slices"]):
            cells = [
                _pair_cell(found["slices"][label].get(metric), sides, label, metric) for metric in compared
            ]
            rows.append([f"{a}{study_lib.AGAINST}{b}", label, str(before[label][kind.noun]), seeds, *cells])
    if rows:
        lines += ["", *_markdown(["pair", "slice", kind.noun, "seeds", *compared], rows)]
    return "\n".join(lines)


def _of_seeds(compared: int, sides: Sequence[Sequence[dict[str, Any]]]) -> str:
    """How many seeds a comparison is of; and of how many it could be, where that is more: the means beside it are of these."""
    both = len(set.intersection(*({run["seed"] for run in runs} for runs in sides)))
    return str(compared) if compared == both else f"{compared} of {both}"


def _known_metrics(measured: dict[str, Any]) -> set[str]:
    """What has been measured of any point; what came later is not of the earlier ones."""
    runs = (run for found in measured.values() for run in found["runs"])
    return {metric for run in runs for values in run["slices"].values() for metric in values}


def _check_known(noun: str, asked: Sequence[str], measured: Sequence[Iterable[str]]) -> None:
    """Exits if something is asked for that no run has, which would be a column of dashes."""
    known = sorted(set().union(*measured))
    unknown = [name for name in asked if name not in known]
    if measured and unknown:
        raise SystemExit(f"no {noun} {', '.join(unknown)} was measured; there are: {', '.join(known)}")


def _mean_cell(found: tuple[float, float | None] | None) -> str:
    if found is None:
        return "–"
    mean, half = found
    return f"{mean:.4f}" if half is None else f"{mean:.4f} ± {half:.4f}"


def _points_of(pair: str) -> tuple[str, ...]:
    return tuple(pair.split(study_lib.AGAINST))


def _pair_cell(
    found: Sequence[float | None] | None, sides: Sequence[Sequence[dict[str, Any]]], label: str, metric: str
) -> str:
    """What is known of a difference: of users, if what both said was compared, and of seeds, if three or more have both."""
    of_seeds = over_seeds(*sides, label, metric)
    told = f"of {of_seeds.seeds} seeds p {_chance(of_seeds.p)}" if of_seeds else ""
    if found is None:
        return f"{of_seeds.difference:+.4f}, {told}" if of_seeds else "–"
    difference, low, high, p = found
    bounds = "" if low is None or high is None else f" [{low:+.4f}, {high:+.4f}]"
    of_users = "" if p is None else f"p {_chance(p)}"
    return ", ".join(part for part in (f"{difference:+.4f}{bounds}", of_users, told) if part)


def _chance(p: float) -> str:
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


def _markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]


def run(study: study_lib.Study, points: Sequence[str], seeds: int) -> dict[str, Any]:
    """Measures points; returns the figures of all that the study has."""
    for point in _in_order(study, points):
        how = measure if study.floor(point) is None else measure_floor
        for seed in study.seed_numbers(point, seeds):
            if _is_measured(study, point, seed) and not _wanted_again(study, point, points, seed):
                print(f"{study.name} {point}: seed {seed} was measured before")
            else:
                study.keep(point, [how(study, point, seed)])
    for a, b in study.pairs:
        if not ({a, b} <= set(study.read()) and {a, b} & set(points)):
            continue
        found = compare_pair(study, a, b)
        if found is None:
            print(
                f"{study.name}: {a} and {b} are not compared: what they said was kept elsewhere, of no seed of both is it here"
            )
        before = study.comparisons().get(f"{a}{study_lib.AGAINST}{b}", {"seeds": 0})
        # Other seeds may have been measured elsewhere.
        if found and found["seeds"] >= before["seeds"]:
            study.keep_comparison(a, b, found)
    return figures(study)


def _in_order(study: study_lib.Study, points: Sequence[str]) -> list[str]:
    """The points, and before each its pretraining."""
    found: dict[str, None] = {}
    for point in points:
        base = study.pretraining(point)
        found.update(dict.fromkeys([*([base] if base else ()), point]))
    return list(found)


def _is_measured(study: study_lib.Study, point: str, seed: int) -> bool:
    return any(run["seed"] == seed for run in study.read().get(point, {}).get("runs", ()))


def _wanted_again(study: study_lib.Study, point: str, points: Sequence[str], seed: int) -> bool:
    """Whether a pretraining that was measured elsewhere has no model here, although another one is to start from it now."""
    others = (other for other in points if study.pretraining(other) == point)
    return study.run_folder(point, seed) is None and any(
        not _is_measured(study, other, seed) for other in others
    )


def figures(study: study_lib.Study) -> dict[str, Any]:
    """Mean and half width of the interval of the main metrics of each measured point."""
    found: dict[str, Any] = {}
    for point, measured in study.read().items():
        found[point] = {"seeds": [run["seed"] for run in measured["runs"]]}
        for metric in study.measure(point).main:
            if metric not in _known_metrics({point: measured}):
                continue
            values = mean_and_interval(measured["runs"], measures.ALL, metric)
            found[point][metric] = values and [None if v is None else round(v, 4) for v in values]
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", nargs="?", help="name of a file in benchmarks/studies")
    parser.add_argument("--points", help="which, with commas; all by default")
    parser.add_argument("--seeds", type=int, help="trainings of a point; as the study says by default")
    parser.add_argument("--data", default=_DATA, help="folder of the logs (default: %(default)s)")
    parser.add_argument(
        "--table", action="store_true", help="show what has been measured, and measure nothing"
    )
    parser.add_argument("--metrics", help="of the table of points, with commas; the main ones by default")
    parser.add_argument(
        "--slices", default=measures.ALL, help="of the same, with commas (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="a small study, within a minute; keeps nothing")
    given = parser.parse_args(arguments)
    if bool(given.study) == given.quick:
        parser.error("name a study, or --quick")
    study = study_lib.Study(given.study or study_lib.QUICK, given.data)
    points = given.points.split(",") if given.points else study.points
    unknown = [point for point in points if point not in study.points]
    if unknown:
        parser.error(f"{study.name} has no point {', '.join(unknown)}; it has {', '.join(study.points)}")
    if given.quick:
        study.forget()
    if not given.table:
        run(study, points, given.seeds or study.seeds)
    print(table(study, given.metrics.split(",") if given.metrics else (), given.slices.split(",")))
    print(json.dumps(figures(study)))


if __name__ == "__main__":
    main()
    entry.leave(0)
