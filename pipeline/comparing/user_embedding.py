"""Compares models of users' embeddings: by how alike what users with near embeddings do next is."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipeline.comparing import answers, paired, runs
from pipeline.comparing.rows import Row
from schemas import embeddings, errors, names

_MOST_WINDOWS = 512


def ask(run: runs.Trained) -> pd.DataFrame:
    """The embeddings of a run's test windows, and hashes of the items that follow.

    Asked of the model once; then read from `compare/` in the run's folder.

    Returns:
      A row a window: the key, the slices, `embedding` (a list of float32) and `following` (a list of int64).

    Raises:
      errors.InputError: if there are no test windows, or the model has no `evaluate` signature.
    """
    return answers.kept("embeddings", run, f"{names.EMBEDDING},{names.FOLLOWING}", _ask)


def _ask(run: runs.Trained) -> pd.DataFrame:
    import tensorflow as tf

    model, evaluate, files = answers.evaluate(run)
    features, parts = answers.features(run.kind), []
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_MOST_WINDOWS):
        answer, part = evaluate(examples=batch), answers.parsed(batch, features)
        following = answer[names.FOLLOWING].numpy()
        part[names.EMBEDDING] = _lists(answer[names.EMBEDDING].numpy())
        part[names.FOLLOWING] = _lists([row[row != names.NOTHING_FOLLOWS] for row in following])
        parts.append(part)
    del model
    return answers.as_table(parts, run)


def _lists(rows: Sequence[np.ndarray]) -> np.ndarray:
    found = np.empty(len(rows), object)
    found[:] = [row.tolist() for row in rows]
    return found


def measure(
    all_runs: Sequence[runs.Trained],
    tables: Sequence[pd.DataFrame],
    count_a: int,
    users: np.ndarray,
    seed: int,
) -> tuple["Measured", tuple[str, ...]]:
    """What gives the metrics of all runs, and notes on them; see `ranking.measure`.

    Raises:
      errors.InputError: if the windows that all runs have are of one user, who has nobody to be compared with, or if other
        items follow them in one run than in another.
    """
    if len(np.unique(users)) < 2:
        raise errors.InputError(
            f"{all_runs[0].folder}: all runs together have test windows of fewer than two users, too few to compare "
            "embeddings of users"
        )
    following = tables[0][names.FOLLOWING].map(sorted)
    for run, table in zip(all_runs[1:], tables[1:]):
        differing = int((table[names.FOLLOWING].map(sorted) != following).sum())
        if differing:
            raise errors.InputError(
                f"{run.folder}: other items follow {differing:,} of {len(users):,} windows than in {all_runs[0].folder}: their "
                "window.future or max_future is another"
            )
    drawn = f"Of {len(users):,} windows {embeddings.MOST:,} are drawn, the same ones for all runs."
    return Measured(tables, count_a, users, seed), ((drawn,) if len(users) > embeddings.MOST else ())


class Measured:
    """Neighbour agreement of the runs of both sides on any of their windows; see `ranking.Measured`.

    Of more windows than `embeddings.MOST` so many are drawn, the same ones for all runs.
    """

    # Users are never put together: there are as many windows at most as are drawn.
    resamples, max_units = 2_000, np.iinfo(np.int64).max
    # Of fewer users resamples have too few other pairs: with two users they all have the same one.
    min_users = 10

    def __init__(self, tables: Sequence[pd.DataFrame], count_a: int, users: np.ndarray, seed: int):
        self._vectors = [np.array(table[names.EMBEDDING].to_list(), np.float32) for table in tables]
        self._following = [np.array(each, np.int64) for each in tables[0][names.FOLLOWING]]
        self._count_a, self._users, self._seed = count_a, users, seed

    def rows(self, chosen: np.ndarray) -> tuple[Row, ...]:
        """Of the chosen windows, `[W]` bool; without values where they are of one user."""
        rows = np.flatnonzero(chosen)
        if len(rows) > embeddings.MOST:
            rows = np.sort(np.random.default_rng(self._seed).permutation(rows)[: embeddings.MOST])
        users, following = self._users[rows], [self._following[row] for row in rows]
        distinct, codes = np.unique(users, return_inverse=True)
        if len(distinct) < 2:
            return (Row(embeddings.AGREEMENT, *[None] * 8),)
        found = [embeddings.Agreements(vectors[rows], users, following) for vectors in self._vectors]
        values = np.stack([one.nearest for one in found])
        a, b = values[: self._count_a], values[self._count_a :]
        resampled = self._resampled(found, codes.reshape(-1))
        low, high = np.quantile(resampled, [(1 - paired.LEVEL) / 2, (1 + paired.LEVEL) / 2]).tolist()
        told = len(distinct) >= self.min_users
        return (
            Row(
                metric=embeddings.AGREEMENT,
                a=float(a.mean()),
                b=float(b.mean()),
                a_sd=float(a.mean(axis=1).std(ddof=1)) if len(a) > 1 else None,
                b_sd=float(b.mean(axis=1).std(ddof=1)) if len(b) > 1 else None,
                difference=float(b.mean() - a.mean()),
                low=low if told and low < high else None,
                high=high if told and low < high else None,
                p=_p_value(resampled) if told else 1.0,
            ),
        )

    def _resampled(self, found: Sequence[embeddings.Agreements], users: np.ndarray) -> np.ndarray:
        """The difference of the sides' means over resamples of the users: `[R]`.

        A sign flip, as by which other metrics are compared, would take users for independent of each other: see
        `Agreements.nearest_means`.
        """
        weights = redrawn(users, self.resamples, self._seed)
        means = np.stack([one.nearest_means(weights) for one in found])
        differences = means[self._count_a :].mean(axis=0) - means[: self._count_a].mean(axis=0)
        return differences[np.isfinite(differences)]

    def p_method(self) -> str:
        """How the p values of the rows were made."""
        return (
            "two-sided, how often resamples of the users have no difference, or one of the other sign; 1 of fewer than "
            f"{self.min_users} users"
        )


def redrawn(users: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """How often each window counts in resamples of the users: codes 0..U-1 `[W]` to float64 `[W, R]`."""
    units = int(users.max()) + 1
    found = np.random.default_rng(seed).multinomial(units, np.full(units, 1 / units), resamples)
    return found.T[users].astype(np.float64)


def _p_value(resampled: np.ndarray) -> float:
    """Of the hypothesis that there is no difference, by the resamples that the interval is of."""
    fewer = min(np.count_nonzero(resampled <= 0), np.count_nonzero(resampled >= 0))
    return min(1.0, 2 * (fewer + 1) / (len(resampled) + 1))
