"""Windows of kind `next`: a user's last events before a target event, and the target."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Literal

import pydantic

from components.behavior_example_gen import spec
from components.behavior_example_gen.windows import kind
from schemas import errors, names, settings


class NextWindow(kind.WindowSettings):
    """A user's last events before a target event, and the target.

    Attributes:
      kind: `next`: up to `length` events before a target event, and the target.
      length: L, the largest number of history events in a window.
      train: `sliding` makes a training window end every `stride` events, counted back
        from the last one, so that with the default stride (L) each event but a user's
        first is the target of exactly one position; `last` makes one window per user.
      stride: see `train`; None is `length`.
      min_history: a window with fewer history events is dropped (and counted).
      recent_share: the latest training targets that are recent, for the floor of recent popularity: at most so
        large a share of all, and in any case those of the last moment that has any. No model reads it.
    """

    kind: Literal["next"] = "next"
    length: int = pydantic.Field(default=50, ge=1, le=10_000)
    train: Literal["sliding", "last"] = "sliding"
    stride: int | None = pydantic.Field(default=None, ge=1)
    min_history: int = pydantic.Field(default=1, ge=1)
    recent_share: float = pydantic.Field(default=spec.RECENT_SHARE, gt=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "NextWindow":
        if self.stride is not None and self.stride > self.length:
            raise ValueError(
                f"stride must be at most length ({self.length}), else targets are lost; found {self.stride}"
            )
        if self.min_history > self.length:
            raise ValueError(f"min_history must be at most length ({self.length}), found {self.min_history}")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (settings.Reads(("stride",), self.train == "sliding", "train: sliding"),)

    @property
    def history_events(self) -> int:
        """As the settings have it."""
        return self.length

    @property
    def history_events_least(self) -> int:
        """As the settings have it."""
        return self.min_history


class Next(kind.Kind[NextWindow]):
    """See `NextWindow`."""

    settings = NextWindow

    def check(self, window: NextWindow, log: spec.LogSpec, split: spec.SplitSpec) -> None:
        """Checks that the log has what the window needs, and nothing that it has no place for.

        Raises:
          errors.InputError: if they do not suit one another.
        """
        columns = log.columns
        _check_columns(columns)
        if split.target_behaviors and columns.behavior is None:
            raise errors.InputError(
                f"split.target_behaviors ({', '.join(split.target_behaviors)}) needs log.columns.behavior, "
                f"found none"
            )

    def recent_share(self, window: NextWindow) -> float:
        """As the settings have it."""
        return window.recent_share

    def schema(
        self,
        window: NextWindow,
        columns: spec.Columns,
        split: spec.SplitSpec,
        *,
        max_skew: float,
        max_drift: float,
    ) -> Any:
        """See `schemas.load.next_window_schema`."""
        from schemas import load

        return load.next_window_schema(
            bool(columns.behavior),
            bool(columns.scene),
            sorted(columns.item),
            sorted(columns.user),
            max_skew=max_skew,
            max_drift=max_drift,
            target_behaviors_differ=split.target_behaviors is not None,
        )

    def cut(self, events: Any, window: NextWindow, context: kind.Context) -> Iterator[Any]:
        """See `cutting.next.cut`."""
        from components.behavior_example_gen.cutting import next as cutting

        return cutting.cut(events, window, context.popularity)

    def met(self, events: Any, window: NextWindow, cuts: Any, end: int) -> Any:
        """See `cutting.next.met`."""
        from components.behavior_example_gen.cutting import next as cutting

        return cutting.met(events)

    def of_met(self, window: NextWindow) -> tuple[str, str]:
        """Each target."""
        return "split.targets: all: each target", "write split: {targets: last}"

    def check_written(
        self,
        window: NextWindow,
        written: Mapping[Hashable, int],
        split: spec.SplitSpec,
        cuts: Any,
        counts: Any,
    ) -> None:
        """Checks that each split has windows.

        Raises:
          errors.InputError: if one has none, or a target behaviour is not in the log.
        """
        from components.behavior_example_gen.windows import found

        found.check_behaviors("split.target_behaviors", split.target_behaviors or (), counts)
        for name in names.SPLITS:
            if written.get(name):
                continue
            of = ""
            if split.target_behaviors and name != names.TRAIN:
                of = f" of {' or '.join(split.target_behaviors)}"
            raise errors.InputError(
                f"split: no window for {name!r} by {', '.join(split.by)}; the log has "
                f"{found.extent(counts, cuts)}; a window needs a target{of} and at least window.min_history "
                f"events of the same user before it"
            )


_EXPOSURE = "window: {kind: exposure}"
_NOT_NEXT = f"{_EXPOSURE} or {{kind: period}}"


def _check_columns(columns: spec.Columns) -> None:
    """Checks that a log has nothing that windows of histories and targets have no place for.

    Raises:
      errors.InputError: for other attributes than categorical ones of items and users, and for labels.
    """
    for name, attribute in columns.attributes().items():
        if attribute.type != spec.CATEGORICAL:
            other = attribute.type == spec.MULTI or name.startswith(names.USER_PREFIX)
            raise errors.InputError(
                f"log.columns: {name} is {attribute.type}, which goes with {_EXPOSURE if other else _NOT_NEXT}"
            )
    for group, where in (("context", _NOT_NEXT), ("label", _EXPOSURE)):
        if getattr(columns, group):
            raise errors.InputError(
                f"log.columns.{group} goes with {where}; found {', '.join(getattr(columns, group))}"
            )
