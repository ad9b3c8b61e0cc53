"""The times of training that the transform graph keeps: by day, and not by a single late event."""

import tensorflow_transform as tft

from components.transform import training_times
from schemas import load, names, times
from tests import exposure_fixtures, fixtures

# The same graphs, which are made once.
from tests.components.transform import test_exposures, test_next

DAY = times.DAY_MS


def test_of_next_windows_targets_count_too(tmp_path):
    windows = test_next.make_windows()
    output = fixtures.build_transform_output(str(tmp_path), windows, behaviors=True)
    first = min(window[names.HISTORY_TIMESTAMP][0] for window in windows)
    last = max(window[names.TARGET_TIMESTAMP] for window in windows)
    assert last > max(window[names.HISTORY_TIMESTAMP][-1] for window in windows) + DAY
    assert training_times.load(output) == (first // DAY * DAY, last // DAY * DAY + DAY - 1)


def test_of_exposures_a_lonely_event_does_not_stretch_them(tmp_path):
    moments = sorted(row[names.TIMESTAMP] for row in test_exposures.ROWS)
    assert moments[-1] > moments[-2] + 1000 * DAY
    output = exposure_fixtures.build_transform_output(
        str(tmp_path), test_exposures.ROWS, test_exposures.FEATURES
    )
    assert training_times.load(output) == (moments[0] // DAY * DAY, moments[-2] // DAY * DAY + DAY - 1)


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
