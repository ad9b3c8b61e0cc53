"""Which event is a target of which split. NumPy on the sorted events of many users at once."""

import dataclasses
from typing import Optional

import numpy as np

from components.behavior_example_gen import spec

# Roles of an event: a training event, the target of an eval or test window, or neither,
# when it is only in the history of later targets.
HISTORY_ONLY = -1
TRAIN = 0
EVAL = 1
TEST = 2

# With fewer events, leaving two out leaves nothing to learn from: such users only train.
_MIN_EVENTS_TO_LEAVE_OUT = 3
_HASH_SPACE = np.uint64(1 << 53)


@dataclasses.dataclass(frozen=True)
class Cuts:
    """The moments (ms) from which targets are for `eval` and for `test`."""

    eval_from: int
    test_from: int


def held_out(user_hash: np.ndarray, share: float) -> np.ndarray:
    """Which users train nothing, by the hash of their id: `[U] uint64 -> [U] bool`."""
    # Other bits than those that choose the shard, so that both are independent.
    return (user_hash >> np.uint64(11)) < np.uint64(share * float(_HASH_SPACE))


def assign_roles(
    starts: np.ndarray,
    times: np.ndarray,
    user_hash: np.ndarray,
    split: spec.SplitSpec,
    cuts: Optional[Cuts],
) -> np.ndarray:
    """Gives every event its role.

    Args:
      starts: `[U + 1]`; events `starts[u]:starts[u + 1]` are those of user u, in order.
      times: `[N]` in ms.
      user_hash: `[U]` uint64.
      split: the rules; see `SplitSpec`.
      cuts: of the rule `time`, else None.

    Returns:
      `[N]` int8. A user's training events come before all other ones.
    """
    counts = np.diff(starts)
    first, last = np.repeat(starts[:-1], counts), np.repeat(starts[1:] - 1, counts)
    position = np.arange(len(times))
    roles = np.full(len(times), HISTORY_ONLY, np.int8)
    holds_out = "held_out_users" in split.by
    out = np.repeat(held_out(user_hash, split.held_out_share), counts) if holds_out else np.zeros(len(times), bool)

    if "time" in split.by:
        period = np.where(times < cuts.eval_from, TRAIN, np.where(times < cuts.test_from, EVAL, TEST)).astype(np.int8)
        targets = "last" if "leave_one_out" in split.by else split.targets
        if targets == "all":
            chosen = period != TRAIN
        else:
            same_before = (position > first) & (period == np.roll(period, 1))
            same_after = (position < last) & (period == np.roll(period, -1))
            chosen = (period != TRAIN) & ~(same_before if targets == "first" else same_after)
        roles[chosen] = period[chosen]
        roles[(period == TRAIN) & ~out] = TRAIN
        return roles

    enough = np.repeat(counts >= _MIN_EVENTS_TO_LEAVE_OUT, counts)
    leaves_out = out if split.by == ("held_out_users",) else np.ones(len(times), bool)
    roles[~out & ~(leaves_out & enough & (position >= last - 1))] = TRAIN
    # A held-out user has nothing to lose by being a target with few events.
    leaves_out = leaves_out & (enough | out)
    roles[leaves_out & (position == last - 1)] = EVAL
    roles[leaves_out & (position == last)] = TEST
    return roles
