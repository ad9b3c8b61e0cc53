"""How the signature that tells the times of training is tried, for any kind of model."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from schemas import names
from serving import training_times


def make_request(known: Mapping[str, Any], rows: int) -> dict[str, dict[str, np.ndarray]]:
    """A request by the signature's name; none for a model without it."""
    if training_times.SIGNATURE not in known:
        return {}
    return {training_times.SIGNATURE: {names.TIMESTAMP: np.zeros(rows, np.int64)}}


def check(outputs: Mapping[str, np.ndarray]) -> str:
    """`ok`, or what is wrong with the answer."""
    first, last = outputs[training_times.FIRST], outputs[training_times.LAST]
    return "ok" if (first <= last).all() else f"training ends at {last[0]}, before it begins at {first[0]}"
