"""Compares models that rank items: by where they rank the target of each test example."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.evaluator import ranks as rank_metrics
from components.evaluator import spec
from pipeline.comparing import answers, paired, runs
from pipeline.comparing.rows import Row
from schemas import names, ranks

_PERIOD_RANKS, _SCENE_RANK = names.of_period(names.RANK), names.of_scene(names.RANK)
# Outputs of `evaluate` that are kept; not every model has them all.
_UNMET = (names.of_unmet(names.RANK), names.of_unmet(names.CANDIDATES))
_ASKED = (names.RANK, *_UNMET, names.CATALOGUE_SIZE, _PERIOD_RANKS, _SCENE_RANK)
# Scores that are in memory at once: 128 MB of float32.
_SCORES = 1 << 25
_MOST_WINDOWS = 512


def ask(run: runs.Trained) -> pd.DataFrame:
    """Where the model of a run ranks the target of each of its test windows.

    Asked of the model once; then read from `compare/` in the run's folder.

    Returns:
      A row a window: the key, the slices, `rank` (float64, infinite for a target outside the
      catalogue), `catalogue_size` and, unless the model is too old to tell, `unmet_rank`, likewise, and
      `unmet_candidates`, among what the user has not met; of windows of a period `period_rank`, a list of as many
      as it has items, and of models that rank scenes `scene_rank`, likewise.

    Raises:
      errors.InputError: if there are no test windows, or the model has no `evaluate` signature.
    """
    within = run.settings.get(answers.CANDIDATES_WITHIN)
    asked = _ASKED if within is None else (*_ASKED, f"{answers.CANDIDATES_WITHIN}={within}")
    return answers.kept("ranks", run, ",".join(asked), _ask)


def _ask(run: runs.Trained) -> pd.DataFrame:
    import tensorflow as tf

    model, evaluate, files = answers.evaluate(run)
    features = answers.features(run.kind)
    windows = tf.data.TFRecordDataset(files, compression_type="GZIP")
    parts: list[dict[str, np.ndarray]] = []
    for first in windows.take(1).batch(1):
        size = int(evaluate(examples=first)[names.CATALOGUE_SIZE][0])
        for batch in windows.batch(max(1, min(_MOST_WINDOWS, _SCORES // max(size, 1)))):
            answer = evaluate(examples=batch)
            part = answers.parsed(batch, features)
            part[names.RANK] = ranks.or_infinite(answer[names.RANK].numpy(), size)
            part[names.CATALOGUE_SIZE] = np.full(len(part[names.RANK]), size)
            rank, count = (ranks.among_unmet(name, answer) for name in (names.RANK, names.CANDIDATES))
            if rank and count:
                found = ranks.or_infinite(answer[rank].numpy(), size), answer[count].numpy()
                part.update(zip(_UNMET, found))
            if _PERIOD_RANKS in answer:
                part[_PERIOD_RANKS] = _of_periods(answer[_PERIOD_RANKS].numpy(), size)
            if _SCENE_RANK in answer:
                scenes = answer[names.of_scene(names.CATALOGUE_SIZE)].numpy()
                part[_SCENE_RANK] = ranks.or_infinite(answer[_SCENE_RANK].numpy(), scenes)
            parts.append(part)
    del model
    return answers.as_table(parts, run)


def _of_periods(found: np.ndarray, size: int) -> np.ndarray:
    """Ranks `[B, M]` as lists of those of each row's items, `[B]`."""
    rows = np.empty(len(found), object)
    rows[:] = [ranks.or_infinite(row[row != names.NO_ITEM_RANK], size) for row in found]
    return rows


def measure(
    all_runs: Sequence[runs.Trained],
    tables: Sequence[pd.DataFrame],
    count_a: int,
    users: np.ndarray,
    seed: int,
) -> tuple["Measured", tuple[str, ...]]:
    """What gives the metrics of all runs, and notes on them.

    Args:
      all_runs: those of A first.
      tables: of `ask`, with equal rows.
      count_a: how many runs are A's.
      users: `[W]` int, codes of the users.
      seed: of the resamples.
    """
    cutoffs = sorted({k for run in all_runs for k in _cutoffs(run)})
    sampled, notes = _sampled(all_runs, tables)
    sizes = sorted({int(table[names.CATALOGUE_SIZE].iloc[0]) for table in tables})
    if len(sizes) > 1:
        shown = ", ".join(f"{n:,}" for n in sizes)
        notes = (f"The catalogues differ ({shown} items): ranks are among as many.", *notes)
    notes = (*_among(all_runs), *notes)
    if _other_periods(tables):
        notes = (*notes, _OTHER_PERIODS)
    notes = (*notes, *_missing(all_runs, tables, _SCENE_RANK, "the next scene", "ranks no scenes"))
    return Measured(tables, count_a, users, cutoffs, sampled, seed), notes


_OTHER_PERIODS = (
    "Metrics of what follows in a period are left out: windows of one run have other items there than those of another "
    "(window.future, max_future)."
)


def _among(all_runs: Sequence[runs.Trained]) -> tuple[str, ...]:
    """A note if ranks are not all in whole catalogues."""
    asked = sorted({str(run.settings.get(answers.CANDIDATES_WITHIN)) for run in all_runs})
    if asked == [str(None)]:
        return ()
    if len(asked) > 1:
        return (f"Ranks are not among the same items: {answers.CANDIDATES_WITHIN} is {' and '.join(asked)}.",)
    return (
        f"Ranks are among the items seen shortly before the moment ({answers.CANDIDATES_WITHIN}: {asked[0]}).",
    )


def _missing(
    all_runs: Sequence[runs.Trained], tables: Sequence[pd.DataFrame], column: str, what: str, why: str
) -> tuple[str, ...]:
    """A note if some models, but not all, tell something."""
    without = [run.folder for run, table in zip(all_runs, tables) if column not in table]
    if not without or len(without) == len(tables):
        return ()
    return (f"Metrics of {what} are left out: the model of {', '.join(without)} {why}.",)


class Measured:
    """Ranking metrics of the runs of both sides on any of their windows.

    Args:
      tables: of `ranks`, with equal rows; those of A come first.
      count_a: how many are A's.
      users: `[W]` int, codes of the windows' users.
      cutoffs: the K's.
      sampled_negatives: of the sampled metrics; None: there are none.
      seed: of the resamples.
    """

    resamples, max_units = paired.RESAMPLES, paired.MAX_UNITS

    def __init__(
        self,
        tables: Sequence[pd.DataFrame],
        count_a: int,
        users: np.ndarray,
        cutoffs: Sequence[int],
        sampled_negatives: int | None,
        seed: int,
    ):
        self._names, values = values_of(tables, cutoffs, sampled_negatives)
        self._a, self._b, self._users, self._seed = values[:count_a], values[count_a:], users, seed
        self._any_exact = False

    def rows(self, chosen: np.ndarray) -> tuple[Row, ...]:
        """Of the chosen windows, `[W]` bool."""
        found, exact = _rows(
            self._a[:, chosen], self._b[:, chosen], self._users[chosen], self._names, self._seed
        )
        self._any_exact |= exact
        return found

    def p_method(self) -> str:
        """How the p values of the rows were made."""
        return "two-sided, paired randomisation (sign-flip) over users" + (
            ", all assignments where users are few" if self._any_exact else ""
        )


def values_of(
    tables: Sequence[pd.DataFrame], cutoffs: Sequence[int], sampled_negatives: int | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """The metrics that all models tell: their names, and the values of each model's windows.

    Args:
      tables: of `ask`, with equal rows.
      cutoffs: the K's.
      sampled_negatives: of the sampled metrics; None: there are none.

    Returns:
      M names, and float64 `[models, W, M]`.
    """
    period = all(_PERIOD_RANKS in table for table in tables) and not _other_periods(tables)
    scenes = all(_SCENE_RANK in table for table in tables)
    found = (
        *spec.ranking_metrics(cutoffs, sampled_negatives),
        *(spec.period_metrics(cutoffs) if period else ()),
        *(spec.scene_metrics(cutoffs) if scenes else ()),
    )
    return found, np.stack([_values(table, cutoffs, sampled_negatives, period, scenes) for table in tables])


def _other_periods(tables: Sequence[pd.DataFrame]) -> bool:
    """Whether the same windows have more items to come in one run than in another."""
    lengths = [table[_PERIOD_RANKS].map(len).to_numpy() for table in tables if _PERIOD_RANKS in table]
    return any((one != lengths[0]).any() for one in lengths[1:])


def _values(
    table: pd.DataFrame, cutoffs: Sequence[int], sampled_negatives: int | None, period: bool, scenes: bool
) -> np.ndarray:
    told = sampled_negatives is not None and set(_UNMET) <= set(table)
    unmet = tuple(table[name].to_numpy() for name in _UNMET) if told else None
    parts = [rank_metrics.metric_values(table[names.RANK], cutoffs, sampled_negatives, unmet)]
    if period:
        lists = table[_PERIOD_RANKS].to_list()
        padded = np.full([len(lists), max(map(len, lists))], np.nan)
        for row, found in enumerate(lists):
            padded[row, : len(found)] = found
        parts.append(ranks.values_of_sets(padded, cutoffs))
    if scenes:
        parts.append(ranks.values(table[_SCENE_RANK].to_numpy(), cutoffs))
    return np.concatenate(parts, axis=1)


def _cutoffs(run: runs.Trained) -> Sequence[int]:
    return run.settings.get("evaluation.cutoffs") or spec.EvaluationSpec().cutoffs


def _sampled(
    all_runs: Sequence[runs.Trained], tables: Sequence[pd.DataFrame]
) -> tuple[int | None, tuple[str, ...]]:
    """How many negatives the sampled metrics have (None: there are none of these), and notes on it."""
    asked = {run.settings.get("evaluation.sampled_negatives") for run in all_runs} - {None}
    if not asked:
        return None, ()
    silent = [run.folder for run, table in zip(all_runs, tables) if not set(_UNMET) <= set(table)]
    if len(asked) > 1:
        why = f"the runs ask for {' and '.join(map(str, sorted(asked)))} negatives"
    elif silent:
        why = (
            f"the model of {', '.join(silent)} does not tell how it ranks what users have not met: an older one, or "
            "ranks are among candidates"
        )
    else:
        (negatives,) = asked
        return negatives, (
            f"{spec.SAMPLED_PREFIX}{negatives} metrics rank among {negatives} items that the user has not met, drawn at "
            f"random: expected values, only for comparison with papers that report those.",
        )
    return None, (f"Sampled metrics are left out: {why}.",)


def _rows(
    a: np.ndarray, b: np.ndarray, users: np.ndarray, metric_names: Sequence[str], seed: int
) -> tuple[tuple[Row, ...], bool]:
    """The metrics of one slice: `[runs, W, M]` of both sides and `[W]` users."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    codes = np.unique(users, return_inverse=True)[1]
    result = paired.compare(mean_b - mean_a, codes, seed)
    sd_a, sd_b = _between(a), _between(b)
    rows = []
    for index, name in enumerate(metric_names):
        low, high = float(result.low[index]), float(result.high[index])
        # Equal differences (no hit at all, say) tell nothing about their spread.
        bounded = low < high
        rows.append(
            Row(
                metric=name,
                a=float(mean_a[:, index].mean()),
                b=float(mean_b[:, index].mean()),
                a_sd=None if sd_a is None else float(sd_a[index]),
                b_sd=None if sd_b is None else float(sd_b[index]),
                difference=float(result.difference[index]),
                low=low if bounded else None,
                high=high if bounded else None,
                p=float(result.p[index]),
            )
        )
    return tuple(rows), result.exact


def _between(values: np.ndarray) -> np.ndarray | None:
    """Standard deviation of the mean between runs: `[runs, W, M]` to `[M]`."""
    return values.mean(axis=1).std(axis=0, ddof=1) if len(values) > 1 else None
