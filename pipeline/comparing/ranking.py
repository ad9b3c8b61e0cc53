"""Compares models that rank items: by where they rank the target of each test example."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.evaluator import ranks as rank_metrics
from components.evaluator import spec
from pipeline.comparing import answers, paired, runs
from pipeline.comparing.rows import Row
from schemas import names, ranks

# Outputs of `evaluate` that are kept.
_ASKED = (names.RANK, names.CANDIDATES, names.CATALOGUE_SIZE)
# Scores that are in memory at once: 128 MB of float32.
_SCORES = 1 << 25
_MOST_WINDOWS = 512


def ask(run: runs.Trained) -> pd.DataFrame:
    """Where the model of a run ranks the target of each of its test windows.

    Asked of the model once; then read from `compare/` in the run's folder.

    Returns:
      A row a window: the key, the slices, `rank` (float64, infinite for a target outside the
      catalogue), `catalogue_size` and, unless the model is too old to tell, `candidates`.

    Raises:
      errors.InputError: if there are no test windows, or the model has no `evaluate` signature.
    """
    return answers.kept("ranks", run, ",".join(_ASKED), _ask)


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
            if names.CANDIDATES in answer:
                part[names.CANDIDATES] = answer[names.CANDIDATES].numpy()
            parts.append(part)
    del model
    return answers.as_table(parts, run)


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
    return Measured(tables, count_a, users, cutoffs, sampled, seed), notes


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
        values = np.stack(
            [
                rank_metrics.metric_values(t[names.RANK], cutoffs, sampled_negatives, t.get(names.CANDIDATES))
                for t in tables
            ]
        )
        self._a, self._b, self._users, self._seed = values[:count_a], values[count_a:], users, seed
        self._names = spec.ranking_metrics(cutoffs, sampled_negatives)
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


def _cutoffs(run: runs.Trained) -> Sequence[int]:
    return run.settings.get("evaluation.cutoffs") or spec.EvaluationSpec().cutoffs


def _sampled(
    all_runs: Sequence[runs.Trained], tables: Sequence[pd.DataFrame]
) -> tuple[int | None, tuple[str, ...]]:
    """How many negatives the sampled metrics have (None: there are none of these), and notes on it."""
    asked = {run.settings.get("evaluation.sampled_negatives") for run in all_runs} - {None}
    if not asked:
        return None, ()
    silent = [run.folder for run, table in zip(all_runs, tables) if names.CANDIDATES not in table]
    if len(asked) > 1:
        why = f"the runs ask for {' and '.join(map(str, sorted(asked)))} negatives"
    elif silent:
        why = f"the model of {', '.join(silent)} does not tell how many candidates it ranks; train it again"
    else:
        (negatives,) = asked
        return negatives, (
            f"{spec.SAMPLED_PREFIX}{negatives} metrics rank among {negatives} other candidates drawn at "
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
