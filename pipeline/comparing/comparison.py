"""Compares two trained models on the test examples that both have: is B better than A, and how sure is that?"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.evaluator import slice_results
from pipeline import comparing
from pipeline.comparing.rows import SliceRows
from pipeline.comparing.runs import Trained
from schemas import errors, kinds, names

# What tells the runs of one setting apart.
_NOT_SETTINGS = ("name", "training.seed", "push.destination")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
      a, b: the folders of the runs on both sides.
      only_a, only_b: test windows of one side that the other has not; they are left out.
      incomplete: windows that not all runs of a side have; they are left out, too.
      differing: settings of A and B that differ, `(key, A's, B's)`.
      notes: what a reader should know before believing the numbers.
      method: how interval and p value were made.
      slices: all windows first.
      main: the metric that says which is better.
      noun: what is counted, `windows` or `exposures`.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    only_a: int
    only_b: int
    incomplete: int
    differing: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    method: Mapping[str, Any]
    slices: tuple[SliceRows, ...]
    main: str
    noun: str = "windows"

    def to_json(self) -> str:
        """One line of JSON; a bound that does not exist is null."""
        plain = dataclasses.asdict(self)
        for part in plain["slices"]:
            part["slice"] = dict(part["slice"])
            part["metrics"] = {row.pop("metric"): row for row in part.pop("rows")}
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)


def compare(runs_a: Sequence[Trained], runs_b: Sequence[Trained], seed: int = 0) -> Comparison:
    """Compares models, or the means of several models of one setting each.

    Windows are the same where user, target item and time of the target are, exposures where user, item and time
    are. Metrics of a side are means over its runs, before anything is tested.

    Args:
      runs_a, runs_b: of `find_runs`.
      seed: of the resamples.

    Raises:
      errors.InputError: if the two have no test window in common, or windows of different kinds.
    """
    runs = (*runs_a, *runs_b)
    name, kind = _one(runs)
    objective = comparing.get(name)
    tables = [_numbered(objective.ask(run), kind.key) for run in runs]
    keys = [table.index for table in tables]
    any_a, all_a = _any_and_all(keys[: len(runs_a)])
    any_b, all_b = _any_and_all(keys[len(runs_a) :])
    order = all_a.intersection(all_b).sort_values()
    if not len(order):
        raise errors.InputError(
            f"the runs have no test {kind.noun[:-1]} in common: "
            f"{', '.join(r.folder for r in runs_a)} has {len(all_a):,}, "
            f"{', '.join(r.folder for r in runs_b)} has {len(all_b):,}; {kind.noun} are the same where "
            f"{', '.join(kind.key)} are"
        )
    tables = [table.loc[order] for table in tables]
    users = pd.factorize(order.get_level_values(names.USER_ID))[0]
    measured, said = objective.measure(runs, tables, len(runs_a), users, seed)
    found = tuple(
        SliceRows(value, int(chosen.sum()), len(np.unique(users[chosen])), measured.rows(chosen))
        for value, chosen in _slices(tables[0])
    )
    differing = _differing(runs_a[0].settings, runs_b[0].settings)
    metric_names = [row.metric for row in found[0].rows]
    main = kinds.objective(name).metric
    return Comparison(
        a=tuple(run.folder for run in runs_a),
        b=tuple(run.folder for run in runs_b),
        only_a=len(all_a.difference(any_b)),
        only_b=len(all_b.difference(any_a)),
        incomplete=len(any_a) - len(all_a) + len(any_b) - len(all_b),
        differing=tuple(differing),
        notes=(*_notes(runs_a, runs_b, differing), *said),
        method={
            "interval": "95 %, percentiles of a paired bootstrap over users",
            "p": measured.p_method(),
            "resamples": measured.resamples,
            "seed": seed,
            "groups_of_users": measured.max_units if found[0].users > measured.max_units else None,
            "corrected_for_many_rows": False,
        },
        slices=found,
        main=main if main in metric_names else metric_names[0],
        noun=kind.noun,
    )


def _one(runs: Sequence[Trained]) -> tuple[str, kinds.WindowKind]:
    """The objective and the kind of window of all runs, which have the same steps if they have any."""
    for what, values in (
        ("kinds of window", [r.kind.name for r in runs]),
        ("objectives", [r.objective for r in runs]),
        ("steps", [r.steps for r in runs]),
    ):
        if len(set(values)) > 1:
            other = next(index for index, value in enumerate(values) if value != values[0])
            raise errors.InputError(
                f"the runs have different {what}: {runs[0].folder} has {_text(values[0])}, {runs[other].folder} "
                f"has {_text(values[other])}"
            )
    return runs[0].objective, runs[0].kind


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _any_and_all(keys: Sequence[pd.MultiIndex]) -> tuple[pd.MultiIndex, pd.MultiIndex]:
    """The keys that any, and those that all of the runs have."""
    return (
        functools.reduce(lambda found, other: found.union(other), keys),
        functools.reduce(lambda found, other: found.intersection(other), keys),
    )


def _numbered(table: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Examples by their key; those with an equal key are told apart by their order."""
    table = table.assign(occurrence=table.groupby(list(key), sort=False).cumcount())
    return table.set_index([*key, "occurrence"])


def _slices(first: pd.DataFrame) -> list[tuple[slice_results.Slice, np.ndarray]]:
    """Each slice, and which windows are in it, `[W]` bool; the slices are A's."""
    found: list[tuple[slice_results.Slice, np.ndarray]] = [(slice_results.OVERALL, np.ones(len(first), bool))]
    for feature in names.SLICES:
        of_windows = first[feature].to_numpy()
        for value in sorted(set(of_windows) - {""}, key=slice_results.value_order):
            found.append((((feature, value),), of_windows == value))
    return found


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    keys = [key for key in dict.fromkeys((*a, *b)) if key not in _NOT_SETTINGS]
    shown = {key: tuple(str(side[key]) if key in side else "–" for side in (a, b)) for key in keys}
    return [(key, left, right) for key, (left, right) in shown.items() if left != right]


def _notes(
    runs_a: Sequence[Trained],
    runs_b: Sequence[Trained],
    differing: Sequence[tuple[str, str, str]],
) -> list[str]:
    notes = []
    for side, runs in (("A", runs_a), ("B", runs_b)):
        keys = {key for run in runs[1:] for key, _, _ in _differing(runs[0].settings, run.settings)}
        if keys:
            notes.append(f"The runs of {side} differ in more than their seed: {', '.join(sorted(keys))}.")
        seeds = [run.settings.get("training.seed") for run in runs]
        if len(runs) > 1 and len(set(seeds)) < len(seeds):
            notes.append(f"Several runs of {side} have the same seed.")
    if any(key == "evaluation.exclude_seen" for key, _, _ in differing):
        notes.append("Only one side leaves seen items out of the ranking: the ranks do not mean the same.")
    if len(runs_a) + len(runs_b) > 2:
        notes.append(
            "Interval and p value tell how the difference of these trained models varies between users; "
            "± is the standard deviation between seeds."
        )
    return notes
