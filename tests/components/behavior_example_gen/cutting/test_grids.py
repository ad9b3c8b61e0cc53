"""Moments that a log is too young for, against one moment after the other."""

import pytest

from components.behavior_example_gen import splits
from components.behavior_example_gen.cutting import grids
from schemas import names
from tests.components.behavior_example_gen.cutting import test_period

START, END = 103, 999


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"past": 0.2, "stride": 0.07},
        {"past": 0.55, "future": 0.03, "stride": 0.01, "overlap": True},
        {"past": 5.0},
        {"past": 0.3, "moments": 2},
        {"past": 0.2, "future": 0.05, "at": ["1970-01-01T00:00:00.103Z", "1970-01-01T00:00:00.250Z"]},
        {"past": 0.147, "future": 0.05, "at": ["1970-01-01T00:00:00.250Z", "1970-01-01T00:00:00.700Z"]},
    ],
)
def test_moments_that_a_log_is_too_young_for(settings):
    window = test_period.make_window(**settings)
    found = grids.short_moments(window, test_period.CUTS, START, END)
    for split in names.SPLITS:
        behind = [moment for moment in test_period.moments(window, split, END) if moment > START]
        short = [moment for moment in behind if moment - round(1000 * window.past) < START]
        assert found.get(split, (0, 0)) == (len(short), len(behind)), split


def test_of_users_alone_each_split_has_all_moments():
    window = test_period.make_window(past=0.3, future=0.1)
    # From 900 back to 200: those before 403 are short.
    assert grids.short_moments(window, None, START, END) == dict.fromkeys(names.SPLITS, (3, 8))


def test_a_log_that_begins_behind_the_cuts_has_no_moments_before():
    window = test_period.make_window(past=0.1, future=0.05)
    found = grids.short_moments(window, splits.Cuts(100, 200), 500, END)
    # Of 550, 600 and so on to 950 the first alone.
    assert found[names.TRAIN] == (0, 0) and found[names.TEST] == (1, 9)
