"""The graph of a run's components."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline import lineage


def graph(components: Sequence[lineage.Component]) -> dict[str, Any] | None:
    """Places of the components in the drawing: a column is the longest way from the log."""
    by_lookup_first = sorted(components, key=lambda component: not component.resolves)
    made_by = {artifact.id: component.id for component in by_lookup_first for artifact in component.outputs}
    before = {
        component.id: sorted(
            {made_by[a.id] for a in component.inputs if made_by.get(a.id, component.id) != component.id}
        )
        for component in components
    }
    if not any(before.values()):
        return None
    column = _columns(before)
    drawn = _without_shortcuts(before)
    width, height, gap_x, gap_y = 104, 42, 22, 16
    rows: dict[int, int] = {}
    nodes: dict[str, dict[str, Any]] = {}
    for component in components:
        row = rows.get(column[component.id], 0)
        rows[column[component.id]] = row + 1
        nodes[component.id] = {
            "x": column[component.id] * (width + gap_x),
            "row": row,
            "state": component.state,
            "lines": _two_lines(component.id),
            "seconds": component.seconds,
        }
    tallest = max(rows.values())
    for component in components:
        node = nodes[component.id]
        empty = (tallest - rows[column[component.id]]) / 2
        node["y"] = (node["row"] + empty) * (height + gap_y)
    edges = [
        (
            nodes[source]["x"] + width,
            nodes[source]["y"] + height / 2,
            nodes[name]["x"],
            nodes[name]["y"] + height / 2,
        )
        for name, sources in drawn.items()
        for source in sources
    ]
    return {
        "nodes": list(nodes.values()),
        "edges": edges,
        "node_width": width,
        "node_height": height,
        "width": (max(column.values()) + 1) * (width + gap_x) - gap_x,
        "height": tallest * (height + gap_y) - gap_y,
    }


def _columns(before: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The column of each component, by the names of those before it."""
    column: dict[str, int] = {}

    def place(name: str, seen: tuple[str, ...] = ()) -> int:
        if name not in column:
            earlier = [place(other, seen + (name,)) for other in before[name] if other not in seen]
            column[name] = 1 + max(earlier, default=-1)
        return column[name]

    for name in before:
        place(name)
    # A component that feeds only a late one stands next to it, not at the start.
    for name, sources in before.items():
        after = [column[other] for other, others in before.items() if name in others]
        if not sources and after:
            column[name] = min(after) - 1
    return column


def _without_shortcuts(before: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Drops what follows from the rest: C waits for A where C waits for B and B waits for A."""
    reached: dict[str, set] = {}

    def ancestors(name: str) -> set:
        if name not in reached:
            reached[name] = set()
            reached[name] = set(before[name]).union(*(ancestors(other) for other in before[name]))
        return reached[name]

    return {
        name: [s for s in sources if not any(s in ancestors(other) for other in sources if other != s)]
        for name, sources in before.items()
    }


def _two_lines(name: str) -> list[str]:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^A-Z]+", name)
    if len(name) <= 13 or len(words) < 2:
        return [name]
    split = min(range(1, len(words)), key=lambda at: abs(len("".join(words[:at])) - len("".join(words[at:]))))
    return ["".join(words[:split]), "".join(words[split:])]
