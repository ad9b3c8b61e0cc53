"""How often examples have their labels: counted while cutting, told afterwards."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from schemas import names

_POSITIVE, _UNKNOWN, _LACKING = "positive", "unknown", "lacking"


def count(split: str, label_names: Sequence[str], labels: np.ndarray) -> dict[Hashable, int]:
    """What is to be counted of a split's labels.

    Args:
      labels: `[B, T]`, of the examples that are written.
    """
    found: dict[Hashable, int] = {}
    for number, name in enumerate(label_names):
        found[split, _POSITIVE, name] = int((labels[:, number] == 1).sum())
        found[split, _UNKNOWN, name] = int((labels[:, number] == names.UNKNOWN_LABEL).sum())
    return found


def count_lacking(split: str, label_names: Sequence[str], lacking: np.ndarray) -> dict[Hashable, int]:
    """What is to be counted of labels that a missing number makes unknown.

    Args:
      lacking: which these are, `[B, T]` bool.
    """
    return {(split, _LACKING, name): int(lacking[:, at].sum()) for at, name in enumerate(label_names)}


def tell(label_names: Sequence[str], counted: Mapping[Hashable, int]) -> dict[str, Any]:
    """What `count` counted and how many examples were written, as plain values.

    Returns:
      By split and label the `positive_rate` of the known labels (None where there are none) and how many are
      `unknown`.
    """
    rates: dict[str, dict[str, float | None]] = {}
    unknown: dict[str, dict[str, int]] = {}
    for split in names.SPLITS:
        rates[split], unknown[split] = {}, {}
        for name in label_names:
            unknown[split][name] = counted.get((split, _UNKNOWN, name), 0)
            known = counted.get(split, 0) - unknown[split][name]
            positive = counted.get((split, _POSITIVE, name), 0)
            rates[split][name] = positive / known if known else None
    return {"positive_rate": rates, "unknown": unknown}


def tell_lacking(
    label_names: Sequence[str], counted: Mapping[Hashable, int]
) -> dict[str, dict[str, int]]:
    """How many of the unknown labels a missing number makes so, by split and label; see `count_lacking`."""
    return {
        split: {name: counted.get((split, _LACKING, name), 0) for name in label_names}
        for split in names.SPLITS
    }
