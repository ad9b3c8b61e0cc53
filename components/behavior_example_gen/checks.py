"""What must hold of settings before a log is read and of windows after, and what is said of them."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from components.behavior_example_gen import exposures, profile, spec, splits
from schemas import errors, names

# More of a split's exposures than this being censored deserves a word.
_MUCH_CENSORED = 0.5
# How many bad rows a message shows.
_SHOWN_REJECTS = 3
# How the reason of a row without a user begins.
_NO_USER = f"missing {names.USER_ID}"
_PROGRESS = logging.getLogger("footfall.progress")


def settings(log: spec.LogSpec, window: spec.WindowSpec, split: spec.SplitSpec) -> spec.SplitSpec:
    """Checks that log, window and split suit one another.

    Returns:
      The split; of exposures that are events, these alone are its targets.

    Raises:
      errors.InputError: if they do not.
    """
    if not isinstance(window, spec.ExposureWindow):
        if split.target_behaviors and not log.columns.behavior:
            raise errors.InputError(
                f"split.target_behaviors ({', '.join(split.target_behaviors)}) needs log.columns.behavior, "
                f"found none"
            )
        return split
    if "time" not in split.by or "leave_one_out" in split.by:
        raise errors.InputError(
            f"window: {{kind: exposure}} is split by time, with held_out_users or without; found by: "
            f"{list(split.by)}"
        )
    if split.target_behaviors:
        raise errors.InputError(
            f"split.target_behaviors goes with window: {{kind: next}}, found {list(split.target_behaviors)}; "
            f"window.exposure says which events are exposures"
        )
    if window.exposure is not None:
        if not log.columns.behavior:
            raise errors.InputError("window.exposure needs log.columns.behavior, found none")
        return split.model_copy(update={"target_behaviors": (window.exposure,)})
    missing = [step for step in window.steps if step not in log.columns.label]
    if missing:
        raise errors.InputError(f"window.steps: {', '.join(missing)}: log.columns.label has no such label")
    return split


def too_many_rejects(summary: Mapping[str, Any], rows_of: Mapping[str, int], log: spec.LogSpec) -> str:
    """What is wrong with a log of which more rows are bad than allowed, and the line that lets it pass.

    Args:
      summary: what `summary.json` of the rejected rows holds.
      rows_of: the number of rows of each file.
    """
    rows, rejected = summary["rows"], summary["rejected"]
    reasons = "; ".join(f"{count:,} x {reason}" for reason, count in summary["by_reason"].items())
    bad, where = summary["by_file"], ""
    if len(bad) < len(rows_of):
        wholly = sum(count == rows_of[file] for file, count in bad.items())
        where = f" They are in {len(bad):,} of {len(rows_of):,} files" + (
            f", {wholly:,} wholly bad." if wholly else "."
        )
    found = (
        f"{log.path}: {rejected:,} of {rows:,} rows ({summary['share']:.1%}) are bad, log.max_rejected_share allows "
        f"{log.max_rejected_share:.1%}: {reasons}.{where} For example {_examples(summary['examples'])}."
    )
    if rejected == rows:
        return found
    without_user = sum(n for reason, n in summary["by_reason"].items() if reason.startswith(_NO_USER))
    why = "If they may be left out"
    if 2 * without_user > rejected:
        why = "Events without a user are normal where guests need no account, as in shops. If they may be left out"
    # Rounded up, so that the line is enough.
    share = -(-100 * rejected // rows) / 100
    return f"{found} {why}, this line lets the log pass: log: {{max_rejected_share: {share:g}}}"


def _examples(rejects: Sequence[Mapping[str, Any]]) -> str:
    """Some bad rows; a file is named once, however many of its rows are bad."""
    of: dict[str, list[Mapping[str, Any]]] = {}
    for reject in rejects:
        of.setdefault(reject["file"], []).append(reject)
    # As many files as can be, and of each as many rows as are left to show.
    files = list(of)[:_SHOWN_REJECTS]
    rows = -(-_SHOWN_REJECTS // max(1, len(files)))
    return "; ".join(
        f"{file} "
        + ", ".join(
            ("" if r["row"] < 1 else f"row {r['row']}: ") + f"{r['reason']} ({r['value']!r})"
            for r in of[file][:rows]
        )
        for file in files
    )


def windows(
    written: Mapping[Hashable, int],
    window: spec.WindowSpec,
    split: spec.SplitSpec,
    cuts: splits.Cuts | None,
    counts: profile.Counts,
) -> None:
    """Checks that each split has windows.

    Args:
      written: how many by split, and what else was counted in cutting them.

    Raises:
      errors.InputError: if one has none, or a behaviour is asked for that the log does not have.
    """
    if isinstance(window, spec.ExposureWindow):
        _exposures(written, window, split, cuts, counts)
        return
    _behaviors("split.target_behaviors", split.target_behaviors or (), counts)
    _next(written, split, cuts, counts)


def tell_exposures(
    found: Mapping[str, Any], written: Mapping[Hashable, int], window: spec.ExposureWindow
) -> None:
    """Says what became of the exposures, and warns where most of a split's labels cannot be known."""
    done = {"drop": "dropped", "mark": "marked", "keep": "kept", "fill": "filled"}
    words = [f"{found['inconsistent']:,} inconsistent ({done[window.inconsistent]})"]
    if window.exposure is not None:
        words.insert(0, f"{found['censored']:,} censored ({done[window.censored]})")
    if window.keep_negatives < 1:
        words.append(f"{found['negatives_left_out']:,} negatives left out of train")
    rates = ", ".join(
        f"{step} {'unknown' if rate is None else f'{rate:.2%}'}"
        for step, rate in found["positive_rate"][names.TRAIN].items()
    )
    _PROGRESS.info("%s exposures: %s; in train: %s", f"{found['exposures']:,}", ", ".join(words), rates)
    for name in names.SPLITS:
        total = written.get((name, exposures.EXPOSURES), 0)
        share = written.get((name, exposures.CENSORED), 0) / max(1, total)
        if share > _MUCH_CENSORED:
            _PROGRESS.warning(
                "%s: %.0f%% of %s exposures are censored: their horizon of %s ends after what their labels may "
                "know, and %s; window.horizon is long for this split",
                name,
                100 * share,
                f"{total:,}",
                _days(window.horizon),
                "they are left out"
                if window.censored == "drop"
                else "only what happened is known of them, which makes its rates too high",
            )


def _behaviors(key: str, wanted: Sequence[str], counts: profile.Counts) -> None:
    unknown = [name for name in wanted if name not in counts.behaviors]
    if unknown:
        raise errors.InputError(
            f"{key}: no event of {', '.join(unknown)}; the log has "
            f"{', '.join(sorted(counts.behaviors, key=counts.behaviors.get, reverse=True)[:20])}"
        )


def _next(
    written: Mapping[Hashable, int],
    split: spec.SplitSpec,
    cuts: splits.Cuts | None,
    counts: profile.Counts,
) -> None:
    for name in names.SPLITS:
        if written.get(name):
            continue
        found = _extent(counts, cuts)
        kind = ""
        if split.target_behaviors and name != names.TRAIN:
            kind = f" of {' or '.join(split.target_behaviors)}"
        raise errors.InputError(
            f"split: no window for {name!r} by {', '.join(split.by)}; the log has {found}; a window needs a "
            f"target{kind} and at least window.min_history events of the same user before it"
        )


def _exposures(
    written: Mapping[Hashable, int],
    window: spec.ExposureWindow,
    split: spec.SplitSpec,
    cuts: splits.Cuts,
    counts: profile.Counts,
) -> None:
    if window.exposure is not None:
        _behaviors("window.exposure", [window.exposure], counts)
        _behaviors("window.steps", window.steps, counts)
    for name in names.SPLITS:
        if written.get(name):
            continue
        total = written.get((name, exposures.EXPOSURES), 0)
        if not total:
            kind = f" ({window.exposure} events)" if window.exposure else ""
            raise errors.InputError(
                f"split: no exposure{kind} for {name!r} by {', '.join(split.by)}; the log has "
                f"{_extent(counts, cuts)}"
            )
        why = []
        censored = written.get((name, exposures.CENSORED), 0)
        if censored and window.censored == "drop":
            why.append(
                f"{censored:,} are censored: window.horizon ({_days(window.horizon)}) ends after the last moment "
                f"that their labels may know, {profile.moment(exposures.knowledge(cuts, counts.end)[name] - 1)}; "
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
            f"{_extent(counts, cuts)}"
        )


def _extent(counts: profile.Counts, cuts: splits.Cuts | None) -> str:
    """What the log has, for a message."""
    users = sum(counts.user_events.values())
    found = (
        f"{counts.events:,} events of {users:,} user(s) between {profile.moment(counts.start)} and "
        f"{profile.moment(counts.end)}"
    )
    if cuts:
        found += f", cuts at {profile.moment(cuts.eval_from)} and {profile.moment(cuts.test_from)}"
    return found


def _days(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
