"""An experiment to start from, for a log that `describe` has seen."""

import re
from typing import Any

import yaml

from components.behavior_example_gen import spans
from pipeline import config, describing, starting_points

# From this share of events on, a suggested experiment recommends what users have had.
MANY_REPEATS = 0.05
_LONGEST_NAME = 63


def experiment(description: dict[str, Any]) -> str:
    """An experiment file to start from, as YAML text, for a log that `describe` has seen."""
    notes = [f"# Note: {sentence}." for sentence in description.get("notices", ())]
    median = description["history"].get("p50", 0)
    spread = description["start"] != description["end"]
    steps = list(description["steps"])
    if steps:
        window: dict[str, Any] = {"kind": "exposure", "steps": steps, "history": 20}
        learnt: dict[str, Any] = {
            "model": {"name": "bpcm", "dim": 16},
            "training": {"epochs": 20, "batch_size": 256, "patience": 3},
        }
    else:
        start = starting_points.next_items(starting_points.Numbers.of(description))
        learnt = dict(start.settings)
        window = learnt.pop("window")
        notes.extend(f"# {reason}" for reason in start.reasons)
        if spread:
            notes.append(
                "# Papers mostly hold out each user's last event: for figures to compare with theirs,"
                " split: {by: [leave_one_out]}."
            )
    suggested = {
        "name": _name(description["path"]),
        "log": description["log"],
        "window": window,
        # Without a spread in time a cut is impossible; exposures have no other split.
        "split": {"by": ["time"]} if spread or steps else {"by": ["leave_one_out"]},
        **learnt,
    }
    if description["repeat_share"] > MANY_REPEATS and not steps:
        suggested["evaluation"] = {"exclude_seen": False}
        notes.append(
            f"# {description['repeat_share']:.0%} of the events are of an item that the user has had before: such items"
            " are recommended again (exclude_seen: false)."
        )
    if steps and description["unused_columns"]:
        notes.append(
            f"# Not used yet: {', '.join(description['unused_columns'])}. What tells something of the exposure, its"
            " item or its user becomes a feature in log.columns.context, .item or .user."
        )
    if median < 5 and not steps:
        notes.append(
            f"# Half of the users have at most {median:.0f} events: expect little from long windows."
        )
    if description["tie_share"] > 0.2:
        notes.append(
            f"# {description['tie_share']:.0%} of the times tie: keep the rows in the order they happened."
        )
    if steps and not spread:
        notes.append("# All times are equal: exposures are split by time, so this log cannot be.")
    head = "".join(f"{describing.comment(note.removeprefix('# '))}\n" for note in notes)
    return head + yaml.dump(suggested, Dumper=config.Dumper, sort_keys=False, allow_unicode=True)


def _name(path: str) -> str:
    """A name for an experiment, from that of a file or folder; of spans, from what their names have in common."""
    parts = path.rstrip("/").split("/")
    if not spans.has_marks(path):
        parts = parts[-1:]
    for part in reversed(parts):
        base = spans.without_marks(part).split(".")[0].lower()
        name = re.sub(r"[^a-z0-9]+", "-", base).strip("-")[:_LONGEST_NAME].strip("-")
        if name:
            return name
    return "my-log"
