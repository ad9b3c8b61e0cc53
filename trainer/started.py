"""What is said of a model that a training started from: how much of it fitted. Free of TensorFlow."""

from collections.abc import Mapping
from typing import Any

# From this share of the events on it is a warning that a pretraining has not met their items.
_MANY = 0.1


def words(started: Mapping[str, Any]) -> str:
    """How many weights were carried over, how many values are known, and what becomes of the others, in a line.

    Args:
      started: of `warm_start.start` or `pretrained.start`.
    """
    found = [f"{started['weights']} of {started['of']} weights"]
    for name, of in started["rows"].items():
        share = of.get("new_events")
        events = "" if share is None or not of["new"] else f" ({share:.1%} of events)"
        found.append(f"{name}: {of['kept']:,} known, {of['new']:,} new{events}")
    if "frozen" in started and any(of["new"] for of in started["rows"].values()):
        found.append(f"new ones {_rule(started)}")
    return "; ".join(found)


def warning(started: Mapping[str, Any]) -> str | None:
    """What to look at, if many events are of items that a pretraining has not met.

    Args:
      started: of `pretrained.start`.
    """
    told = [
        f"{of['new_events']:.1%} of the events that are trained on have values of {name} that it has not met"
        for name, of in started["rows"].items()
        if (of.get("new_events") or 0) >= _MANY
    ]
    if not told:
        return None
    return f"model.base_model: {started['from']}: {'; '.join(told)}, which {_rule(started)}: a newer pretraining may know them"


def _rule(started: Mapping[str, Any]) -> str:
    if started["frozen"]:
        return "are as unknown ones (frozen: true)"
    return "have rows of their own, which this training alone trains"
