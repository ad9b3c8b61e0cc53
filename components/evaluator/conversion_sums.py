"""What is kept of the examples of a slice: sums by group of users, label and cell of the score.

4,096 cells are equally wide in logits, so that scores in one cell differ by less than 0.8 % in odds (the AUC that
they would add among themselves is lost: about 1e-4, less where scores spread); sums of probabilities and losses
are exact. The counts are sparse and merge by addition: memory grows with the examples only up to cells x groups.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CELLS = 4096
_CELLS_PER_LOGIT = 128  # from -16 to 16: a probability of 1e-7, and of 1 - 1e-7


class Example(NamedTuple):
    """A hash of the user, the labels, and the probabilities of each model in turn."""

    user: int
    labels: tuple[int, ...]
    probabilities: tuple[float, ...]


def cells(probabilities: np.ndarray) -> np.ndarray:
    """The cell of each probability: any shape, int64 from 0 to 4,095, ascending."""
    p = np.clip(np.asarray(probabilities, np.float64), 1e-9, 1 - 1e-9)
    logits = np.log(p) - np.log1p(-p)
    return np.clip(np.floor(logits * _CELLS_PER_LOGIT).astype(np.int64) + CELLS // 2, 0, CELLS - 1)


@dataclasses.dataclass
class Sums:
    """What a slice has seen.

    Attributes:
      keys: `[K]` int64, ascending: (((column * groups) + group) * 2 + label) * cells + cell, a column
        being a step of a model.
      values: `[K, 3]` float64 by key: examples, probabilities, log losses.
      recent: keys and values as they came, to be added to those when they are as many.
      examples: `[G]`, by group of users.
      violations: `[models, G]`, of the order of a chain; zero where there is none.
      pending: examples not yet counted.
    """

    keys: np.ndarray
    values: np.ndarray
    recent: list[tuple[np.ndarray, np.ndarray]]
    examples: np.ndarray
    violations: np.ndarray
    pending: list[Example]


def add(sums: Sums, parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Keeps keys and values, and adds them up when they outnumber the sums: few sorts, not one a batch."""
    sums.recent.extend(part for part in parts if len(part[0]))
    if sum(len(keys) for keys, _ in sums.recent) > len(sums.keys):
        add_up(sums)


def add_up(sums: Sums) -> Sums:
    """Leaves each key once, in ascending order."""
    if sums.recent:
        parts = [(sums.keys, sums.values), *sums.recent]
        sums.keys, inverse = np.unique(np.concatenate([keys for keys, _ in parts]), return_inverse=True)
        values = np.concatenate([values for _, values in parts])
        columns = [np.bincount(inverse, column, minlength=len(sums.keys)) for column in values.T]
        sums.values, sums.recent = np.stack(columns, axis=1), []
    return sums
