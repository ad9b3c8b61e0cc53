"""What workers bring back survives as bytes, and reading these runs no code."""

import dataclasses
import io
import pickle

import numpy as np
import pyarrow as pa
import pytest

from components.behavior_example_gen import gathered


@dataclasses.dataclass
class _Point:
    x: int
    tags: dict


def test_all_that_a_report_may_hold_comes_back_as_it_was():
    value = {
        "plain": [None, True, 7, -0.5, "a\n\u202e\udc80", 2**63],
        ("train", "exposures"): (1, ("x", 2)),
        3: {"set"},
        "points": [_Point(1, {"a": _Point(2, {})}), _Point(3, {5: [6]})],
        "numbers": np.int64(4),
    }
    found = gathered.loads(gathered.dumps(value, [_Point]), [_Point])
    assert found == {**value, "numbers": 4}
    assert type(found["numbers"]) is int and type(found[("train", "exposures")]) is tuple


def test_arrays_and_tables_come_back_with_their_types():
    table = pa.table({"item": pa.array([b"a", b"\xff\x00"]), "events": pa.array([1, 2], pa.int64())})
    value = (np.array([1, 2**62], np.int64), np.empty(0, np.int32), table, table.slice(1))
    first, empty, whole, sliced = gathered.loads(gathered.dumps(value))
    assert first.dtype == np.int64 and first.tolist() == [1, 2**62]
    assert empty.dtype == np.int32 and not len(empty)
    assert whole.equals(table) and sliced.equals(table.slice(1))


def test_what_is_not_known_is_refused():
    with pytest.raises(TypeError, match="_Point"):
        gathered.dumps([_Point(1, {})])
    with pytest.raises(TypeError, match="function"):
        gathered.dumps({"f": len and (lambda: 1)})
    with pytest.raises(KeyError):
        gathered.loads(gathered.dumps(_Point(1, {}), [_Point]))


def test_a_pickle_in_its_place_is_not_run():
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    with pytest.raises(Exception, match="zip"):
        gathered.loads(pickle.dumps(Evil()))
    assert io.BytesIO(gathered.dumps(1)).read(2) == b"PK"
