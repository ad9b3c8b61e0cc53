"""Moments that name no zone, beside a log whose times are of another zone than UTC."""

import copy
import datetime
import logging
import pickle

import pytest

from components.behavior_example_gen import describe, spec, zones
from components.behavior_example_gen.windows.period import PeriodWindow
from schemas import errors
from tests.components.behavior_example_gen import harness

BERLIN = "Europe/Berlin"
# By the clock of Berlin: an hour ahead of UTC in March, two in April.
MARCH, APRIL = "2024-03-01", "2024-04-01T06:30"
SPLIT = {"by": ["time"], "eval_from": MARCH, "test_from": APRIL}
TOLD = [
    f"split.eval_from 2024-03-01T00:00:00 names no zone and is in UTC; in log.timezone ({BERLIN}) it is "
    "2024-03-01T00:00:00+01:00; write that, or 2024-03-01T00:00:00Z for UTC",
    f"split.test_from 2024-04-01T06:30:00 names no zone and is in UTC; in log.timezone ({BERLIN}) it is "
    "2024-04-01T06:30:00+02:00; write that, or 2024-04-01T06:30:00Z for UTC",
]


def write(folder):
    days = (datetime.date(2024, 1, 15) + datetime.timedelta(days=n) for n in range(110))
    rows = [f"u{number % 7},i{number % 5},{day}" for number, day in enumerate(days)]
    return harness.write_csv(folder / "log.csv", rows)


def log_of(path, zone=BERLIN, **settings):
    return spec.LogSpec.from_values(
        {"path": path, "timestamp_unit": "iso8601", "timezone": zone, "latest": "2024-12-31Z", **settings}
    )


def said(caplog):
    return [one.getMessage() for one in caplog.records if "no zone" in one.getMessage()]


def test_a_run_says_once_which_cuts_are_in_utc(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "footfall.progress")
    path, split = write(tmp_path), spec.SplitSpec.from_values(SPLIT)
    _, profile, _ = harness.run(tmp_path / "a", log_of(path, earliest="2024-01-01Z"), split=split)
    assert said(caplog) == TOLD
    assert profile["notices"][:2] == TOLD and profile["split"]["eval_from"] == "2024-03-01T00:00:00+00:00"
    # Also where nothing comes of the run, which may be why.
    caplog.clear()
    late = spec.SplitSpec.from_values({**SPLIT, "eval_from": "2024-01-01"})
    with pytest.raises(errors.InputError, match="no window for 'train'"):
        harness.run(tmp_path / "b", log_of(path, earliest="2024-01-01Z"), split=late)
    assert [sentence.split()[1] for sentence in said(caplog)] == [
        "2024-01-01T00:00:00",
        "2024-04-01T06:30:00",
    ]


@pytest.mark.parametrize("zone", [None, "UTC", "Atlantic/Reykjavik"])
def test_nothing_is_said_where_the_log_is_in_utc(tmp_path, caplog, zone):
    caplog.set_level(logging.WARNING, "footfall.progress")
    _, profile, _ = harness.run(
        tmp_path, log_of(write(tmp_path), zone), split=spec.SplitSpec.from_values(SPLIT)
    )
    assert not said(caplog) and not any("no zone" in sentence for sentence in profile["notices"])


def test_every_moment_of_log_window_and_split_is_told_of():
    at = ["2024-01-01Z", "2024-02-01", "2024-03-01", "2024-04-01T00:00:00+02:00"]
    window = PeriodWindow.from_values({"kind": "period", "past": "9d", "future": "1d", "at": at})
    log = log_of("x.csv", earliest="2024-01-01", latest="2024-07-01T12:00:00")
    split = spec.SplitSpec.from_values({**SPLIT, "test_from": "2024-04-01T00:00:00+00:00"})
    told = zones.told_of({"log": log, "window": window, "split": split}, BERLIN)
    assert [sentence.partition(" no zone")[0] for sentence in told] == [
        "log.earliest 2024-01-01T00:00:00 names",
        "log.latest 2024-07-01T12:00:00 names",
        "window.at 2024-02-01T00:00:00 (and 1 more) name",
        "split.eval_from 2024-03-01T00:00:00 names",
    ]
    assert told[2].endswith(
        "are in UTC; in log.timezone (Europe/Berlin) the first is 2024-02-01T00:00:00+01:00; write that, or "
        "2024-02-01T00:00:00Z for UTC"
    )
    # London's clock is that of UTC in winter.
    told = zones.told_of({"log": log}, "Europe/London")
    assert [sentence.split()[0] for sentence in told] == ["log.latest"]


def test_that_no_zone_is_named_is_known_of_a_copy():
    """A component reads its settings from JSON, and Beam pickles them."""
    split = spec.SplitSpec.from_values(SPLIT)
    again = spec.SplitSpec.from_json(split.to_json())
    for one in (again, copy.deepcopy(split), pickle.loads(pickle.dumps(split)), split.model_copy()):
        assert one == split and zones.told_of({"split": one}, BERLIN) == TOLD
        assert one.eval_from == datetime.datetime(2024, 3, 1, tzinfo=datetime.timezone.utc)
    named = spec.SplitSpec.from_values(
        {**SPLIT, "eval_from": "2024-03-01Z", "test_from": "2024-04-01T06:30Z"}
    )
    assert named == split and not zones.told_of({"split": named}, BERLIN)


def test_a_date_may_name_a_zone():
    """It is no time of day."""
    wanted = datetime.datetime(2024, 2, 29, 22, tzinfo=datetime.timezone.utc)
    for text in ("2024-03-01+02:00", "2024-03-01 +0200", "2024-03-01+02", "2024-03-01T00:00+02:00"):
        assert spec.read_moment(text) == wanted and spec.read_moment(text).tzinfo is not None
    assert spec.read_moment("2024-03-01Z").isoformat() == "2024-03-01T00:00:00+00:00"
    assert spec.read_moment("2024-03-01").isoformat() == "2024-03-01T00:00:00"


def test_a_description_tells_of_the_moments_of_the_log(tmp_path):
    settings = {"timestamp_unit": "iso8601", "timezone": BERLIN, "earliest": "2024-01-01"}
    found = describe.describe(write(tmp_path), settings)
    assert [one.split()[0] for one in found["notices"] if "no zone" in one] == ["log.earliest"]
