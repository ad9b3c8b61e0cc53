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

    resamples, max_units = paired.RESAMPLES, paired.MAX_UNITS

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
        if len(np.unique(users)) < 2:
            return (Row(embeddings.AGREEMENT, *[None] * 8),)
        values = np.stack(
            [embeddings.agreements(vectors[rows], users, following)[0] for vectors in self._vectors]
        )
        a, b = values[: self._count_a], values[self._count_a :]
        codes = np.unique(users, return_inverse=True)[1]
        found = paired.compare((b.mean(axis=0) - a.mean(axis=0))[:, np.newaxis], codes, self._seed)
        low, high = float(found.low[0]), float(found.high[0])
        return (
            Row(
                metric=embeddings.AGREEMENT,
                a=float(a.mean()),
                b=float(b.mean()),
                a_sd=float(a.mean(axis=1).std(ddof=1)) if len(a) > 1 else None,
                b_sd=float(b.mean(axis=1).std(ddof=1)) if len(b) > 1 else None,
                difference=float(found.difference[0]),
                low=low if low < high else None,
                high=high if low < high else None,
                p=float(found.p[0]),
            ),
        )

    def p_method(self) -> str:
        """How the p values of the rows were made."""
        return "two-sided, paired randomisation (sign-flip) over users"
