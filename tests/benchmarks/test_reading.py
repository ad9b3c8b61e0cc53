"""All formats of `benchmarks.reading` hold the same events, and a row that is not read ends it."""

import json
import os
from typing import Any

import pytest

from benchmarks import reading
from components.behavior_example_gen import readers, spec
from schemas import names

_ROWS = 300


def test_each_system_reads_each_format(capsys: Any) -> None:
    reading.main(["--rows", str(_ROWS), "--rounds", "1"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["rows"] == _ROWS
    assert list(figures["reading"]) == list(reading.FORMATS)
    for found in figures["reading"].values():
        assert list(found) == list(reading.SYSTEMS)
        assert all(of["median"] >= of["min"] > 0 for of in found.values())


def test_formats_hold_the_same_events(tmp_path: Any) -> None:
    reading.write(str(tmp_path), _ROWS)
    expected = reading.events(_ROWS)
    for file in reading.FORMATS.values():
        path = os.path.join(tmp_path, file)
        unit = "iso8601" if file.startswith("iso") else "s"
        blocks = list(readers.read_all([path], spec.LogSpec(path=path, timestamp_unit=unit)))
        assert sum(block.rows for block in blocks) == _ROWS
        prefix = "" if file.startswith(("integers", "doubles")) else "user"
        users = [user.decode() for block in blocks for user in block.batch.column(0).to_pylist()]
        assert users == [f"{prefix}{user}" for user in expected[names.USER_ID]]
        times = [ms for block in blocks for ms in block.batch.column(2).to_pylist()]
        assert times == [1000 * second for second in expected[names.TIMESTAMP]]


def test_a_row_that_is_not_read_ends_it(tmp_path: Any) -> None:
    reading.write(str(tmp_path), _ROWS)
    path = tmp_path / "log.csv"
    with pytest.raises(AssertionError, match=f"footfall reads {_ROWS} of {_ROWS + 1} rows"):
        reading.measure(str(path), _ROWS + 1, 1)
    path.write_text(path.read_text() + ",item7,1600000000,view\n")
    with pytest.raises(AssertionError, match="missing user_id"):
        reading.measure(str(path), _ROWS + 1, 1)
