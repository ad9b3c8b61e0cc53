"""Windows of kind `period`: at a moment, what a user had done before, and all that followed in a period."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import pydantic

from components.behavior_example_gen import spec
from components.behavior_example_gen.windows import kind, predicates
from schemas import errors, figures, names, settings


class PeriodWindow(kind.WindowSettings):
    """At a moment T, a user's events in [T - past, T), and all those in [T, T + future); the first one is the target.

    Moments are on a grid, the same for all users. Split by time, `eval` and `test` begin at their cuts and go on
    by `stride`, training ends at the cut of `eval` and goes back; a moment belongs to a split only if its whole
    future does. Split by users alone, moments go back from the end of the log. Or the moments are named, by `at`.

    Attributes:
      kind: `period`: the events before a moment, and all that follow in a period.
      past: how far a history reaches back, as `7d`.
      future: how long the period is, as `1d`.
      stride: from one moment to the next; None is `future`, so that each event is in one future at most. At each moment of
        `eval` and `test` a user has the items that it has met: the run stops where these are more than 1,000 for each event
        of the log (and 100 million).
      overlap: allow a `stride` shorter than `future`: an event is then in the future of several moments.
      moments: how many moments a split has at most: the last ones of training (of all splits by users
        alone), the first ones of `eval` and `test`; None is all.
      at: the moments themselves (ISO 8601; UTC where they name no zone), in place of a grid: by time, a split has
        those whose whole future lies between its cuts, by users alone each has all of them.
      length: L, the largest number of history events in a window: the last ones.
      max_future: the largest number of future events in a window: the first ones. What is left out is counted.
      min_history, min_future: a window with fewer events on that side is dropped (and counted). With `min_future: 0`,
        which goes with labels, users of whom nothing follows have windows, too.
      labels: what has to follow for each label to be 1; see `predicates.LabelSpec`.
      recent_share: see `next`.
    """

    has_period: ClassVar[bool] = True
    has_moments: ClassVar[bool] = True
    kind: Literal["period"]
    past: spec.Duration
    future: spec.Duration
    stride: spec.Duration | None = None
    overlap: bool = False
    moments: int | None = pydantic.Field(default=None, ge=1)
    at: tuple[spec.Moment, ...] | None = None
    length: int = pydantic.Field(default=50, ge=1, le=10_000)
    max_future: int = pydantic.Field(default=100, ge=1, le=10_000)
    min_history: int = pydantic.Field(default=1, ge=1)
    min_future: int = pydantic.Field(default=1, ge=0)
    labels: dict[Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")], predicates.LabelSpec] = {}
    recent_share: float = pydantic.Field(default=spec.RECENT_SHARE, gt=0, lt=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "PeriodWindow":
        if self.stride is not None and self.stride < self.future and not self.overlap:
            raise ValueError(
                f"stride must be at least future ({self.future:g} s), else an event is in several futures; found "
                f"{self.stride:g} s. overlap: true allows it"
            )
        self._check_named()
        if self.min_history > self.length:
            raise ValueError(f"min_history must be at most length ({self.length}), found {self.min_history}")
        if self.min_future > self.max_future:
            raise ValueError(
                f"min_future must be at most max_future ({self.max_future}), found {self.min_future}"
            )
        if not self.min_future and not self.labels:
            raise ValueError(
                "min_future: 0 goes with labels, found none: without them, nothing could be learnt of such a window"
            )
        spans = {name: getattr(self, name) for name in ("past", "future", "stride")}
        spans |= {f"labels.{name}.within": label.within for name, label in self.labels.items()}
        for name, seconds in spans.items():
            if seconds is not None and seconds < _LEAST_SECONDS:
                raise ValueError(f"{name} must be at least {_LEAST_SECONDS:g} s, found {seconds:g} s")
        return self

    def _check_named(self) -> None:
        if self.at is None:
            return
        for name in ("stride", "moments"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name} goes with a grid of moments, and these are named by at: leave one out"
                )
        named = sorted(self.at)
        if not named:
            raise ValueError("at names at least one moment, found none")
        for one, two in zip(named, named[1:]):
            seconds = (two - one).total_seconds()
            if seconds == 0 or seconds < self.future and not self.overlap:
                raise ValueError(
                    f"at: from {one.isoformat()} to {two.isoformat()} it must be at least future ({self.future:g} s), "
                    f"else an event is in several futures; found {seconds:g} s. overlap: true allows it of moments that "
                    "differ"
                )

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            settings.Reads(
                ("overlap",),
                self.stride is not None or self.at is not None,
                "stride or at: moments are `future` apart",
            ),
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, in the order of the file."""
        return tuple(self.labels)

    @property
    def has_targets(self) -> bool:
        """Unless windows may have no future."""
        return self.min_future > 0

    @property
    def chain(self) -> bool:
        """Whether labels are steps of a chain, as those of exposures may be: each is asked by itself."""
        return False

    @property
    def keep_negatives(self) -> float:
        """The share of the training examples without any label that was kept: all are."""
        return 1.0

    @property
    def history_events(self) -> int:
        """As the settings have it."""
        return self.length

    @property
    def history_events_least(self) -> int:
        """As the settings have it."""
        return self.min_history

    @property
    def history_seconds(self) -> float:
        """As the settings have it."""
        return self.past


# Training moments with a past that begins before the log are worth a word where they are more than this.
_FEW_SHORT = 0.05
# Times are in milliseconds.
_LEAST_SECONDS = 0.001
_MS = 1000


class Period(kind.Kind[PeriodWindow]):
    """See `PeriodWindow`."""

    settings = PeriodWindow
    only_by_time = True

    def check(self, window: PeriodWindow, log: spec.LogSpec, split: spec.SplitSpec) -> None:
        """Checks that the log has what labels look at and nothing that a window has no place for, and how it is split.

        Raises:
          errors.InputError: if they do not suit one another.
        """
        _check_columns(log.columns)
        predicates.check(window.labels, log.columns)
        if window.labels:
            kind.refuse_filter(
                log.filter,
                "what it leaves out would be missing from window.labels, so that who buys rare items alone would have bought "
                "nothing; and whom it leaves out depends on what they do later",
                "features.options.item_id.min_count and window.min_history",
            )
        if "leave_one_out" in split.by:
            raise errors.InputError(
                f"window: {{kind: period}} is split by time, by held_out_users, or by both; found by: "
                f"{list(split.by)}"
            )
        if split.targets != "all" or split.target_behaviors:
            raise errors.InputError(
                f"split.targets and split.target_behaviors go with other kinds of windows than period, whose targets "
                f"are all events that follow a moment; found targets: {split.targets}, target_behaviors: "
                f"{list(split.target_behaviors or ())}"
            )

    def recent_share(self, window: PeriodWindow) -> float:
        """As the settings have it."""
        return window.recent_share

    def schema(
        self,
        window: PeriodWindow,
        columns: spec.Columns,
        split: spec.SplitSpec,
        *,
        max_skew: float,
        max_drift: float,
    ) -> Any:
        """See `schemas.load.period_window_schema`."""
        from schemas import load

        return load.period_window_schema(
            bool(columns.behavior),
            bool(columns.scene),
            {name: attribute.type for name, attribute in columns.attributes().items()},
            window.label_names,
            max_skew=max_skew,
            max_drift=max_drift,
        )

    def cut(self, events: Any, window: PeriodWindow, context: kind.Context) -> Iterator[Any]:
        """See `cutting.period.cut`."""
        from components.behavior_example_gen.cutting import period as cutting

        return cutting.cut(events, window, context)

    def met(self, events: Any, window: PeriodWindow, cuts: Any, end: int) -> Any:
        """See `cutting.period.met`."""
        from components.behavior_example_gen.cutting import period as cutting

        return cutting.met(events, window, cuts, end)

    def of_met(self, window: PeriodWindow) -> tuple[str, str]:
        """Each window, of which a user has one for each moment."""
        if window.at is not None:
            return "window.at: each window", "name fewer moments"
        return "window.stride: each window", "write a longer stride, or fewer window.moments"

    def candidates(self, events: Any, window: PeriodWindow, context: kind.Context, within: float) -> Any:
        """See `cutting.candidates.of_shard`."""
        from components.behavior_example_gen.cutting import candidates

        return candidates.of_shard(events, window, context, within)

    def check_written(
        self,
        window: PeriodWindow,
        written: Mapping[Hashable, int],
        split: spec.SplitSpec,
        cuts: Any,
        counts: Any,
    ) -> None:
        """Checks that the log has the values that labels name, each split has windows, and train and test know all labels.

        Raises:
          errors.InputError: if a value is in no event, a split has no window, or a label is unknown in all windows of
            train or of test.
        """
        from components.behavior_example_gen.cutting import tallies
        from components.behavior_example_gen.windows import found

        self._check_moments(window, cuts, counts)
        for name, label in window.labels.items():
            for feature, wanted in label.match.items():
                key = f"window.labels.{name}.{label.match_key}.{feature}"
                found.check_values(key, wanted, tallies.tell_values(feature, written))
        for name in names.SPLITS:
            if not written.get(name):
                raise errors.InputError(
                    f"split: no window for {name!r} by {', '.join(split.by)}; the log has "
                    f"{found.extent(counts, cuts)}; a moment's whole future ({figures.duration(window.future)}) lies "
                    f"between the cuts of its split, and a user has at least {window.min_history} event(s) in the "
                    f"{figures.duration(window.past)} before it and {window.min_future} in its future"
                )
        self._check_known(window, written, cuts, counts)

    def _check_known(
        self, window: PeriodWindow, written: Mapping[Hashable, int], cuts: Any, counts: Any
    ) -> None:
        """Refuses a label that is unknown in all windows of train or of test; see `tallies.never_known`."""
        from components.behavior_example_gen import profile
        from components.behavior_example_gen.cutting import exposure, tallies

        starts = {names.TRAIN: counts.start, names.TEST: cuts.test_from if cuts else counts.start}
        for name, split in tallies.never_known(tuple(window.labels), written):
            within, start = window.labels[name].within or window.future, starts[split]
            until = exposure.knowledge(cuts, counts.until)[split] if cuts else counts.until + 1
            raise errors.InputError(
                f"window.labels.{name}: unknown in all {written[split]:,} windows of {split}: `within` "
                f"({figures.duration(within)}) ends after what {split} may know; it has "
                f"{figures.duration((until - start) / _MS)}, {profile.moment(start)} to {profile.moment(until)}"
            )

    def _check_moments(self, window: PeriodWindow, cuts: Any, counts: Any) -> None:
        """Refuses a named moment that no split has."""
        from components.behavior_example_gen.cutting import grids
        from components.behavior_example_gen.windows import found

        if window.at is None:
            return
        named = grids.named_moments(window, cuts, counts.until)
        used = {moment for moments in named.values() for moment in moments.tolist()}
        for moment in window.at:
            if round(moment.timestamp() * _MS) not in used:
                raise errors.InputError(
                    f"window.at: the future of {moment.isoformat()} ({figures.duration(window.future)}) lies inside of no "
                    f"split; the log has {found.extent(counts, cuts)}"
                )

    def summary(self, window: PeriodWindow, written: Mapping[Hashable, int]) -> dict[str, Any]:
        """How many windows had more future events than `max_future`; of labels, see `tallies.tell`."""
        from components.behavior_example_gen.cutting import period as cutting
        from components.behavior_example_gen.cutting import tallies

        told: dict[str, Any] = {"periods": {cutting.FUTURE_CUT: written.get(cutting.FUTURE_CUT, 0)}}
        if window.labels:
            lacking = tallies.tell_lacking(window.label_names, written)
            told["labels"] = {**tallies.tell(window.label_names, written), "lacking": lacking}
        return told

    def tell(
        self,
        window: PeriodWindow,
        summary: Mapping[str, Any],
        written: Mapping[Hashable, int],
        cuts: Any,
        counts: Any,
    ) -> None:
        """Says how many windows have each label, and warns of futures and histories that were cut off."""
        cut_off = sum(summary["periods"].values())
        if cut_off:
            kind.PROGRESS.warning(
                "%s windows have more than window.max_future (%s) future events: the later ones are left out",
                f"{cut_off:,}",
                window.max_future,
            )
        _tell_short(window, cuts, counts)
        if window.labels:
            _tell_labels(summary["labels"])


def _tell_short(window: PeriodWindow, cuts: Any, counts: Any) -> None:
    """Warns of moments whose past begins before the log does: labels of training ones, and whatever is measured there."""
    from components.behavior_example_gen import profile
    from components.behavior_example_gen.cutting import grids

    past = figures.duration(window.past)
    for split, (short, total) in grids.short_moments(window, cuts, counts.start, counts.until).items():
        if not short or split == names.TRAIN and (not window.labels or short <= _FEW_SHORT * total):
            continue
        full = total - short
        advice = "window.at names no such moment" if window.at is not None else f"window.moments: {full}"
        kind.PROGRESS.warning(
            "%s: at %s of %s moments the log is younger than window.past (%s): it begins at %s. Histories there are shorter "
            "than those that are asked about later, and of whom was active before nothing is known, so that rates of labels "
            "may be others; a shorter window.past%s leaves none of them",
            split,
            f"{short:,}",
            f"{total:,}",
            past,
            profile.moment(counts.start),
            f", or {advice}" if full and split == names.TRAIN else "",
        )


def _check_columns(columns: spec.Columns) -> None:
    """Checks that windows have a place for all attributes.

    Raises:
      errors.InputError: for those of several values, numbers of users, and columns of labels.
    """
    for name, attribute in columns.attributes().items():
        if (
            attribute.type == spec.MULTI
            or attribute.type == spec.NUMERIC
            and name.startswith(names.USER_PREFIX)
        ):
            raise errors.InputError(
                f"log.columns: {name} is {attribute.type}, which goes with window: {{kind: exposure}}"
            )
    if columns.label:
        raise errors.InputError(
            "log.columns.label goes with window: {kind: exposure}; window.labels says what has to follow a moment; found "
            f"{', '.join(columns.label)}"
        )


def _tell_labels(found: Mapping[str, Any]) -> None:
    rates = found["positive_rate"][names.TRAIN]
    shown = ", ".join(f"{label} {_share(rate)}" for label, rate in rates.items())
    kind.PROGRESS.info("labels in train: %s", shown)
    for label, rate in rates.items():
        if rate in (0, 1):
            kind.PROGRESS.warning(
                "label %s is %g in all windows of train: nothing can be learnt of it", label, rate
            )
    for split in names.SPLITS:
        unknown, lacking = (
            ", ".join(f"{label} of {number:,}" for label, number in found[what][split].items() if number)
            for what in ("unknown", "lacking")
        )
        if unknown:
            kind.PROGRESS.warning(
                "%s: unknown labels: %s windows: `within` ends after what this split may know", split, unknown
            )
        if lacking:
            kind.PROGRESS.warning(
                "%s: sums in which some event lacks a number, and adds nothing: %s windows; `where` says which events are "
                "added up",
                split,
                lacking,
            )


def _share(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate:.2%}"
