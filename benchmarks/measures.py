"""What is measured of trained models on their test windows, by the kind of window.

A measure has `slices`, which gives each metric and its standard error by slice, and `compare`, which gives
differences of two points by slice; a metric without a value, as the AUC of a slice without positives,
is None.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from schemas import names

ALL = "all"
_CUTOFFS = (1, 5, 10, 20, 50)
# Slices, and the crossings of two of them that papers show.
_CROSSED = ((names.USER_STATUS,), (names.USER_FREQUENCY,), (names.USER_STATUS, names.USER_FREQUENCY))
_MORE = ((names.ITEM_FREQUENCY,), (names.HISTORY_LENGTH,), (names.USER_GROUP,))
# Of the standard errors of one run.
_RESAMPLES = 200

Slices = dict[str, dict[str, Any]]


class Ranking:
    """Ranks of the targets of `next` and `period` windows.

    Args:
      sampled_negatives: among how many negatives metrics are given as well; None for none.
    """

    # What is counted, and the metrics of tables and figures.
    noun = "windows"
    shown = main = ("hr@10", "ndcg@10")

    def __init__(self, sampled_negatives: int | None):
        self._sampled_negatives = sampled_negatives

    def slices(self, run: Any) -> Slices:
        """Mean and standard error of each metric over the windows of each slice, of a `runs.Trained`."""
        from pipeline.comparing import ranking

        ranks = ranking.ask(run)
        metric_names, (values,) = self._metrics([ranks])
        found: Slices = {}
        for label, chosen in _chosen(ranks):
            part = values[chosen]
            errors = (
                part.std(axis=0, ddof=1) / np.sqrt(len(part)) if len(part) > 1 else np.zeros(part.shape[1])
            )
            found[label] = {self.noun: len(part)}
            for index, name in enumerate(metric_names):
                found[label][name] = [round(float(part[:, index].mean()), 5), round(float(errors[index]), 5)]
        return found

    def compare(self, runs_a: Sequence[Any], runs_b: Sequence[Any]) -> Slices:
        """Differences B - A of means over runs, paired over users: difference, its 95 % interval and p.

        Raises:
          ValueError: if the runs were not measured on the same windows.
        """
        from pipeline.comparing import paired, ranking

        key = list(runs_a[0].kind.key)
        tables = [_sorted(ranking.ask(run), key) for run in (*runs_a, *runs_b)]
        _check_same(tables, key)
        metric_names, values = self._metrics(tables)
        of_a, of_b = (side.mean(axis=0) for side in (values[: len(runs_a)], values[len(runs_a) :]))
        found: Slices = {}
        for label, chosen in _chosen(tables[0]):
            users = np.unique(tables[0][names.USER_ID].to_numpy()[chosen], return_inverse=True)[1]
            result = paired.compare((of_b - of_a)[chosen], users)
            found[label] = {
                name: [round(float(v[i]), 5) for v in (result.difference, result.low, result.high, result.p)]
                for i, name in enumerate(metric_names)
            }
        return found

    def _metrics(self, tables: Sequence[pd.DataFrame]) -> tuple[tuple[str, ...], np.ndarray]:
        """Names of the metrics, and their values `[runs, W, M]` for each window of tables of `ranking.ask`."""
        from pipeline.comparing import ranking

        return ranking.values_of(tables, _CUTOFFS, self._sampled_negatives)


class Conversion:
    """Probabilities of the steps of exposures.

    Args:
      steps: names of the labels.
      chain: whether they are a chain, in their order.
    """

    noun = "exposures"

    def __init__(self, steps: Sequence[str], chain: bool = True):
        self._steps, self._chain = tuple(steps), chain
        by_step = [
            f"{metric}/{step}" for metric in ("auc", "auc_pr", "ks", "log_loss", "ece") for step in steps
        ]
        order = ["chain_violations"] if chain and len(steps) > 1 else []
        self.main = ("auc", *(f"auc/{step}" for step in steps), *order)
        self.shown = ("auc", *by_step, *order)

    def slices(self, run: Any) -> Slices:
        """Each metric of each slice, and its standard error over resamples of the users; see `Ranking`."""
        from pipeline.comparing import labels as comparing
        from pipeline.comparing import paired_scores

        table = comparing.ask(run)
        found: Slices = {}
        for label, chosen in _chosen(table):
            part = table[chosen]
            units, weights = paired_scores.resampled(_users(part), resamples=_RESAMPLES)
            values = paired_scores.measured(
                part[list(self._steps)].to_numpy(),
                self._labels(part),
                units,
                self._steps,
                weights,
                self._chain,
            )
            found[label] = {self.noun: len(part), "positives": (self._labels(part) == 1).sum(axis=0).tolist()}
            for name, samples in values.items():
                spread = samples[1:][np.isfinite(samples[1:])]
                error = spread.std(ddof=1) if len(spread) > 1 else np.nan
                found[label][name] = _rounded([samples[0], error]) if np.isfinite(samples[0]) else None
        return found

    def compare(self, runs_a: Sequence[Any], runs_b: Sequence[Any]) -> Slices:
        """Differences B - A of means over runs, with `relaimpr/STEP` (BPCM, eq. 14); see `Ranking`."""
        from pipeline.comparing import labels as comparing
        from pipeline.comparing import paired_scores

        key = [names.USER_ID, names.ITEM_ID, names.TIMESTAMP]
        tables = [_sorted(comparing.ask(run), key) for run in (*runs_a, *runs_b)]
        _check_same(tables, [*key, *(names.LABEL_PREFIX + step for step in self._steps)])
        scores = np.stack([table[list(self._steps)].to_numpy() for table in tables])
        labels = self._labels(tables[0])
        found: Slices = {}
        for label, chosen in _chosen(tables[0]):
            result = paired_scores.compare(
                scores[: len(runs_a), chosen],
                scores[len(runs_a) :, chosen],
                labels[chosen],
                _users(tables[0][chosen]),
                self._steps,
                chain=self._chain,
            )
            found[label] = {
                name: _rounded([one.difference, one.low, one.high, one.p])
                if np.isfinite(one.difference)
                else None
                for name, one in result.items()
            }
        return found

    def _labels(self, table: pd.DataFrame) -> np.ndarray:
        return table[[names.LABEL_PREFIX + step for step in self._steps]].to_numpy()


def of_kind(kind: str, steps: Sequence[str], chain: bool, sampled_negatives: int | None) -> Any:
    """The measure of a kind of window."""
    return Conversion(steps, chain) if kind == "exposure" else Ranking(sampled_negatives)


def _rounded(values: Sequence[float]) -> list[float | None]:
    """JSON has no word for what is not a number."""
    return [round(float(value), 5) if np.isfinite(value) else None for value in values]


def _users(table: pd.DataFrame) -> np.ndarray:
    return np.unique(table[names.USER_ID].to_numpy(), return_inverse=True)[1]


def _sorted(table: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    return table.sort_values(list(key), kind="stable", ignore_index=True)


def _check_same(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> None:
    for table in tables[1:]:
        if not table[list(columns)].equals(tables[0][list(columns)]):
            raise ValueError(f"the runs differ in {', '.join(columns)} of their test windows")


def _chosen(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """The label of each slice, and which windows are in it, `[W]` bool; all of them first."""
    yield ALL, np.ones(len(table), bool)
    for features in (*_CROSSED, *_MORE):
        values = [table[feature].to_numpy() for feature in features]
        for combination in sorted(set(zip(*values))):
            chosen = np.all([column == value for column, value in zip(values, combination)], axis=0)
            if all(combination) and (len(features) == 1 or chosen.sum() < len(table)):
                yield " ".join(f"{f}={v}" for f, v in zip(features, combination)), chosen


def is_main(label: str) -> bool:
    """Whether a slice is one of those that tables show."""
    return label == ALL or names.USER_FREQUENCY in label or label.startswith(names.USER_STATUS)
