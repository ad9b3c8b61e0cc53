"""What is measured of trained models on their test windows, by what they have learnt and the kind of window.

A measure has `ask`, which asks a model (a `runs.Trained`) of its test windows, a row a window; of such tables `slices` gives each
metric and its standard error by slice, and `compare` differences of two points by slice. A metric without a value, as the AUC of
a slice without positives, is None.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from schemas import embeddings, kinds, names
from trainer import registry

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
      kind: of the windows.
      sampled_negatives: among how many negatives metrics are given as well; None for none.
    """

    # What is counted, and the metrics of tables and figures.
    noun = "windows"
    shown = main = ("hr@10", "ndcg@10")

    def __init__(self, kind: str, sampled_negatives: int | None):
        self._key = list(kinds.window_kind(kind).key)
        self._sampled_negatives = sampled_negatives

    def ask(self, run: Any) -> pd.DataFrame:
        """Where the model of a run ranks the targets of its test windows."""
        from pipeline.comparing import ranking

        return ranking.ask(run)

    def slices(self, ranks: pd.DataFrame) -> Slices:
        """Mean and standard error of each metric over the windows of each slice."""
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

    def compare(self, side_a: Sequence[pd.DataFrame], side_b: Sequence[pd.DataFrame]) -> Slices:
        """Differences B - A of means over runs, paired over users: difference, its 95 % interval and p.

        Raises:
          ValueError: if the runs were not measured on the same windows.
        """
        from pipeline.comparing import paired

        tables = _same_windows((*side_a, *side_b), self._key)
        metric_names, values = self._metrics(tables)
        of_a, of_b = (side.mean(axis=0) for side in (values[: len(side_a)], values[len(side_a) :]))
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


class Labels:
    """Probabilities of labels, of exposures or of what follows a moment.

    Args:
      steps: names of the labels.
      chain: whether they are a chain, in their order.
      kind: of the windows.
      groups: of labels, by name, whose means are measured as well.
    """

    def __init__(
        self,
        steps: Sequence[str],
        chain: bool = True,
        kind: str = "exposure",
        groups: Mapping[str, Sequence[str]] | None = None,
    ):
        self._steps, self._chain, self._kind = tuple(steps), chain, kinds.window_kind(kind)
        self.noun, self._groups = self._kind.noun, dict(groups or {})
        by_step = [
            f"{metric}/{step}" for metric in ("auc", "auc_pr", "ks", "log_loss", "ece") for step in steps
        ]
        order = ["chain_violations"] if chain and len(steps) > 1 else []
        parts = (*self._groups, *steps)
        auc, ks = ((metric, *(f"{metric}/{part}" for part in parts)) for metric in ("auc", "ks"))
        self.main = (*auc, *order, *ks)
        self.shown = ("auc", "ks", *by_step, *order)

    def ask(self, run: Any) -> pd.DataFrame:
        """What the model of a run says of each test example, with its labels."""
        from pipeline.comparing import labels

        return labels.ask(run)

    def slices(self, table: pd.DataFrame) -> Slices:
        """Each metric of each slice, and its standard error over resamples of the users; see `Ranking`."""
        from pipeline.comparing import paired_scores

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
                self._groups,
            )
            found[label] = {self.noun: len(part), "positives": (self._labels(part) == 1).sum(axis=0).tolist()}
            for name, samples in values.items():
                spread = samples[1:][np.isfinite(samples[1:])]
                error = spread.std(ddof=1) if len(spread) > 1 else np.nan
                found[label][name] = _rounded([samples[0], error]) if np.isfinite(samples[0]) else None
        return found

    def compare(self, side_a: Sequence[pd.DataFrame], side_b: Sequence[pd.DataFrame]) -> Slices:
        """Differences B - A of means over runs, with `relaimpr/STEP` (BPCM, eq. 14), in the main slices; see `Ranking`."""
        from pipeline.comparing import paired_scores

        labels = [names.LABEL_PREFIX + step for step in self._steps]
        tables = _same_windows((*side_a, *side_b), list(self._kind.key), labels)
        scores = np.stack([table[list(self._steps)].to_numpy() for table in tables])
        known = self._labels(tables[0])
        found: Slices = {}
        # Each takes ten seconds of some thousand windows.
        for label, chosen in _chosen_main(tables[0]):
            result = paired_scores.compare(
                scores[: len(side_a), chosen],
                scores[len(side_a) :, chosen],
                known[chosen],
                _users(tables[0][chosen]),
                self._steps,
                chain=self._chain,
                groups=self._groups,
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


class UserEmbedding:
    """Embeddings of users, learnt without labels, at the moments of periods: see `schemas.embeddings`.

    Args:
      kind: of the windows.
    """

    noun = "periods"
    shown = main = (embeddings.AGREEMENT, embeddings.EFFECTIVE_RANK, embeddings.SPREAD)

    def __init__(self, kind: str):
        self._key = list(kinds.window_kind(kind).key)

    def ask(self, run: Any) -> pd.DataFrame:
        """The embedding at each test window, and what follows."""
        from pipeline.comparing import user_embedding

        return user_embedding.ask(run)

    def slices(self, table: pd.DataFrame) -> Slices:
        """Each metric of the main slices; `neighbor_agreement` with the standard error over users; see `Ranking`.

        Of a slice with more windows than `embeddings.MOST` so many are drawn.
        """
        users = _users(table)
        found: Slices = {}
        for label, chosen in _chosen_main(table):
            rows = np.flatnonzero(chosen)
            if len(np.unique(users[rows])) < 2:
                continue
            if len(rows) > embeddings.MOST:
                rows = np.sort(np.random.default_rng(0).permutation(rows)[: embeddings.MOST])
            vectors = np.array(table[names.EMBEDDING].iloc[rows].to_list(), np.float32)
            following = [np.array(each, np.int64) for each in table[names.FOLLOWING].iloc[rows]]
            agreements = embeddings.Agreements(vectors, users[rows], following)
            found[label] = {
                self.noun: int(chosen.sum()),
                embeddings.AGREEMENT: _rounded([agreements.nearest.mean(), _error(agreements, users[rows])]),
                embeddings.EFFECTIVE_RANK: _rounded([embeddings.effective_rank(vectors), np.nan]),
                embeddings.SPREAD: _rounded([embeddings.spread(vectors), np.nan]),
            }
        return found

    def compare(self, side_a: Sequence[pd.DataFrame], side_b: Sequence[pd.DataFrame]) -> Slices:
        """Differences B - A of the neighbour agreement, in the main slices; see `Ranking`."""
        from pipeline.comparing import user_embedding

        tables = _same_windows((*side_a, *side_b), self._key)
        measured = user_embedding.Measured(tables, len(side_a), _users(tables[0]), seed=0)
        found: Slices = {}
        for label, chosen in _chosen_main(tables[0]):
            for row in measured.rows(chosen):
                values = (row.difference, row.low, row.high, row.p)
                found[label] = {row.metric: _rounded([np.nan if v is None else v for v in values])}
        return found


def labels_of(experiment: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of an experiment, as its window has them; none where it has none."""
    window = experiment.get("window", {})
    return tuple(window.get("steps") or window.get("labels") or ())


def of_experiment(experiment: Mapping[str, Any], groups: Mapping[str, Sequence[str]] | None = None) -> Any:
    """The measure of what an experiment's model learns of its windows; `groups` are of labels, see `Labels`."""
    window, model = experiment.get("window", {}), registry.MODELS[experiment["model"]["name"]]
    kind, steps = window.get("kind", kinds.DEFAULT_KIND), labels_of(experiment)
    if model.objective == "labels":
        # Labels of what follows a moment have no order.
        return Labels(steps, window.get("chain", kind == "exposure"), kind, groups)
    if model.objective == "user_embedding":
        return UserEmbedding(kind)
    return Ranking(kind, experiment.get("evaluation", {}).get("sampled_negatives"))


def _error(agreements: embeddings.Agreements, users: np.ndarray) -> float:
    """The standard error of the mean of `nearest`, by resamples of the users."""
    from pipeline.comparing import user_embedding

    codes = np.unique(users, return_inverse=True)[1].reshape(-1)
    return float(np.nanstd(agreements.nearest_means(user_embedding.redrawn(codes, 400, 0)), ddof=1))


def _rounded(values: Sequence[float]) -> list[float | None]:
    """JSON has no word for what is not a number."""
    return [round(float(value), 5) if np.isfinite(value) else None for value in values]


def _users(table: pd.DataFrame) -> np.ndarray:
    return np.unique(table[names.USER_ID].to_numpy(), return_inverse=True)[1]


def _same_windows(
    tables: Sequence[pd.DataFrame], key: list[str], same: Sequence[str] = ()
) -> list[pd.DataFrame]:
    """Tables in the order of their key; besides it they have to have the same of some columns.

    Raises:
      ValueError: if they differ in these.
    """
    found = [table.sort_values(key, kind="stable", ignore_index=True) for table in tables]
    columns = [*key, *same]
    for table in found[1:]:
        if not table[columns].equals(found[0][columns]):
            raise ValueError(f"the runs differ in {', '.join(columns)} of their test windows")
    return found


def _chosen(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """The label of each slice, and which windows are in it, `[W]` bool; all of them first."""
    yield ALL, np.ones(len(table), bool)
    for features in (*_CROSSED, *_MORE):
        values = [table[feature].to_numpy() for feature in features]
        for combination in sorted(set(zip(*values))):
            chosen = np.all([column == value for column, value in zip(values, combination)], axis=0)
            if all(combination) and (len(features) == 1 or chosen.sum() < len(table)):
                yield " ".join(f"{f}={v}" for f, v in zip(features, combination)), chosen


def _chosen_main(table: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """As `_chosen`, of the slices that tables show."""
    return ((label, chosen) for label, chosen in _chosen(table) if is_main(label))


def is_main(label: str) -> bool:
    """Whether a slice is one of those that tables show."""
    return label == ALL or names.USER_FREQUENCY in label or label.startswith(names.USER_STATUS)
