"""Windows of kind `exposure`: an exposure, what came of it, and what the user had done before."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Annotated, Any, Literal

import pydantic

from components.behavior_example_gen import spec
from components.behavior_example_gen.windows import kind
from schemas import errors, figures, names, settings

# More of a split's exposures than this being censored deserves a word.
_MUCH_CENSORED = 0.5
# And so do more steps than this, of those that happened, that do not count for where they stand in the log.
_MUCH_BEFORE = 0.01


class ExposureWindow(kind.WindowSettings):
    """An exposure, what came of it step by step, and what the user had done before.

    Either each row of the log is an exposure with a label column for each step (`log.columns.label`),
    or exposures are the events of one behaviour, and a step has happened if the same user did it with
    the same item after the exposure, within the horizon.

    Attributes:
      steps: the labels, of a chain in its order, as `[cart, buy]`: of `log.columns.label`, or behaviours.
      chain: whether a later step does not happen without the earlier ones. False for labels that are no steps
        of one way, as like and share: models and settings that are built on an order are refused, and no
        violation of one is measured.
      exposure: the behaviour whose events are exposures; None: each row is one.
      horizon: how long after the exposure a step counts, as `7d`; needed with `exposure`. Of label columns: how long
        after the exposure they are final, so that a later one than that is censored; None takes each for final.
      same_moment: which steps at the moment of the exposure itself count, with `exposure`: `behind` those that stand
        behind it in the log, `all` wherever they stand, for logs whose times are days or whose order means nothing.
      censored: what becomes of an exposure whose horizon ends after the last moment its labels may know
        of (the cut that ends its split; the end of the log): `drop` leaves it out, `mark` keeps
        what happened (of label columns, each 1) and makes the other labels unknown, so that such an exposure has no
        label 0 and raises the rates. Counted; never silently negative.
      inconsistent: what becomes of an exposure with a later step but without an earlier one: `keep`,
        `fill` (the earlier ones have happened, too) or `drop`. Counted; a label that is unknown is
        not missing, and stays unknown.
      history: how many of the user's events strictly before the exposure are features.
      keep_negatives: share of the training exposures without any step that is kept; probabilities are
        corrected for it. Chosen by a hash of user, item and time: rows that agree in these share
        their fate. Below 1 an earlier step must be as likely as a later one: the steps are a chain, and
        `inconsistent` is `fill` or `drop`.
    """

    kind: Literal["exposure"]
    steps: tuple[Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_]+$")], ...] = pydantic.Field(
        min_length=1
    )
    chain: bool = True
    exposure: spec.LogText | None = None
    horizon: spec.Duration | None = None
    same_moment: Literal["behind", "all"] = "behind"
    censored: Literal["drop", "mark"] = "drop"
    inconsistent: Literal["keep", "fill", "drop"] = "keep"
    history: int = pydantic.Field(default=0, ge=0, le=1000)
    keep_negatives: float = pydantic.Field(default=1.0, gt=0, le=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "ExposureWindow":
        if len(set(self.steps)) < len(self.steps):
            raise ValueError(f"steps are different ones, found {list(self.steps)}")
        if self.exposure is not None and self.horizon is None:
            raise ValueError(
                "exposure (a behaviour) needs horizon, how long after it a step counts; without exposure the log has a row per "
                f"exposure; found exposure: {self.exposure} alone"
            )
        if self.exposure in self.steps:
            raise ValueError(f"exposure is before the first step, found {self.exposure} among the steps")
        if not self.chain and self.inconsistent != "keep":
            raise ValueError(
                f"inconsistent says what becomes of a later step without an earlier one, which needs chain: true; "
                f"found {self.inconsistent} with chain: false"
            )
        if not self.chain and self.keep_negatives < 1:
            raise ValueError(
                f"keep_negatives below 1 needs chain: true, since probabilities are corrected by that of the "
                f"first step, which all others need; found {self.keep_negatives:g} with chain: false"
            )
        if self.keep_negatives < 1 and self.inconsistent == "keep":
            raise ValueError("keep_negatives below 1 needs inconsistent: fill or drop, found keep")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            settings.Reads(("censored",), self.horizon is not None, "horizon"),
            settings.Reads(("same_moment",), self.exposure is not None, "exposure"),
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """The steps."""
        return self.steps

    @property
    def history_events(self) -> int:
        """As the settings have it."""
        return self.history


class Exposure(kind.Kind[ExposureWindow]):
    """See `ExposureWindow`."""

    settings = ExposureWindow
    only_by_time = True

    def check(self, window: ExposureWindow, log: spec.LogSpec, split: spec.SplitSpec) -> None:
        """Checks that the log has the exposures and their labels, and that the split is by time.

        Raises:
          errors.InputError: if they do not suit one another.
        """
        if window.exposure is None:
            missing = [step for step in window.steps if step not in log.columns.label]
            if missing:
                raise errors.InputError(
                    f"window.steps: found {', '.join(missing)}: log.columns.label has no such label; to make "
                    f"exposures of events, set window.exposure and window.horizon"
                )
        elif log.columns.behavior is None:
            raise errors.InputError("window.exposure needs log.columns.behavior, found none")
        elif log.columns.label:
            raise errors.InputError(
                "log.columns.label goes with a log that has a row per exposure; with window.exposure steps are behaviours: leave "
                f"it out, found {', '.join(log.columns.label)}"
            )
        if window.exposure is not None:
            kind.refuse_filter(
                log.filter,
                "with window.exposure, what came of an exposure is an event of its item and its user as well, so that whoever "
                "bought has enough of them and whoever did not is left out: the labels would choose the examples, and their "
                "rates would be too high",
                "features.options.item_id.min_count and features.options.user_id.min_count",
            )
        if split.target_behaviors:
            raise errors.InputError(
                f"split.target_behaviors goes with window: {{kind: next}}, found "
                f"{list(split.target_behaviors)}; window.exposure says which events are exposures"
            )
        if "time" not in split.by or "leave_one_out" in split.by:
            raise errors.InputError(
                f"window: {{kind: exposure}} is split by time, with held_out_users or without; found by: "
                f"{list(split.by)}"
            )

    def split(self, window: ExposureWindow, split: spec.SplitSpec) -> spec.SplitSpec:
        """Of exposures that are events, these alone are targets."""
        if window.exposure is None:
            return split
        return split.model_copy(update={"target_behaviors": (window.exposure,)})

    def schema(
        self,
        window: ExposureWindow,
        columns: spec.Columns,
        split: spec.SplitSpec,
        *,
        max_skew: float,
        max_drift: float,
    ) -> Any:
        """See `schemas.load.exposure_window_schema`."""
        from schemas import load

        return load.exposure_window_schema(
            window.steps,
            {name: attribute.type for name, attribute in columns.attributes().items()},
            has_scene=bool(columns.scene),
            has_history=window.history > 0,
            has_behavior=bool(columns.behavior),
            max_skew=max_skew,
            max_drift=max_drift,
        )

    def cut(self, events: Any, window: ExposureWindow, context: kind.Context) -> Iterator[Any]:
        """See `cutting.exposure.cut`."""
        from components.behavior_example_gen.cutting import exposure as cutting

        known_until = cutting.knowledge(context.cuts, context.end)
        return cutting.cut(events, window, context.popularity, known_until)

    def check_written(
        self,
        window: ExposureWindow,
        written: Mapping[Hashable, int],
        split: spec.SplitSpec,
        cuts: Any,
        counts: Any,
    ) -> None:
        """Checks that each split has exposures, and train and test ones of which each step is known.

        Raises:
          errors.InputError: if one has none, a step is unknown in all exposures of train or of test, or a behaviour of the
            window is not in the log.
        """
        from components.behavior_example_gen import profile
        from components.behavior_example_gen.cutting import exposure as exposures
        from components.behavior_example_gen.cutting import tallies
        from components.behavior_example_gen.windows import found

        if window.exposure is not None:
            found.check_behaviors("window.exposure", [window.exposure], counts)
            found.check_behaviors("window.steps", window.steps, counts)
        for name in names.SPLITS:
            if written.get(name):
                continue
            total = written.get((name, exposures.EXPOSURES), 0)
            if not total:
                of = f" ({window.exposure} events)" if window.exposure else ""
                raise errors.InputError(
                    f"split: no exposure{of} for {name!r} by {', '.join(split.by)}; the log has "
                    f"{found.extent(counts, cuts)}"
                )
            why = []
            censored = written.get((name, exposures.CENSORED), 0)
            if censored and window.censored == "drop":
                why.append(
                    f"{censored:,} are censored: window.horizon ({figures.duration(window.horizon)}) ends after the last moment "
                    f"that their labels may know, {profile.moment(exposures.knowledge(cuts, counts.until)[name] - 1)}; "
                    f"a shorter horizon, other cuts or censored: mark keep them"
                )
            inconsistent = written.get((name, exposures.INCONSISTENT), 0)
            if inconsistent and window.inconsistent == "drop":
                why.append(f"{inconsistent:,} are inconsistent (window.inconsistent: drop)")
            negatives = written.get((name, exposures.NEGATIVES_LEFT_OUT), 0)
            if negatives:
                why.append(f"{negatives:,} are negatives (window.keep_negatives: {window.keep_negatives:g})")
            raise errors.InputError(
                f"window: none of the {total:,} exposures of {name!r} is left: {'; '.join(why)}; the log has "
                f"{found.extent(counts, cuts)}"
            )
        for step, name in tallies.never_known(window.steps, written):
            raise errors.InputError(
                f"window.steps: {step} is unknown in all {written[name]:,} exposures of {name!r}; the log has "
                f"{found.extent(counts, cuts)}"
            )

    def summary(self, window: ExposureWindow, written: Mapping[Hashable, int]) -> dict[str, Any]:
        """See `cutting.exposure.summary`; without a chain no exposure is inconsistent."""
        from components.behavior_example_gen.cutting import exposure as cutting

        found = cutting.summary(written, window)
        if not window.chain:
            del found[cutting.INCONSISTENT]
        return {"exposures": found}

    def tell(
        self,
        window: ExposureWindow,
        summary: Mapping[str, Any],
        written: Mapping[Hashable, int],
        cuts: Any,
        counts: Any,
    ) -> None:
        """Says what became of the exposures, and warns where most of a split's labels cannot be known."""
        from components.behavior_example_gen.cutting import exposure as exposures

        found = summary["exposures"]
        done = {"drop": "dropped", "mark": "marked", "keep": "kept", "fill": "filled"}
        words = []
        if window.horizon is not None:
            words.append(f"{found['censored']:,} censored ({done[window.censored]})")
        if window.chain:
            words.append(f"{found['inconsistent']:,} inconsistent ({done[window.inconsistent]})")
        if window.keep_negatives < 1:
            words.append(f"{found['negatives_left_out']:,} negatives left out of train")
        rates = ", ".join(
            f"{step} {'unknown' if rate is None else f'{rate:.2%}'}"
            for step, rate in found["positive_rate"][names.TRAIN].items()
        )
        counted = f": {', '.join(words)}" if words else ""
        kind.PROGRESS.info("%s exposures%s; in train: %s", f"{found['exposures']:,}", counted, rates)
        _tell_before(found.get(exposures.BEFORE, {}), written)
        for name in names.SPLITS:
            total = written.get((name, exposures.EXPOSURES), 0)
            share = written.get((name, exposures.CENSORED), 0) / max(1, total)
            if share > _MUCH_CENSORED:
                kind.PROGRESS.warning(
                    "%s: %.0f%% of %s exposures are censored: their horizon of %s ends after what their labels may "
                    "know, and %s; window.horizon is long for this split",
                    name,
                    100 * share,
                    f"{total:,}",
                    figures.duration(window.horizon),
                    "they are left out"
                    if window.censored == "drop"
                    else "only what happened is known of them, which makes its rates too high",
                )


def _tell_before(before: Mapping[str, int], written: Mapping[Hashable, int]) -> None:
    """Warns of steps at the moment of their exposure that stand before it in the log, and so do not count."""
    from components.behavior_example_gen.cutting import tallies

    for step, lost in before.items():
        happened = sum(tallies.positive(split, step, written) for split in names.SPLITS)
        if lost > _MUCH_BEFORE * (lost + happened):
            kind.PROGRESS.warning(
                "%s: %s of them stand before an exposure of the same moment in the log and do not count, beside %s that do; of a "
                "log whose times are days, or whose order within a moment means nothing, window.same_moment: all counts them",
                step,
                f"{lost:,}",
                f"{happened:,}",
            )
