"""The times of training that the transform graph keeps: by day, and not by a single late event."""

import datetime

import tensorflow_transform as tft

from components.transform import training_times
from schemas import load, names, times
from tests import exposure_fixtures, fixtures

DAY = times.DAY_MS
START = 1_600_000_000_000 // DAY * DAY


def test_of_next_windows_targets_count_too(tmp_path):
    windows = fixtures.random_windows(40, 10)
    for number, window in enumerate(windows):
        shift = START - window[names.HISTORY_TIMESTAMP][0] + (number % 20) * DAY
        window[names.HISTORY_TIMESTAMP] = [time + shift for time in window[names.HISTORY_TIMESTAMP]]
        window[names.TARGET_TIMESTAMP] = window[names.HISTORY_TIMESTAMP][-1] + 2 * DAY
    output = fixtures.build_transform_output(str(tmp_path), windows)
    found = training_times.load(output)
    last = max(window[names.TARGET_TIMESTAMP] for window in windows)
    assert found == (START, last // DAY * DAY + DAY - 1)


def test_of_exposures_a_lonely_event_does_not_stretch_them(tmp_path):
    rows = exposure_fixtures.generate(60, start=START)
    for number, row in enumerate(rows):
        row[names.TIMESTAMP] = START + (number % 15) * DAY
    rows[7][names.TIMESTAMP] = int(
        datetime.datetime(2100, 1, 1, tzinfo=datetime.timezone.utc).timestamp() * 1000
    )
    output = exposure_fixtures.build_transform_output(str(tmp_path), rows)
    assert training_times.load(output) == (START, START + 15 * DAY - 1)


def test_a_graph_that_counts_no_days(tmp_path):
    fixtures.transform_once(
        str(tmp_path),
        fixtures.random_windows(4, 5),
        load.next_window_schema(False, False),
        lambda inputs: {names.TARGET_TIMESTAMP: inputs[names.TARGET_TIMESTAMP]},
        made_of="no days",
    )
    output = tft.TFTransformOutput(str(tmp_path / "transform"))
    assert training_times.load(output) is None
