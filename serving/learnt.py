"""What a model tells, beside its SavedModel, that it has learnt from: none is measured fairly on what it knows."""

from collections.abc import Mapping
from typing import Any

# The last day, in UTC, and how the log was split.
LAST_DAY, SPLIT = "last_day", "split"
BY, HELD_OUT_SHARE = "by", "held_out_share"


def tested_before(told: Mapping[str, Any], split: Mapping[str, Any]) -> tuple[str, str] | None:
    """What of a test, not by time, a model has learnt from.

    Args:
      told: what the model tells of itself; what it does not tell is not known.
      split: of the log that has the test, with `BY` and `HELD_OUT_SHARE`.

    Returns:
      What is tested, and the settings that would have left it out; None if nothing is known.
    """
    before = told.get(SPLIT)
    if before is None:
        return None
    # Who is held out by a share is held out by a larger one.
    share = held_out(before)
    if "leave_one_out" in split[BY] and "leave_one_out" not in before[BY]:
        return "the last event of each user", "leave_one_out in split.by"
    if held_out(split) > share:
        return (
            f"{split[HELD_OUT_SHARE]:.0%} of the users, who are held out",
            f"held_out_users in split.by, and a held_out_share of at least {split[HELD_OUT_SHARE]:g}",
        )
    return None


def held_out(split: Mapping[str, Any]) -> float:
    """The share of the users that no training of a split learns from."""
    return split[HELD_OUT_SHARE] if "held_out_users" in split[BY] else 0.0
