"""Calibration after training: probabilities that are as large as what they are about is frequent."""

import numpy as np

# Of 1 - slope, as of a normal prior: keeps the slope finite where logits part the classes.
_SLOPE_PRIOR = 1.0
_STEPS = 50
_TOLERANCE = 1e-9


def platt(logits: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """The slope a > 0 and the offset b of sigmoid(a logit + b) (Platt 1999).

    Minimises the cross-entropy plus (a - 1)^2 / 2 by Newton's method. Since b is free, the mean of the
    probabilities is the share of the positives. Where the best slope is not above 0, the logits
    order exposures worse than chance; to turn their order round is not calibration, so a stays 1.

    Args:
      logits: `[n]`.
      labels: `[n]`, 0 or 1; if only one of them is there, nothing can be learnt, and the result is (1, 0).
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    if labels.size == 0 or labels.min() == labels.max():
        return 1.0, 0.0
    ones = np.ones_like(logits)
    slope, offset = _newton(np.stack([logits, ones]), logits, labels, np.array([_SLOPE_PRIOR, 0.0]))
    if slope > -1:
        return 1.0 + slope, offset
    return 1.0, _newton(ones[np.newaxis], logits, labels, np.array([0.0]))[0]


def _newton(columns: np.ndarray, base: np.ndarray, labels: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The theta that minimises the cross-entropy of base + theta columns, plus prior theta^2 / 2.

    Args:
      columns: `[k, n]`.
      base: `[n]`.
      labels: `[n]`.
      prior: `[k]`.

    Returns:
      `[k]`.
    """

    def loss(theta: np.ndarray) -> float:
        logits = base + theta @ columns
        return float(np.sum(np.logaddexp(0, logits) - labels * logits) + np.sum(prior * theta**2) / 2)

    theta = np.zeros(len(columns))
    current = loss(theta)
    for _ in range(_STEPS):
        likely = _sigmoid(base + theta @ columns)
        gradient = columns @ (likely - labels) + prior * theta
        # A little more than the curvature, which is 0 to the last bit where all logits are large.
        hessian = (columns * (likely * (1 - likely))) @ columns.T + np.diag(prior + 1e-6)
        step = np.linalg.solve(hessian, gradient)
        # Halved until the loss falls: far from the minimum Newton's step is too long.
        while loss(theta - step) > current and np.abs(step).max() > _TOLERANCE:
            step /= 2
        theta = theta - step
        current = loss(theta)
        if np.abs(step).max() <= _TOLERANCE:
            break
    return theta


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))
