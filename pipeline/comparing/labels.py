"""Compares models that give probabilities of labels, on the test examples whose labels are known."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.evaluator import conversion
from pipeline.comparing import answers, paired_scores, runs
from pipeline.comparing.rows import Row, number
from schemas import errors, names

_MOST_EXAMPLES = 8192


def ask(run: runs.Trained) -> pd.DataFrame:
    """What the model of a run says of each of its test exposures.

    Asked of the model once; then read from `compare/` in the run's folder.

    Returns:
      A row an exposure: the key, the slices, and for each step its probability (by the step's name, float32)
      and `label_STEP` (int64, -1 if unknown).

    Raises:
      errors.InputError: if there are no test exposures, or the model does not answer for the steps.
    """
    return answers.kept("probabilities", run, ",".join(run.steps), _ask)


def _ask(run: runs.Trained) -> pd.DataFrame:
    import tensorflow as tf

    model, evaluate, files = answers.evaluate(run)
    missing = [step for step in run.steps if step not in evaluate.structured_outputs]
    if missing or not run.steps:
        raise errors.InputError(
            f"{run.folder}: its model gives {', '.join(sorted(evaluate.structured_outputs))}, not the steps of its "
            f"experiment ({', '.join(run.steps) or 'none'})"
        )
    features = answers.features(run.kind)
    for step in run.steps:
        features[names.LABEL_PREFIX + step] = tf.io.FixedLenFeature([], tf.int64)
    parts: list[dict[str, np.ndarray]] = []
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_MOST_EXAMPLES):
        answer = evaluate(examples=batch)
        part = answers.parsed(batch, features)
        part.update({step: answer[step].numpy() for step in run.steps})
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
    """What gives the metrics of all runs, and notes on them; see `ranking.measure`.

    Raises:
      errors.InputError: if the runs do not have the same labels.
    """
    # Violations of an order are compared where all models were made for one.
    chain = all(run.window.chain for run in all_runs)
    measured = Measured(tables, count_a, users, all_runs[0].steps, seed, chain)
    return measured, measured.notes()


class Measured:
    """Metrics of exposures of the runs of both sides; see `ranking.Measured`.

    Raises:
      errors.InputError: if the runs do not have the same labels.
    """

    resamples, max_units = paired_scores.RESAMPLES, paired_scores.MAX_UNITS

    def __init__(
        self,
        tables: Sequence[pd.DataFrame],
        count_a: int,
        users: np.ndarray,
        steps: Sequence[str],
        seed: int,
        chain: bool = True,
    ):
        columns = [names.LABEL_PREFIX + step for step in steps]
        self._labels = tables[0][columns].to_numpy()
        for table in tables[1:]:
            differing = int((table[columns].to_numpy() != self._labels).any(axis=1).sum())
            if differing:
                raise errors.InputError(
                    f"{differing:,} of {len(users):,} exposures have other labels in one run than in another: their "
                    f"windows know of other events (horizon, same_moment, censored, inconsistent)"
                )
        values = np.stack([table[list(steps)].to_numpy() for table in tables])
        self._a, self._b = values[:count_a], values[count_a:]
        self._users, self._steps, self._seed, self._chain = users, tuple(steps), seed, chain

    def notes(self) -> tuple[str, ...]:
        """Which labels are too scarce in all windows for intervals."""
        scarce = paired_scores.scarce(self._labels, self._users, self._steps)
        if not scarce:
            return ()
        return (
            f"Fewer than {conversion.MIN_USERS} users have, or lack, the label {', '.join(scarce)}, or few have most such "
            "examples: what ranks by it, and means over it, has no interval.",
        )

    def rows(self, chosen: np.ndarray) -> tuple[Row, ...]:
        """Of the chosen exposures, `[N]` bool."""
        codes = np.unique(self._users[chosen], return_inverse=True)[1]
        found = paired_scores.compare(
            self._a[:, chosen],
            self._b[:, chosen],
            self._labels[chosen],
            codes,
            self._steps,
            self._seed,
            chain=self._chain,
        )
        return tuple(self._row(name, one) for name, one in found.items())

    def _row(self, name: str, found: paired_scores.Difference) -> Row:
        bounded = found.low < found.high
        return Row(
            metric=name,
            a=number(found.a.mean()) if len(found.a) else None,
            b=number(found.b.mean()) if len(found.b) else None,
            a_sd=number(found.a.std(ddof=1)) if len(found.a) > 1 else None,
            b_sd=number(found.b.std(ddof=1)) if len(found.b) > 1 else None,
            difference=number(found.difference),
            low=found.low if bounded else None,
            high=found.high if bounded else None,
            p=number(found.p),
        )

    def p_method(self) -> str:
        """How the p values of the rows were made."""
        return "two-sided, of the same bootstrap: twice the smaller share of resamples on one side of zero"
