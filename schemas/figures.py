"""Metrics as text: the one way in which terminals, pages and verdicts write them."""

import math
from typing import Any

import numpy as np

NOTHING = "–"
MINUS = "\u2212"
_TINY = 0.00005


def is_number(value: Any) -> bool:
    """Whether this is a finite number."""
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def metric(value: Any) -> str:
    """A metric with four decimals; in another way where it would read as zero, NOTHING for what is no number.

    >>> metric(0.12345), metric(0.0), metric(-0.00001234), metric(None)
    ('0.1235', '0.0000', '-1.2e-05', '–')
    """
    if not is_number(value):
        return NOTHING
    return f"{value:.1e}" if value and abs(value) < _TINY else f"{value:.4f}"


def signed(value: Any, minus: str = "-") -> str:
    """A difference of metrics: four decimals and a sign, unless all of these are 0.

    Args:
      value: the difference.
      minus: the sign of one below 0; a page has MINUS, a terminal what can be copied.

    >>> signed(0.5), signed(-0.5), signed(-0.00001)
    ('+0.5000', '-0.5000', '0.0000')
    """
    if not is_number(value):
        return NOTHING
    text = f"{abs(value):.4f}"
    return text if float(text) == 0 else ("+" if value > 0 else minus) + text


def estimate(value: Any, low: Any = None, high: Any = None) -> str:
    """A metric with its interval, if it has one.

    >>> estimate(0.1092, 0.0934, 0.1251)
    '0.1092 [0.0934, 0.1251]'
    """
    return metric(value) if low is None else f"{metric(value)} [{metric(low)}, {metric(high)}]"


def mean(value: Any, deviation: Any = None) -> str:
    """A mean of metrics and their standard deviation, if there is one.

    >>> mean(0.5, 0.01), mean(0.5)
    ('0.5000 ± 0.0100', '0.5000')
    """
    return metric(value) if deviation is None else f"{metric(value)} ± {metric(deviation)}"


def duration(seconds: float) -> str:
    """A time in its largest unit.

    >>> duration(129_600), duration(90)
    ('1.5d', '1.5m')
    """
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
