"""What the Evaluator found: panels of metrics by slice."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from components.evaluator import spec as evaluator_spec
from pipeline import lineage
from pipeline.reporting import axes, objectives, words
from schemas import kinds


def evaluation(artifacts: Mapping[str, lineage.Artifact], kind: kinds.WindowKind) -> dict[str, Any] | None:
    """What the Evaluator found; None where it was not reached.

    Args:
      artifacts: of the run, by type.
      kind: of its windows.
    """
    if "ModelEvaluation" not in artifacts:
        return None
    # TFMA takes seconds to import; a run that failed before has no need of it.
    from components.evaluator import sentences, verdict

    blessing = artifacts.get("ModelBlessing")
    try:
        found = verdict.read(artifacts["ModelEvaluation"].uri, blessing.uri if blessing else None)
    except FileNotFoundError:
        return None
    objective = objectives.get(found.objective)
    metrics = objective.metrics(found) if found.overall else []
    main = kinds.objective(found.objective).metric
    return {
        "verdict": found,
        "main": main if main in metrics else next(iter(metrics), None),
        "noun": kind.noun,
        "floors": [(name, _floor_title(name)) for name in (found.overall.floors if found.overall else ())],
        "panels": [_panel(name, found, sentences.slice_name) for name in metrics],
        "note": objective.note(found),
        "sampled": any(name.startswith(evaluator_spec.SAMPLED_PREFIX) for name in metrics),
        "steps": objective.steps(found) if found.overall else [],
    }


def _floor_title(name: str) -> str:
    title = evaluator_spec.FLOOR_TITLES[name]
    return title[0].upper() + title[1:]


def _panel(name: str, found: Any, slice_name: Any) -> dict[str, Any]:
    """One metric by slice: a table, and the geometry of a dot-and-interval plot, 960 wide."""
    left, right, top, row_height = 250.0, 930.0, 16.0, 40.0
    series = [("candidate", "This model")]
    floor = found.overall.best_floor(name)
    if floor is not None:
        # The others are in the table.
        series.append(("popularity", _floor_title(floor)))
    if found.has_baseline:
        series.append(("baseline", "Live"))

    def of_part(result: Any, part: str) -> Any:
        return (result.floors[floor] if part == "popularity" else getattr(result, part))[name]

    rows = []
    for index, result in enumerate(found.slices):
        if name not in result.candidate:
            continue
        rows.append(
            {"name": slice_name(result.slice), "result": result, "y": top + row_height * (index + 0.5)}
        )
    bounds = [
        bound
        for row in rows
        for part, _ in series
        for estimate in [of_part(row["result"], part)]
        for bound in (estimate.low, estimate.value, estimate.high)
        if words.is_number(bound)
    ]
    # Chance is where an area under the ROC curve starts.
    start = min([0.5, *bounds]) if name.split("/")[0] == evaluator_spec.AUC else 0.0
    marked = axes.ticks(start, max(bounds, default=0.0) or 1.0, 6)
    scale = (right - left) / (marked[-1] - marked[0])

    def x(value: float | None) -> float | None:
        return round(left + (value - marked[0]) * scale, 1) if words.is_number(value) else None

    for row in rows:
        estimates = [(part, title, of_part(row["result"], part)) for part, title in series]
        row["marks"] = _marks(estimates, x, row["y"])
    return {
        "metric": name,
        "title": name.upper(),
        "series": series,
        "rows": rows,
        "ticks": [(x(tick), f"{tick:g}") for tick in marked],
        "bottom": top + row_height * len(found.slices),
        "height": top + row_height * len(found.slices) + 30,
        "top": top,
        "row_height": row_height,
    }


def _marks(
    estimates: Sequence[tuple[str, str, Any]], x: Callable[[float | None], float | None], y: float
) -> list[dict[str, Any]]:
    """A dot with its interval for each estimate (part, title, estimate) that is a number, around a height."""
    return [
        {
            "kind": part,
            "title": title,
            "estimate": estimate,
            "x": x(estimate.value),
            "low": x(estimate.low),
            "high": x(estimate.high),
            "y": round(y + (offset - (len(estimates) - 1) / 2) * 10, 1),
        }
        for offset, (part, title, estimate) in enumerate(estimates)
        if words.is_number(estimate.value)
    ]
