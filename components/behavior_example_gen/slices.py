"""The features that metrics are sliced by: heads and tails, lengths of histories, new users."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import batches, shards
from schemas import names

_LENGTH_GROUPS = ((0, "0"), (1, "1-4"), (5, "5-9"), (10, "10-19"), (20, "20-49"), (50, "50+"))


@dataclasses.dataclass(frozen=True)
class Popularity:
    """What windows and their slices need to know of the whole log, counted on training events only.

    Attributes:
      head_items, known_items: binary arrays of item ids.
      user_threshold: a user with at least so many events is in the head.
      user_thirds: a user with at most so many events is in the first of USER_GROUPS, or in the second.
      recent_from: the moment (ms) from which training targets are recent; None where there are none.
    """

    head_items: pa.Array
    known_items: pa.Array
    user_threshold: int
    user_thirds: tuple[int, int]
    recent_from: int | None = None


def head_threshold(counts: np.ndarray, of: np.ndarray) -> int:
    """The least count whose bearers are at most HEAD_SHARE of all.

    Args:
      counts: distinct counts.
      of: how many users (or items) have each of them.
    """
    order = np.argsort(counts)[::-1]
    share = np.cumsum(of[order]) / max(1, of.sum())
    fits = np.flatnonzero(share <= names.HEAD_SHARE)
    return int(counts[order[fits[-1]]]) if len(fits) else int(counts.max(initial=0)) + 1


def thirds(counts: np.ndarray, of: np.ndarray) -> tuple[int, int]:
    """The least counts that a third, and two thirds, of all do not exceed: equal counts stay together.

    Args:
      counts: distinct counts.
      of: how many users have each of them.
    """
    order = np.argsort(counts)
    reached = 3 * np.cumsum(of[order])
    if not len(reached):
        return 0, 0
    one, two = (counts[order[np.searchsorted(reached, part * of.sum())]] for part in (1, 2))
    return int(one), int(two)


class Slices:
    """The slices of a shard's targets.

    Those by frequency count training events, and say of a target's user and item nothing that
    a model may read.
    """

    def __init__(self, events: shards.Events, popularity: Popularity):
        self._user_of, self._trained = events.user_of(), events.training_counts()
        self._user_threshold, self._user_thirds = popularity.user_threshold, popularity.user_thirds
        items = events.column(names.ITEM_ID)
        self._frequency = np.where(
            pc.is_in(items, value_set=popularity.head_items).to_numpy(zero_copy_only=False),
            names.HEAD,
            np.where(
                pc.is_in(items, value_set=popularity.known_items).to_numpy(zero_copy_only=False),
                names.TAIL,
                names.NEW,
            ),
        )

    def columns(
        self, targets: np.ndarray, history: np.ndarray, before: np.ndarray | None = None
    ) -> dict[str, pa.Array]:
        """The features `names.SLICES`.

        Args:
          targets: `[B]`, which events.
          history: `[B]`, how many events the history has before it is cut to its length.
          before: `[B]`, how many events the user had in all, of histories that reach less far back; USER_GROUP counts
            these of a user that does not train.
        """
        trained = self._trained[self._user_of[targets]]
        size = np.where(trained > 0, trained, history)
        total = size if before is None else np.where(trained > 0, trained, before)
        bounds = [low for low, _ in _LENGTH_GROUPS]
        groups = np.asarray([name for _, name in _LENGTH_GROUPS])
        return {
            names.USER_FREQUENCY: batches.texts(
                np.where(size >= self._user_threshold, names.HEAD, names.TAIL)
            ),
            names.ITEM_FREQUENCY: batches.texts(self._frequency[targets]),
            names.HISTORY_LENGTH: batches.texts(groups[np.searchsorted(bounds, history, side="right") - 1]),
            names.USER_STATUS: batches.texts(np.where(trained > 0, names.EXISTING, names.NEW)),
            names.USER_GROUP: batches.texts(
                np.asarray(names.USER_GROUPS)[np.searchsorted(self._user_thirds, total, side="left")]
            ),
        }
