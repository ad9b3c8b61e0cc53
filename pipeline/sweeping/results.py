"""What came of a sweep: `sweep.json`, and a table for a terminal."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import progress
from pipeline.sweeping.points import Point, compared_by, ranked
from schemas import figures

FILE = "sweep.json"
_SHOWN = ("ndcg@10", "hr@10", "mrr", "auc", "log_loss")


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
    """The metric of all points that trained."""
    return compared_by(points, points[0].objective)


def _mean(found: Mapping[str, float | None] | None) -> str:
    return figures.NOTHING if found is None else figures.mean(found["mean"], found["sd"])
