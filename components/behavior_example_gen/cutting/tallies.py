"""How often examples have their labels: counted while cutting, told afterwards."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import names

_POSITIVE, _UNKNOWN, _LACKING = "positive", "unknown", "lacking"
_VALUE = "value"
# A column of ids may have millions of values: of those that nobody asks for, the most frequent ones of a shard count.
_OTHERS = 100


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


def positive(split: str, name: str, counted: Mapping[Hashable, int]) -> int:
    """How many examples of a split have a label; see `count`."""
    return counted.get((split, _POSITIVE, name), 0)


def count_lacking(split: str, label_names: Sequence[str], lacking: np.ndarray) -> dict[Hashable, int]:
    """What is to be counted of sums of events some of which lack a number.

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
            rates[split][name] = positive(split, name, counted) / known if known else None
    return {"positive_rate": rates, "unknown": unknown}


def never_known(label_names: Sequence[str], counted: Mapping[Hashable, int]) -> list[tuple[str, str]]:
    """The labels, each with a split, of which no example is known where one has to be; see `tell`.

    In train nothing could be learnt of it, in test it could not be measured; in eval other labels say when to stop training.
    """
    unknown = tell(label_names, counted)["unknown"]
    return [
        (name, split)
        for name in label_names
        for split in (names.TRAIN, names.TEST)
        if unknown[split][name] == counted[split]
    ]


def tell_lacking(label_names: Sequence[str], counted: Mapping[Hashable, int]) -> dict[str, dict[str, int]]:
    """How many windows add up events some of which lack a number, by split and label; see `count_lacking`."""
    return {
        split: {name: counted.get((split, _LACKING, name), 0) for name in label_names}
        for split in names.SPLITS
    }


def count_values(feature: str, column: pa.Array, wanted: Sequence[str]) -> dict[Hashable, int]:
    """How many events of a shard have each value of a feature: those that are wanted, and the most frequent ones.

    Args:
      column: of binary, `[E]`.
    """
    counted = pc.value_counts(column.drop_null())
    values, sizes = counted.field("values"), counted.field("counts").to_numpy()
    asked = pc.is_in(values, value_set=pa.array([value.encode("utf-8") for value in wanted], values.type))
    frequent = np.argsort(-sizes, kind="stable")[:_OTHERS]
    kept = np.union1d(np.flatnonzero(asked.to_numpy(zero_copy_only=False)), frequent)
    texts = [value.decode("utf-8", "replace") for value in values.take(pa.array(kept)).to_pylist()]
    return {(_VALUE, feature, text): size for text, size in zip(texts, sizes[kept].tolist())}


def tell_values(feature: str, counted: Mapping[Hashable, int]) -> dict[str, int]:
    """How many events have each value of a feature; see `count_values`."""
    return {
        key[2]: number
        for key, number in counted.items()
        if isinstance(key, tuple) and key[:2] == (_VALUE, feature)
    }
