"""The panels of a training and of a search."""

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.reporting import axes, words
from schemas import kinds, pushed
from trainer import started as started_lib

# Of embeddings of users, on eval: whether they collapse.
_MONITORS = {
    "eval_loss": "Loss on eval (with a teacher: that of the epoch)",
    "head_auc": "How well a linear probe tells head from tail users (AUC)",
    "discriminator_gain": "What the adversary knows of head and tail beyond their shares (log-likelihood)",
    "cosine": "Cosine of what is predicted and the teacher's",
    "effective_rank": "Effective rank of users' embeddings",
    "target_effective_rank": "Effective rank of the teacher's embeddings",
    "spread": "Spread of users' embeddings",
    "target_spread": "Spread of the teacher's embeddings",
}
# Characters of a digest that are shown.
_DIGEST = 8
# What buckets are called; events by themselves are told by the day.
_BUCKETS = {"hour": "hour", "day": "day", "week": "week", "none": "day"}


def search(trials: Sequence[Mapping[str, Any]] | None) -> dict[str, Any] | None:
    """The trials of a search, best first; those that failed at the end, in their order."""
    if not trials:
        return None
    scored = [trial for trial in trials if words.is_number(trial.get("score"))]
    failed = [trial for trial in trials if not words.is_number(trial.get("score"))]
    return {
        "keys": list(dict.fromkeys(key for trial in trials for key in trial["values"])),
        "trials": sorted(scored, key=lambda trial: (not trial["taken"], -trial["score"])) + failed,
        "failed": len(failed),
        "objective": next((trial["objective"] for trial in scored), "").upper(),
        "seconds": sum(trial["seconds"] for trial in scored),
    }


def training(history: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not history:
        return None
    epochs = history.get("epochs") or []
    best = history.get("best_epoch")
    objective = history.get("objective") or kinds.objective("ranking").metric
    measured = f"{objective.upper()} on eval" + (", whole catalogue" if "@" in objective else "")
    plots = []
    for key, title in (("loss", "Training loss"), (objective, measured), *_MONITORS.items()):
        points = [(e["epoch"], e[key]) for e in epochs if words.is_number(e.get(key))]
        if len(points) > 1:
            plots.append(_curve(title, points, best))
    plots += _attention(history.get("attention_by_age"))
    speeds = [e["targets_per_s"] for e in epochs if words.is_number(e.get("targets_per_s"))]
    return {
        "history": history,
        "epochs": sum(1 for e in epochs if e.get("epoch", 0) > 0),
        "best": next((e for e in epochs if e.get("epoch") == best), None),
        "at_start": None if history.get("at_start") is None else (objective.upper(), history["at_start"]),
        "plots": plots,
        "seconds": sum(e["seconds"] for e in epochs if words.is_number(e.get("seconds"))),
        "retrieval": _retrieval(history.get("retrieval")),
        "warm_start": _warm_start(history.get("warm_start")),
        "penalties": _penalties(history.get("penalties")),
        "base_model": _base_model(history.get("base_model")),
        "targets_per_s": sorted(speeds)[len(speeds) // 2] if speeds else None,
    }


def _base_model(started: Mapping[str, Any] | None) -> str | None:
    """As `_warm_start`, of a pretrained model, with what is known of its training."""
    if not started:
        return None
    named = started["from"].rstrip("/")
    folder, version = posixpath.split(named)
    run, serving = posixpath.split(posixpath.dirname(folder))
    if run and serving == pushed.SERVING and version.isdigit():
        named = f"run {run}, version {version}"
    known = [f"digest {started['digest'][:_DIGEST]}"] if started.get("digest") else []
    known += [f"learnt from events up to {started['last_day']}"] if started.get("last_day") else []
    return _warm_start({**started, "from": f"{named} ({', '.join(known)})" if known else named})


def _warm_start(started: Mapping[str, Any] | None) -> str | None:
    """From which model a training started, and how much of it fitted."""
    if not started:
        return None
    return f"{started['from']}: {started_lib.words(started)}"


def _penalties(chosen: Mapping[str, float | None] | None) -> str:
    """Which penalty of a logistic regression was kept for each label."""
    return ", ".join(f"{label} {'–' if one is None else one}" for label, one in (chosen or {}).items())


def _retrieval(known: Mapping[str, Any] | None) -> str | None:
    """How the served model looks for items, where it was asked not to score all of them."""
    if not known:
        return None
    if "probes" not in known:
        return "whole catalogue: no part reached the recall"
    return (
        f"{known['probes']:,} of {known['lists']:,} lists, {known['searched']:.1%} of the catalogue: "
        f"recall@{known['k']} {known['recall']:.4f} on {known['queries']:,} eval histories"
    )


def _attention(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a model of users looks at, by how old it is."""
    points = list(zip(found["ages"], found["attention"])) if found else []
    if found is None or len(points) < 2:
        return []
    unit = _BUCKETS[found["bucket"]]
    title = f"Attention to a {unit}, over that of all {unit}s alike, by its age"
    return [_curve(title, points, None, f"{unit}s before the moment")]


def _curve(
    title: str, points: Sequence[tuple[float, float]], best: float | None, of: str = "epoch"
) -> dict[str, Any]:
    """Geometry of a line chart, 480 by 220; `of` is what its x axis has."""
    left, right, top, bottom = 52.0, 468.0, 14.0, 184.0
    x_ticks = axes.ticks(points[0][0], points[-1][0], 6, whole=True)
    values = [value for _, value in points]
    y_ticks = axes.ticks(min(values), max(values), 5)
    x_low, x_high = points[0][0], max(points[-1][0], points[0][0] + 1)
    y_low, y_high = min(y_ticks[0], min(values)), max(y_ticks[-1], max(values))

    def x(value: float) -> float:
        return round(left + (value - x_low) / (x_high - x_low) * (right - left), 1)

    def y(value: float) -> float:
        return round(bottom - (value - y_low) / ((y_high - y_low) or 1.0) * (bottom - top), 1)

    chosen = next(((epoch, value) for epoch, value in points if epoch == best), None)
    return {
        "title": title,
        "of": of,
        "path": " ".join(f"{x(epoch)},{y(value)}" for epoch, value in points),
        "dots": [(x(epoch), y(value), epoch, value) for epoch, value in points],
        "x_ticks": [(x(tick), f"{tick:g}") for tick in x_ticks if x_low <= tick <= x_high],
        "y_ticks": [(y(tick), f"{tick:g}") for tick in y_ticks],
        "best": None if chosen is None else (x(chosen[0]), y(chosen[1]), chosen[0], chosen[1]),
        "frame": (left, right, top, bottom),
    }
