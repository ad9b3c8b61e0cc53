"""Axes of charts."""

import math


def ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """Round numbers that cover [low, high]."""
    span = (high - low) or abs(high) or 1.0
    raw = span / max(most - 1, 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= raw * 0.999)
    if whole:
        step = max(1.0, round(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(10, 3 - math.floor(math.log10(step)))
    return [round(index * step, digits) for index in range(first, max(last, first + 1) + 1)]
