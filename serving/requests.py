"""Plain values to the tensors that signatures take: exposures (`serving.conversion`) and histories (`serving.signatures`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from schemas import names
from serving import moments, tensors

PREDICT = "predict"
PREDICT_CANDIDATES = "predict_candidates"
HISTORY_KEY = "history"
# Nothing can stand for these.
REQUIRED = (names.ITEM_ID, names.TIMESTAMP)
# Of an exposure or of a window of a period; the latter need not be told, see `moments`.
_TIMES = (names.TIMESTAMP, names.MOMENT)
# What stands for a missing value, by the name of its type.
BLANKS = {"string": "", "float32": float("nan"), "int64": 0}

Row = Mapping[str, Any]
# Looks at times, each with its place for messages.
CheckTimes = Callable[[Sequence[tuple[str, int]]], None]


def is_of_item(name: str) -> bool:
    """Whether an input belongs to the item."""
    return name.startswith(names.ITEM_PREFIX)


def is_of_user(name: str) -> bool:
    """Whether an input is the id or an attribute of a user."""
    return name.startswith(names.USER_PREFIX)


def is_of_history(name: str) -> bool:
    """Whether an input has a value for each event of a history."""
    return name.startswith(names.HISTORY_PREFIX)


def _any_time(given: Sequence[tuple[str, int]]) -> None:
    del given


def of_exposures(
    takes: Mapping[str, Any],
    rows: Sequence[Row],
    check_times: CheckTimes = _any_time,
    places: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """The inputs of PREDICT.

    Args:
      takes: the inputs of the signature: name to `TensorInfo`.
      rows: a dict an exposure, see `serving.client.Client.predict_exposures`.
      check_times: is given all times, those of histories, too.
      places: where each row is from, for messages; None: their numbers.

    Raises:
      ValueError: for a value that is missing, unknown or of another type, with its row and event.
    """
    return _columns(takes, rows, places or numbered("exposure", len(rows)), check_times)


def numbered(what: str, count: int) -> list[str]:
    """Places by their numbers, from 0 on."""
    return [f"{what} {number}" for number in range(count)]


def of_candidates(
    takes: Mapping[str, Any],
    user: Row,
    history: Sequence[Row],
    candidates: Sequence[Row],
    check_times: CheckTimes = _any_time,
) -> dict[str, np.ndarray]:
    """The inputs of PREDICT_CANDIDATES for one user; see `of_exposures`."""
    shared = {name: info for name, info in takes.items() if not is_of_item(name)}
    of_item = {name: info for name, info in takes.items() if is_of_item(name)}
    given = {**user, HISTORY_KEY: history} if history else user
    items = _columns(of_item, candidates, numbered("candidate", len(candidates)), check_times, leading=2)
    return {
        **_columns(shared, [given], numbered("user", 1), check_times),
        **{name: value[np.newaxis] for name, value in items.items()},
    }


def of_histories(
    takes: Mapping[str, Any],
    histories: Sequence[Sequence[Row]],
    now: int | None = None,
    check_times: CheckTimes = _any_time,
    places: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Histories as padded tensors, and the moment, the same for all, of what a signature takes.

    Args:
      takes: the inputs of the signature: name to `TensorInfo`.
      histories: lists of events, see `serving.client.Client`.
      now: the moment, ms; None: right after the last event of each history.
      check_times: is given all times.
      places: where each history is from, for messages; None: their numbers.

    Raises:
      ValueError: for a value that is missing, unknown or of another type, with its history and event; or for a moment
        that the signature does not take.
    """
    places = places or numbered("history", len(histories))
    for place, history in zip(places, histories):
        check_events(history, place)
        _check_keys(takes, history, place)
    longest = max((len(history) for history in histories), default=0)
    inputs = _attributes(takes, histories, longest, places)
    for name in names.HISTORY:
        key = key_of_event(name)
        # A model that was exported when a history had no prefix takes the second.
        taken = next((known for known in (name, key) if known in takes), None)
        if taken is None:
            continue
        text = name != names.HISTORY_TIMESTAMP
        values = np.full([len(histories), longest], "" if text else 0, object if text else np.int64)
        for row, history in enumerate(histories):
            for column, event in enumerate(history):
                place = _of_event(places[row], column, key)
                if key not in event:
                    raise ValueError(f"{place} is missing; found {', '.join(event)}")
                values[row, column] = value_of(event[key], tf.string if text else tf.int64, place)
        inputs[taken] = values
        if not text:
            given = [(r, c) for r, history in enumerate(histories) for c in range(len(history))]
            check_times([(_of_event(places[r], c, key), values[r, c]) for r, c in given])
    if names.MOMENT in takes:
        inputs[names.MOMENT] = np.full(len(histories), _moment(now, check_times), np.int64)
    elif now is not None:
        raise ValueError(
            f"now is for models of periods, and this one takes {', '.join(sorted(takes))}; found {now!r}"
        )
    return inputs


def _attributes(
    takes: Mapping[str, Any], histories: Sequence[Sequence[Row]], longest: int, places: Sequence[str]
) -> dict[str, np.ndarray]:
    """What a signature takes of events besides `names.HISTORY`, which an event may lack: `[B, longest]` each."""
    inputs = {}
    for name in sorted(takes):
        if name in names.HISTORY or not is_of_history(name):
            continue
        key, dtype = key_of_event(name), tf.dtypes.as_dtype(takes[name].dtype)
        values = np.full([len(histories), longest], BLANKS[dtype.name], _numpy_type(dtype))
        for row, history in enumerate(histories):
            for column, event in enumerate(history):
                if event.get(key) is not None:
                    place = _of_event(places[row], column, key)
                    values[row, column] = value_of(event[key], dtype, place)
        inputs[name] = values
    return inputs


def _moment(now: int | None, check_times: CheckTimes) -> int:
    if now is None:
        return moments.NOT_TOLD
    told: int = value_of(now, tf.int64, "now")
    check_times([("now", told)])
    return told


def key_of_event(name: str) -> str:
    """What a feature of a history is called in an event."""
    return name.removeprefix(names.HISTORY_PREFIX)


# What events of any log may have, whether a model takes it or not.
_OF_ALL_EVENTS = set(map(key_of_event, names.HISTORY))


def events(history: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Lists of the features of a history as a list of events."""
    keys = [key_of_event(name) for name in history]
    return [dict(zip(keys, values)) for values in zip(*history.values())]


def _columns(
    takes: Mapping[str, Any],
    rows: Sequence[Row],
    places: Sequence[str],
    check_times: CheckTimes,
    leading: int = 1,
) -> dict[str, np.ndarray]:
    allowed = [name for name in takes if not is_of_history(name)]
    allowed += [HISTORY_KEY] if any(map(is_of_history, takes)) else []
    for place, row in zip(places, rows):
        unknown = sorted(set(row) - set(allowed))
        if unknown:
            raise ValueError(f"{place}: unknown {unknown[0]!r}; the model takes {', '.join(sorted(allowed))}")
        history = row.get(HISTORY_KEY) or ()
        check_events(history, f"{place}: {HISTORY_KEY}")
        _check_keys(takes, history, f"{place}: {HISTORY_KEY}")
    columns = {}
    for name, info in takes.items():
        dtype = tf.dtypes.as_dtype(info.dtype)
        of_value = [f"{place}: {name}" for place in places]
        if is_of_history(name):
            of_history = [f"{place}: {HISTORY_KEY}" for place in places]
            lists = [_events(row, name, dtype, place) for row, place in zip(rows, of_history)]
            if name == names.HISTORY_TIMESTAMP:
                key = key_of_event(name)
                given = [
                    (place, *each) for place, values in zip(of_history, lists) for each in enumerate(values)
                ]
                check_times([(_of_event(place, number, key), time) for place, number, time in given])
        elif len(info.tensor_shape.dim) > leading:
            lists = [_several(row.get(name), dtype, place) for row, place in zip(rows, of_value)]
        else:
            values = [_one(row.get(name), name, dtype, place) for row, place in zip(rows, of_value)]
            columns[name] = np.array(values, _numpy_type(dtype))
            if name in _TIMES:
                # A moment that is not told is none.
                told = [row.get(name) is not None for row in rows]
                check_times([each for each, known in zip(zip(of_value, values), told) if known])
            continue
        columns[name] = _padded(lists, dtype)
    return columns


def _of_event(place: str, number: int, key: str) -> str:
    """Where a value of an event is, by the place of its history."""
    return f"{place}, event {number}: {key}"


def check_events(history: Any, place: str) -> None:
    """Refuses what is no list of events.

    Raises:
      ValueError: with its place, and the number of what is no event.
    """
    if not isinstance(history, Sequence) or isinstance(history, (str, bytes)):
        raise ValueError(f"{place} is a list of events, found {tensors.shown(history)}")
    for number, event in enumerate(history):
        if not isinstance(event, Mapping):
            raise ValueError(
                f"{place}, event {number} is an object with item_id and timestamp, found {tensors.shown(event)}"
            )


def _check_keys(takes: Mapping[str, Any], history: Sequence[Any], place: str) -> None:
    """Refuses keys of events that may be misspelt ones: a model that takes attributes takes an event without them, too.

    Where it takes none, all that it reads has to be there, and clients may send what else an event has.
    """
    known = {key_of_event(name) for name in takes if is_of_history(name)}
    if known <= _OF_ALL_EVENTS:
        return
    for number, event in enumerate(history):
        unknown = sorted(set(event) - known - _OF_ALL_EVENTS)
        if unknown:
            raise ValueError(
                f"{place}, event {number}: unknown {unknown[0]!r}; the model takes {', '.join(sorted(known))} of an event"
            )


def _events(row: Row, name: str, dtype: tf.DType, place: str) -> list[Any]:
    key = key_of_event(name)
    values = []
    for number, event in enumerate(row.get(HISTORY_KEY) or ()):
        if event.get(key) is not None:
            values.append(value_of(event[key], dtype, _of_event(place, number, key)))
        elif name in names.HISTORY:
            raise ValueError(f"{_of_event(place, number, key)} is missing; found {', '.join(event)}")
        else:
            values.append(BLANKS[dtype.name])
    return values


def _several(given: Any, dtype: tf.DType, place: str) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{place} is a list, found {tensors.shown(given)}")
    return [value_of(value, dtype, place) for value in given]


def _one(given: Any, name: str, dtype: tf.DType, place: str) -> Any:
    if given is not None:
        return value_of(given, dtype, place)
    if name in REQUIRED:
        raise ValueError(f"{place} is missing")
    return BLANKS[dtype.name]


def value_of(given: Any, dtype: tf.DType, place: str) -> Any:
    """A value of the input's type; a whole number may stand for a text, as ids often are."""
    wanted, types = _TYPES[dtype.name]
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, types):
        raise ValueError(f"{place} is {wanted}, found {tensors.shown(given)}")
    if dtype == tf.string:
        return str(given) if isinstance(given, (int, np.integer)) else given
    if dtype == tf.int64 and not dtype.min <= given <= dtype.max:
        raise ValueError(f"{place} is {wanted} of 64 bits, found {tensors.shown(given)}")
    if dtype == tf.float32 and np.isfinite(_double(given)) != np.isfinite(np.float32(_double(given))):
        raise ValueError(f"{place} is {wanted} that float32 holds, found {tensors.shown(given)}")
    return given


def _double(given: Any) -> float:
    try:
        return float(given)
    except OverflowError:
        # Of an int with more than 308 digits: finite, and out of any range.
        return float(np.finfo(np.float64).max)


_TYPES: dict[str, tuple[str, tuple[type, ...]]] = {
    "string": ("a text", (str, bytes, int, np.integer)),
    "float32": ("a number", (int, float, np.integer, np.floating)),
    "int64": ("a whole number", (int, np.integer)),
}


def array_of(value: Any) -> np.ndarray:
    """Nested lists as an array, texts and bytes as objects.

    Raises:
      ValueError: if rows are of different lengths.
    """
    found = np.asarray(value)
    # NumPy's own texts have one length, and lose zero bytes at their end, as a serialized example may have.
    return np.array(value, dtype=object) if found.dtype.kind in "SU" else found


def _padded(lists: Sequence[Sequence[Any]], dtype: tf.DType) -> np.ndarray:
    longest = max(map(len, lists), default=0)
    values = np.full([len(lists), longest], BLANKS[dtype.name], _numpy_type(dtype))
    for row, found in enumerate(lists):
        values[row, : len(found)] = found
    return values


def _numpy_type(dtype: tf.DType) -> Any:
    return object if dtype == tf.string else dtype.as_numpy_dtype
