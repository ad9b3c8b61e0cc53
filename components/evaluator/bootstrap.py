"""Poisson bootstrap over users, whose weights are functions of the user alone.

The events of one user are not independent, so users are resampled, not examples; with one
example per user the two are the same. A user's weight in a resample comes from a hash of the
user, so workers need not meet, models are compared on the same resamples, and two runs give
equal intervals (Chamandy et al., "Estimating uncertainty for massive data streams", 2012). TFMA's
own bootstrap calls Python for each example in each resample.
"""

import functools
import hashlib
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma
from scipy import stats

from schemas import hashing, names

# The standard error has a relative error of 1 / sqrt(2 * 200) = 5 %.
RESAMPLES = 200


def user_hash(extracts: dict[str, Any]) -> int:
    """64 bits of the user of an example in TFMA's extracts.

    Raises:
      ValueError: if the example has no user, or several.
    """
    value = np.asarray(extracts[tfma.FEATURES_KEY].get(names.USER_ID, ())).reshape(-1)
    if value.size != 1:
        raise ValueError(f"intervals need one {names.USER_ID} per example, found {value.size}")
    data = value[0] if isinstance(value[0], bytes) else str(value[0]).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


_STREAMS = np.arange(1, RESAMPLES + 1, dtype=np.uint64) * hashing.GAMMA
# P(X <= x) for x = 0..10 of a Poisson variable with mean 1, as 32-bit fractions.
_POISSON_STEPS = np.floor(
    np.exp(-1.0) * np.cumsum(1.0 / np.concatenate([[1.0], np.cumprod(np.arange(1.0, 11.0))])) * 2.0**32
).astype(np.uint32)


def poisson_weights(users: np.ndarray) -> np.ndarray:
    """How often each resample takes each user: Poisson(1), a function of the user's hash alone.

    Args:
      users: uint64 `[B]`.

    Returns:
      float64 `[B, RESAMPLES]`.
    """
    uniform = (hashing.finalise(users[:, None] + _STREAMS[None, :]) >> np.uint64(32)).astype(np.uint32)
    return np.searchsorted(_POISSON_STEPS, uniform, side="right").astype(np.float64)


@functools.lru_cache(maxsize=1024)
def quantile(freedom: int, confidence: float = 0.95) -> float:
    """The factor between a standard error and half of an interval, of Student's t."""
    return float(stats.t.ppf((1 + confidence) / 2, freedom))


def bounds(value: float, error: float, freedom: int, confidence: float) -> tuple[float, float]:
    """The bounds of an interval: all numbers where there is no standard error."""
    if freedom < 1 or not np.isfinite(error):
        return -np.inf, np.inf
    reach = quantile(freedom, confidence) * error
    return value - reach, value + reach
