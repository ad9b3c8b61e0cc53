"""What a comparison says of each metric on each slice."""

import dataclasses
from typing import Any

import numpy as np

from components.evaluator import slice_results


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric on one slice; None is what has no value.

    Attributes:
      metric: as `ndcg@10` or `auc/buy`; `relaimpr/buy` is RelaImpr (BPCM, eq. 14) of B over A, in `difference`.
      a, b: means over windows (and over seeds, where there are several).
      a_sd, b_sd: standard deviation of the mean between seeds; None for a single run.
      difference: b - a; `low` and `high` bound its 95 % interval (None where the users have no spread).
      p: two-sided; None where there is no test of it.
    """

    metric: str
    a: float | None
    b: float | None
    a_sd: float | None
    b_sd: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclasses.dataclass(frozen=True)
class SliceRows:
    """All metrics on one slice: pairs of feature and value, empty for all; `windows` counts exposures, too."""

    slice: slice_results.Slice
    windows: int
    users: int
    rows: tuple[Row, ...]


def number(value: Any) -> float | None:
    """A number as a plain one; None for what is none, or infinite."""
    return float(value) if np.isfinite(value) else None
