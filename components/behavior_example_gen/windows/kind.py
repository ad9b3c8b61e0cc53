"""What a window kind is to BehaviorExampleGen: its settings, its checks, its schema, and how it cuts."""

import abc
import dataclasses
import logging
from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import pydantic

from components.behavior_example_gen import spec
from schemas import errors, settings

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from tensorflow_metadata.proto.v0 import schema_pb2

    from components.behavior_example_gen import profile, shards, slices, splits

PROGRESS = logging.getLogger("footfall.progress")


def refuse_filter(left_out: spec.FilterSpec | None, why: str, instead: str) -> None:
    """Refuses `log.filter` where what it leaves out is asked about.

    Raises:
      errors.InputError: if it leaves something out, with why that matters and what to use instead.
    """
    if left_out is not None and (left_out.min_item_events > 1 or left_out.min_user_events > 1):
        raise errors.InputError(
            f"log.filter: {why}. Found min_item_events: {left_out.min_item_events}, min_user_events: "
            f"{left_out.min_user_events}: use {instead} instead"
        )


class WindowSettings(settings.Settings):
    """What the settings of all kinds have.

    Attributes:
      kind: of the windows.
      shards: how many groups the users are hashed to. Memory is bounded by a shard.
      has_period: whether examples have all that follows in a period, and not only what comes next.
      has_moments: whether each example is cut at a moment, and many users share one; `Kind.candidates` is then there.
    """

    has_period: ClassVar[bool] = False
    has_moments: ClassVar[bool] = False
    kind: str
    shards: int = pydantic.Field(default=16, ge=1, le=100_000)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that examples carry, of a chain in its order: their features without `label_`."""
        return ()

    @property
    def has_targets(self) -> bool:
        """Whether something comes next in every example."""
        return True

    @property
    def history_events(self) -> int | None:
        """How many events a history has at most, the last ones; None: all."""
        return None

    @property
    def history_events_least(self) -> int:
        """How many events a history has at least."""
        return 0

    @property
    def history_seconds(self) -> float | None:
        """How far a history reaches back from the moment behind it; None: to the user's first event."""
        return None


@dataclasses.dataclass(frozen=True)
class Context:
    """What cutting a shard has to know of the whole log.

    Attributes:
      popularity: of users and items.
      cuts: in time; None where the split has none.
      end: the last moment that the log tells of (ms), see `time_span.TimeHistogram.end`.
    """

    popularity: "slices.Popularity"
    cuts: "splits.Cuts | None"
    end: int


_W = TypeVar("_W", bound=WindowSettings)


class Kind(abc.ABC, Generic[_W]):
    """A window kind. It has no state: settings come with every call.

    Attributes:
      settings: the class of its settings, whose field `kind` has its name as the only value.
      only_by_time: whether its examples can be split by time alone.
    """

    settings: ClassVar[type[WindowSettings]]
    only_by_time: ClassVar[bool] = False

    @abc.abstractmethod
    def check(self, window: _W, log: spec.LogSpec, split: spec.SplitSpec) -> None:
        """Checks that log, window and split suit one another.

        Raises:
          errors.InputError: if they do not.
        """

    def split(self, window: _W, split: spec.SplitSpec) -> spec.SplitSpec:
        """The split, with the behaviours whose events are targets where the window says so."""
        return split

    def recent_share(self, window: _W) -> float:
        """The share of the training targets that are recent; read only where that is a floor."""
        return spec.RECENT_SHARE

    @abc.abstractmethod
    def schema(
        self, window: _W, columns: spec.Columns, split: spec.SplitSpec, *, max_skew: float, max_drift: float
    ) -> "schema_pb2.Schema":
        """The schema of the examples, with the bounds of their comparators; see `schemas.load`."""

    @abc.abstractmethod
    def cut(
        self, events: "shards.Events", window: _W, context: Context
    ) -> "Iterator[tuple[str, pa.RecordBatch | None, Mapping[Hashable, int]]]":
        """Cuts the windows of all splits.

        Yields:
          The split, a record batch of lists (a scalar is a list of one) with the features of `schemas.names`
          or None, and what is to be counted (`dropped`: events that could have been targets).
        """

    def met(
        self, events: "shards.Events", window: _W, cuts: "splits.Cuts | None", end: int
    ) -> "np.ndarray | None":
        """How many items the windows of `eval` and `test` of each user say it has met, `[U]`; None where they say nothing.

        Args:
          cuts, end: see `Context`.
        """
        return None

    def of_met(self, window: _W) -> tuple[str, str]:
        """What lists the items that its user has met, behind the key that decides on it, and what to do about it."""
        raise NotImplementedError

    def candidates(
        self, events: "shards.Events", window: _W, context: Context, within: float
    ) -> "pa.Table | None":
        """What could be seen shortly before the moments of `eval` and `test`; None of windows without moments.

        Args:
          events: of all users of a shard.
          within: how long before a moment, in seconds.

        Returns:
          Each distinct pair once, columns `moment` (int64, ms) and `item_id` (binary): an event of anybody of the shard
          with the item lies in [moment - within, moment).
        """
        return None

    @abc.abstractmethod
    def check_written(
        self,
        window: _W,
        written: Mapping[Hashable, int],
        split: spec.SplitSpec,
        cuts: "splits.Cuts | None",
        counts: "profile.Counts",
    ) -> None:
        """Checks that each split has windows.

        Args:
          written: how many by split, and what else `cut` counted.

        Raises:
          errors.InputError: if one has none, or a value is asked for that the log does not have.
        """

    def summary(self, window: _W, written: Mapping[Hashable, int]) -> dict[str, Any]:
        """What `cut` counted, as plain values for the profile."""
        return {}

    def tell(
        self,
        window: _W,
        summary: Mapping[str, Any],
        written: Mapping[Hashable, int],
        cuts: "splits.Cuts | None",
        counts: "profile.Counts",
    ) -> None:
        """Says what is remarkable about the windows, in the run's progress."""
