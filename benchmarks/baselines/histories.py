"""The histories of windows of a period as columns, and what practitioners count in them by hand.

Only what was known at the moment is read: the events of the history, the moment, attributes of the user, and, apart from all
of it, the labels. No feature of what follows (`future_*`, `target_*`) is parsed.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from components.behavior_example_gen import spec
from schemas import names

_BATCH = 8192
_DAY_MS = 86_400_000.0
# Counts are of all of the history, and of so many days before the moment.
_DAYS = (1, 7, 30)
# Of texts with more values the most frequent ones have counts of their own.
_MOST_VALUES = 20


@dataclasses.dataclass(frozen=True)
class Columns:
    """What a log has of an event and of a user, by the names of the features.

    Attributes:
      texts, numbers: of an event, as `item_id`, `behavior`, `context_price`.
      user: texts of the user, as `user_country`.
      products: pairs of numbers that labels multiply, as a price and a quantity.
      labels: their names.
      asked: what labels ask of the events that follow, by text the values that one of them has; each once, and none that is
        any event.
    """

    texts: tuple[str, ...]
    numbers: tuple[str, ...]
    user: tuple[str, ...]
    products: tuple[tuple[str, str], ...]
    labels: tuple[str, ...]
    asked: tuple[Mapping[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, columns: spec.Columns, labels: Mapping[str, Any]) -> "Columns":
        """Of `log.columns` and `window.labels`."""
        attributes = columns.attributes()
        own = [name for name in (names.BEHAVIOR, names.SCENE) if getattr(columns, name)]
        of_event = {
            name: one.type for name, one in attributes.items() if not name.startswith(names.USER_PREFIX)
        }
        products = {(label.sum, label.times): None for label in labels.values() if label.times}
        matches = [label.match for label in labels.values()]
        return cls(
            (names.ITEM_ID, *own, *(name for name, kind in of_event.items() if kind == spec.CATEGORICAL)),
            tuple(name for name, kind in of_event.items() if kind == spec.NUMERIC),
            tuple(name for name in attributes if name.startswith(names.USER_PREFIX)),
            tuple(products),
            tuple(labels),
            tuple(match for place, match in enumerate(matches) if match and match not in matches[:place]),
        )

    def read(self) -> tuple[str, ...]:
        """The features of an example that are read, but for the labels."""
        events = (*self.texts, names.TIMESTAMP, *self.numbers)
        return (*(names.HISTORY_PREFIX + name for name in events), names.MOMENT, *self.user)


@dataclasses.dataclass(frozen=True)
class Histories:
    """The histories of W windows with E events in all, window by window, oldest first.

    Attributes:
      moment: `[W]`, ms.
      lengths: `[W]`, events.
      times: `[E]`, ms.
      texts: `[E]` each, bytes.
      numbers: `[E]` each, not a number where one is missing.
      user: `[W]` each, bytes.
      labels: `[W, T]`, 1, 0 or UNKNOWN_LABEL.
    """

    moment: np.ndarray
    lengths: np.ndarray
    times: np.ndarray
    texts: Mapping[str, np.ndarray]
    numbers: Mapping[str, np.ndarray]
    user: Mapping[str, np.ndarray]
    labels: np.ndarray

    @property
    def window(self) -> np.ndarray:
        """The window of each event, `[E]`."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)


def files(examples_uri: str, split: str) -> list[str]:
    """The files of a split of BehaviorExampleGen's examples."""
    import tensorflow as tf

    return sorted(tf.io.gfile.glob(os.path.join(examples_uri, f"Split-{split}", "*")))


def read(paths: Sequence[str], columns: Columns) -> Histories:
    """Reads windows of a period.

    Args:
      paths: of gzip TFRecords of tf.Examples.
      columns: what there is.
    """
    import tensorflow as tf

    def history(kind: Any) -> Any:
        return tf.io.RaggedFeature(kind, row_splits_dtype=tf.int64)

    wanted: dict[str, Any] = {names.HISTORY_PREFIX + name: history(tf.string) for name in columns.texts}
    wanted |= {names.HISTORY_PREFIX + name: history(tf.float32) for name in columns.numbers}
    wanted[names.HISTORY_TIMESTAMP] = history(tf.int64)
    wanted[names.MOMENT] = tf.io.FixedLenFeature([], tf.int64)
    wanted |= {name: tf.io.FixedLenFeature([], tf.string, default_value="") for name in columns.user}
    labels = [names.LABEL_PREFIX + name for name in columns.labels]
    parts = []
    records = tf.data.TFRecordDataset(list(paths), compression_type="GZIP")
    for batch in records.batch(_BATCH):
        # Labels apart: nothing that features are made of is beside them.
        parsed = tf.io.parse_example(batch, wanted)
        known = tf.io.parse_example(batch, {name: tf.io.FixedLenFeature([], tf.int64) for name in labels})
        parts.append((parsed, np.stack([known[name].numpy() for name in labels], axis=1)))

    def flat(name: str) -> np.ndarray:
        found = (part[name] for part, _ in parts)
        return np.concatenate([(v.flat_values if hasattr(v, "flat_values") else v).numpy() for v in found])

    lengths = np.concatenate([part[names.HISTORY_TIMESTAMP].row_lengths().numpy() for part, _ in parts])
    return Histories(
        moment=flat(names.MOMENT),
        lengths=lengths,
        times=flat(names.HISTORY_TIMESTAMP),
        texts={name: flat(names.HISTORY_PREFIX + name) for name in columns.texts},
        numbers={name: flat(names.HISTORY_PREFIX + name).astype(np.float64) for name in columns.numbers},
        user={name: flat(name) for name in columns.user},
        labels=np.concatenate([found for _, found in parts]),
    )


def known(
    features: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], split: str
) -> tuple[np.ndarray, np.ndarray]:
    """The features and the labels of the windows of a split whose label is known."""
    there = labels[split] >= 0
    return features[split][there], labels[split][there]


def constant(features: Mapping[str, np.ndarray], y: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    """What is said of the test windows where one value of the label is all there is to learn from."""
    return np.full(len(features[names.TEST]), float(y.mean()) if len(y) else 0.5), {"constant": True}


class Counts:
    """Features that are counted by hand: how many events, of what, how recent, how regular, of which sums.

    What a label asks about is counted, too: who knows the question counts how often it was so before.

    Args:
      columns: what there is.
      train: whose most frequent texts have counts of their own.
    """

    def __init__(self, columns: Columns, train: Histories):
        self._columns = columns
        self._values = {name: _most_frequent(train.texts[name]) for name in columns.texts}
        self._user = {name: _most_frequent(train.user[name], 254) for name in columns.user}
        self._asked = [match for match in columns.asked if not self._counted(match)]

    def _counted(self, match: Mapping[str, tuple[str, ...]]) -> bool:
        """Whether what a label asks is one text that has counts of its own."""
        texts = [(name, value) for name, values in match.items() for value in values]
        return len(texts) == 1 and texts[0][1].encode() in self._values[texts[0][0]]

    def of(self, found: Histories) -> dict[str, np.ndarray]:
        """The features of windows, by name: `[W]` float64 each, not a number where one has no value."""
        window, count = found.window, len(found.lengths)
        age = (found.moment[window] - found.times) / _DAY_MS
        result = _of_times(age, window, count)
        within = {"": np.ones(len(age), bool), **{f"_{days}d": age <= days for days in _DAYS}}
        for suffix, chosen in within.items():
            result[f"events{suffix}"] = _sum(chosen, window, count)
            result[f"items{suffix}"] = _distinct(found.texts[names.ITEM_ID][chosen], window[chosen], count)
        for name, same in self._told_apart(found.texts):
            for suffix, chosen in within.items():
                result[f"{name}{suffix}"] = _sum(same & chosen, window, count)
            result[f"{name}_age"] = _least(age[same], window[same], count)
        amounts = {name: found.numbers[name] for name in self._columns.numbers}
        for one, other in self._columns.products:
            amounts[f"{one}*{other}"] = found.numbers[one] * found.numbers[other]
        for name, values in amounts.items():
            there = np.isfinite(values)
            for suffix, chosen in within.items():
                which = there & chosen
                total = _sum(np.where(which, values, 0.0), window, count)
                result[f"{name}_sum{suffix}"] = total
                result[f"{name}_mean{suffix}"] = _over(total, _sum(which, window, count))
            result[f"{name}_least"] = _least(values[there], window[there], count)
            result[f"{name}_most"] = -_least(-values[there], window[there], count)
        for name, known in self._user.items():
            result[name] = _places(found.user[name], known).astype(np.float64)
        return result

    def _told_apart(self, texts: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """Which events are counted for themselves, `[E]` bool each: of a frequent text, or what a label asks about."""
        for name, values in self._values.items():
            for value in values:
                yield f"{name}={value.decode('utf-8', 'replace')}", texts[name] == value
        for place, match in enumerate(self._asked):
            parts = [
                np.isin(texts[name], [value.encode() for value in values]) for name, values in match.items()
            ]
            yield f"asked_{place}", np.logical_and.reduce(parts)

    @property
    def categorical(self) -> tuple[str, ...]:
        """The features that are codes."""
        return self._columns.user


def _of_times(age: np.ndarray, window: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """How old events are, in days, and how long it is from one to the next."""
    events = _sum(np.ones(len(age)), window, count)
    same = window[1:] == window[:-1]
    gap, at = (age[:-1] - age[1:])[same], window[1:][same]
    mean = _over(_sum(gap, at, count), events - 1)
    spread = _over(_sum((gap - mean[at]) ** 2, at, count), events - 1)
    latest, earliest = _least(age, window, count), -_least(-age, window, count)
    return {
        "age_latest": latest,
        "age_earliest": earliest,
        "age_mean": _over(_sum(age, window, count), events),
        "span": earliest - latest,
        "days": _distinct(np.floor(age), window, count),
        "gap_mean": mean,
        "gap_deviation": np.sqrt(spread),
        "gap_most": -_least(-gap, at, count),
        "age_over_gap": _over(latest, mean),
    }


def _most_frequent(values: np.ndarray, most: int = _MOST_VALUES) -> list[bytes]:
    codes, found = pd.factorize(values, sort=True)
    order = np.argsort(-np.bincount(codes, minlength=len(found)), kind="stable")
    return [found[place] for place in order[:most]]


def _places(values: np.ndarray, known: Sequence[bytes]) -> np.ndarray:
    """The place of each value among those known, behind them for all others."""
    found = pd.Index(np.array(list(known), object)).get_indexer(values)
    return np.where(found < 0, len(known), found)


def _sum(values: np.ndarray, window: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(window, np.asarray(values, np.float64), minlength=count)


def _distinct(values: np.ndarray, window: np.ndarray, count: int) -> np.ndarray:
    """How many different values each window has."""
    codes, found = pd.factorize(values)
    size = max(len(found), 1)
    return np.bincount(pd.unique(window * size + codes) // size, minlength=count).astype(np.float64)


def _least(values: np.ndarray, window: np.ndarray, count: int) -> np.ndarray:
    """The least value of each window, whose events are neighbours; not a number of none."""
    found = np.full(count, np.nan)
    if len(values):
        first = np.flatnonzero(np.concatenate([[True], window[1:] != window[:-1]]))
        found[window[first]] = np.minimum.reduceat(values, first)
    return found


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
