"""Which event is a target of which split. NumPy on the sorted events of many users at once."""

import dataclasses

import numpy as np

from components.behavior_example_gen import spec
from schemas import names

# Roles of an event: a training event, the target of an eval or test window, or neither,
# when it is only in the history of later targets.
HISTORY_ONLY = -1
TRAIN = 0
EVAL = 1
TEST = 2
ROLE_OF = {names.TRAIN: TRAIN, names.EVAL: EVAL, names.TEST: TEST}

# With fewer events before the last target, leaving two out leaves nothing to learn from: such
# users only train.
_MIN_EVENTS_BEFORE_TEST = 2
_HASH_SPACE = np.uint64(1 << 53)


@dataclasses.dataclass(frozen=True)
class Cuts:
    """The moments (ms) from which targets are for `eval` and for `test`."""

    eval_from: int
    test_from: int


def share_of(hashed: np.ndarray, share: float) -> np.ndarray:
    """Marks a share of all hashes, the same ones each time: `[N] uint64 -> [N] bool`."""
    # Other bits than those that choose the shard of a user, so that both are independent.
    return (hashed >> np.uint64(11)) < np.uint64(share * float(_HASH_SPACE))


def held_out(user_hash: np.ndarray, share: float) -> np.ndarray:
    """Which users train nothing, by the hash of their id: `[U] uint64 -> [U] bool`."""
    return share_of(user_hash, share)


def assign_roles(
    starts: np.ndarray,
    times: np.ndarray,
    user_hash: np.ndarray,
    split: spec.SplitSpec,
    cuts: Cuts | None,
    wanted: np.ndarray | None = None,
) -> np.ndarray:
    """Gives every event its role.

    Args:
      starts: `[U + 1]`; events `starts[u]:starts[u + 1]` are those of user u, in order.
      times: `[N]` in ms.
      user_hash: `[U]` uint64.
      split: the rules; see `SplitSpec`.
      cuts: of the rule `time`, else None.
      wanted: `[N]` bool, the events that may be targets of `eval` and `test`; None is all.

    Returns:
      `[N]` int8. A user's training events come before all other ones.
    """
    counts = np.diff(starts)
    wanted = np.ones(len(times), bool) if wanted is None else wanted
    roles = np.full(len(times), HISTORY_ONLY, np.int8)
    holds_out = "held_out_users" in split.by
    out = (
        np.repeat(held_out(user_hash, split.held_out_share), counts)
        if holds_out
        else np.zeros(len(times), bool)
    )

    if "time" in split.by:
        period = np.where(times < cuts.eval_from, TRAIN, np.where(times < cuts.test_from, EVAL, TEST)).astype(
            np.int8
        )
        targets = "last" if "leave_one_out" in split.by else split.targets
        chosen = (period != TRAIN) & wanted
        if targets != "all":
            new_user = np.zeros(len(times), bool)
            new_user[starts[:-1]] = True
            # Times are in order, so that a user's events of a period are neighbours.
            runs = np.flatnonzero(new_user | (period != np.roll(period, 1)))
            before, after = _wanted_around(wanted, np.append(runs, len(times)))
            chosen &= (before if targets == "first" else after) == 0
        roles[chosen] = period[chosen]
        roles[(period == TRAIN) & ~out] = TRAIN
        return roles

    position = np.arange(len(times)) - np.repeat(starts[:-1], counts)
    _, after = _wanted_around(wanted, starts)
    leaves_out = out if split.by == ("held_out_users",) else np.ones(len(times), bool)
    # A held-out user has nothing to lose by being a target with few events.
    test = wanted & (after == 0) & leaves_out & (out | (position >= _MIN_EVENTS_BEFORE_TEST))
    # Without a history there is no window: then the event is worth more for training.
    evaluated = wanted & (after == 1) & (position >= 1) & leaves_out & _of_users(test, starts)
    left_out = np.concatenate([[0], np.cumsum(test | evaluated)])
    before_left_out = left_out[1:] == np.repeat(left_out[starts[:-1]], counts)
    roles[before_left_out & ~out] = TRAIN
    roles[evaluated] = EVAL
    roles[test] = TEST
    return roles


def _wanted_around(wanted: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many wanted events of the same group come before and after each event: `[N]`, `[N]`."""
    counts = np.diff(starts)
    total = np.concatenate([[0], np.cumsum(wanted)])
    before = total[:-1] - np.repeat(total[starts[:-1]], counts)
    after = np.repeat(total[starts[1:]], counts) - total[1:]
    return before, after


def _of_users(event: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Whether the user of each event has any that is marked: `[N] bool -> [N] bool`."""
    before, after = _wanted_around(event, starts)
    return before + after + event > 0
