"""What TFMA's thresholds see of lifts and drops: a difference counts only beyond its own interval.

The blessing is TFMA's validation of metrics against thresholds, on any runner. So that noise decides
nothing, the metrics that have thresholds are bounds of intervals:

  whole split, lift    the lower bound: what is asked must be shown
  slice, lift          the upper bound: a slice blocks a model only if it shows less than is asked
  drop, on both        the change, or 0 if its interval has 0 in it: a drop within the noise is none

Without an interval, as of one user, nothing tells what noise is: the whole split then shows neither a lift nor that
there is no drop, and a slice decides nothing.

With several slices, or on few examples, to ask each for a proof would stop any model; and two trainings of
one model differ by noise alone. Both errors have the probability (1 - confidence) / 2.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from components.evaluator import bootstrap, spec

# Of the whole split, and of slices.
GATE_PREFIX = "gate/"
SLICE_PREFIX = "slice/"
# What a slice gets that decides nothing: it passes any threshold.
PASSES_LIFT, PASSES_DROP = np.inf, 0.0


class Difference(NamedTuple):
    """An estimate (not a number where there is none), its standard error, and the degrees of freedom of that.

    There is no interval with an error that is not a number or without a degree of freedom.
    """

    value: float
    error: float = np.nan
    freedom: int = 0

    @property
    def has_interval(self) -> bool:
        """Whether there is one."""
        return self.freedom >= 1 and bool(np.isfinite(self.error))


@dataclasses.dataclass(frozen=True)
class Gate:
    """Makes the metrics with thresholds.

    Attributes:
      metric: of lift and drop (of exposures, of the drop alone).
      min_examples: a slice with fewer decides nothing.
      confidence: of intervals; None or 0 takes the estimates.
      min_positives: of exposures: a slice with fewer positive or negative labels decides nothing.
    """

    metric: str
    min_examples: int
    confidence: float | None = None
    min_positives: int = 0

    def lift(self, found: Difference) -> float:
        """What the whole split shows at least."""
        if not self.confidence or np.isnan(found.value):
            return found.value
        return bootstrap.bounds(*found, self.confidence)[0]

    def slice_lift(self, found: Difference, decides: bool) -> float:
        """What a slice shows at most."""
        if not decides or np.isnan(found.value):
            return PASSES_LIFT
        return bootstrap.bounds(*found, self.confidence)[1] if self.confidence else found.value

    def drop(self, found: Difference) -> float:
        """The change of the metric from the baseline's, as far as it is none for the better or of noise.

        Without an interval it is as bad as can be.
        """
        if not self.confidence or np.isnan(found.value):
            return found.value
        lower_is_better = spec.lower_is_better(self.metric)
        if not found.has_interval:
            return np.inf if lower_is_better else -np.inf
        low, high = bootstrap.bounds(*found, self.confidence)
        worse = low > 0 if lower_is_better else high < 0
        return found.value if worse else PASSES_DROP

    @staticmethod
    def reference(baseline: float) -> float:
        """What TFMA divides a drop by: the baseline's metric. Without any, or of 0, nothing can be lost."""
        return baseline if baseline > 0 else float(np.finfo(np.float64).tiny)

    def slice_drop(self, found: Difference, decides: bool) -> float:
        """As `drop`, of a slice, which decides nothing where there is no interval either."""
        if not decides or np.isnan(found.value):
            return PASSES_DROP
        if self.confidence and not found.has_interval:
            return PASSES_DROP
        return self.drop(found)
