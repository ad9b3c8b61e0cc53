"""A comparison as one HTML page that asks for nothing else."""

import datetime
from typing import Any

from components.evaluator import sentences, spec
from pipeline.comparing import paired, table
from pipeline.comparing.comparison import Comparison
from pipeline.comparing.rows import Row
from pipeline.reporting import axes, render


def page(found: Comparison) -> str:
    """The comparison as one HTML page that asks for nothing else."""
    metric_names = [row.metric for row in found.slices[0].rows]
    overall = next(row for row in found.slices[0].rows if row.metric == found.main)
    return render.render(
        "comparing/page_template.html",
        "",
        {
            "found": found,
            "sides": (table.side_name(found.a), table.side_name(found.b)),
            "overall": found.slices[0],
            "main": overall,
            "status": _status(overall),
            "panels": [_panel(found, index, axes.ticks) for index in range(len(metric_names))],
            "small_print": table.small_print(found.method),
            "written": datetime.datetime.now(datetime.timezone.utc),
        },
    )


def _status(row: Row) -> dict[str, str]:
    """The main metric in one sentence; `kind` colours it."""
    name = row.metric.upper()
    if row.low is None or row.low <= 0 <= row.high or row.p >= 1 - paired.LEVEL:
        return {"kind": "open", "label": "No clear difference", "title": f"{name} of A and B may be equal"}
    better = (row.difference > 0) != spec.lower_is_better(row.metric)
    side, other = ("B", "A") if better else ("A", "B")
    return {
        "kind": "good" if better else "bad",
        "label": f"{side} is better",
        "title": f"{name} of {side} is above {other}'s",
    }


def _panel(found: Comparison, index: int, ticks: Any) -> dict[str, Any]:
    """One metric by slice: geometry of the differences and their intervals, 960 wide."""
    left, right, top, row_height = 250.0, 930.0, 16.0, 32.0
    parts = [(part, part.rows[index]) for part in found.slices]
    bounds = [bound for _, row in parts for bound in (row.difference, row.low, row.high) if bound is not None]
    bounds = bounds or [0.0]
    marked = ticks(min(0.0, *bounds), max(0.0, *bounds), 7)
    scale = (right - left) / (marked[-1] - marked[0])

    def x(value: float) -> float:
        return round(left + (value - marked[0]) * scale, 1)

    rows = [
        {
            "name": sentences.slice_name(part.slice),
            "part": part,
            "row": row,
            "x": None if row.difference is None else x(row.difference),
            "low": None if row.low is None else x(row.low),
            "high": None if row.high is None else x(row.high),
            "y": top + row_height * (number + 0.5),
        }
        for number, (part, row) in enumerate(parts)
    ]
    bottom = top + row_height * len(rows)
    return {
        "metric": parts[0][1].metric,
        "title": parts[0][1].metric.upper(),
        "better": "left" if spec.lower_is_better(parts[0][1].metric) else "right",
        "rows": rows,
        "ticks": [(x(tick), f"{tick:+g}" if tick else "0") for tick in marked],
        "zero": x(0.0),
        "top": top,
        "bottom": bottom,
        "height": bottom + 30,
        "row_height": row_height,
    }
