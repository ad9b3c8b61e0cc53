"""Times of a request against those of training: what is an error, what a warning, what is well."""

import datetime
import re

import pytest

from schemas import times
from serving import training_times


def ms(*date):
    return int(datetime.datetime(*date, tzinfo=datetime.timezone.utc).timestamp() * 1000)


# 31 days, so that up to 31 days before and after is near.
TRAINED = training_times.Range(ms(2023, 11, 15), ms(2023, 12, 16) - 1)
# A log whose times count from 0: an hour.
FROM_ZERO = training_times.Range(0, 3_600_000)


def said(time, trained):
    """What is warned of, or ""."""
    return training_times.check([("exposure 3: timestamp", time)], trained) or ""


@pytest.mark.parametrize(
    "time, trained",
    [
        (ms(2023, 12, 1), TRAINED),
        (ms(2023, 10, 16), TRAINED),
        (ms(2024, 1, 15), TRAINED),
        (0, FROM_ZERO),
        (86_400_000, FROM_ZERO),
        (ms(2020, 1, 1), None),
    ],
)
def test_times_in_and_near_training(time, trained):
    assert said(time, trained) == ""


@pytest.mark.parametrize(
    "time, shown, look",
    [
        (ms(2023, 12, 1) // 1000, "1970-01-20", "these look like seconds, times are in ms: multiply by 1000"),
        # Next month, in seconds.
        (ms(2024, 1, 10) // 1000, "1970-01-20", "these look like seconds, times are in ms: multiply by 1000"),
        (ms(2023, 12, 1) * 1000, "ms", "these look like microseconds, times are in ms: divide by 1000"),
        (ms(2023, 12, 1) * 10**6, "ms", "these look like nanoseconds, times are in ms: divide by 1000000"),
        # A date written as a number, days of a spreadsheet, nothing, a sentinel.
        (20231201, "1970-01-01T05:37:11", "times are in ms since 1970"),
        (45261, "1970-01-01T00:00:45", "times are in ms since 1970"),
        (0, "1970-01-01T00:00:00", "times are in ms since 1970"),
        (-1, "1969-12-31T23:59:59", "times are in ms since 1970"),
    ],
)
def test_what_is_no_time_in_ms_is_an_error_that_says_what_is_expected(time, shown, look):
    with pytest.raises(ValueError) as caught:
        said(time, TRAINED)
    words = str(caught.value)
    assert words.startswith(f"exposure 3: timestamp {time} is ") and shown in words
    assert words.endswith(f"the model was trained on times from 2023-11-15 to 2023-12-15; {look}")


@pytest.mark.parametrize(
    "time", [ms(2023, 10, 14), ms(2024, 1, 17), ms(1995, 1, 1), ms(2100, 1, 1), 20231114223144]
)
def test_a_time_far_from_training_is_a_warning_that_names_the_range(time):
    words = said(time, TRAINED)
    assert words.startswith(f"exposure 3: timestamp {time} is {times.moment(time)}, far from ")
    assert words.endswith("(2023-11-15 to 2023-12-15)")


def test_a_date_is_no_other_unit_for_a_log_that_counts_from_zero():
    assert said(ms(2023, 12, 1), FROM_ZERO).endswith("(1970-01-01 to 1970-01-01)")


def test_the_future_is_warned_of_however_near_training_is():
    now = times.now_ms()
    trained = training_times.Range(now - 10 * times.DAY_MS, now)
    assert said(now + 20 * times.DAY_MS, trained).count("after") == 1
    assert said(now, trained) == ""


def test_a_model_that_does_not_tell_its_training():
    """Only what no log has is named; there are logs before 1990."""
    with pytest.raises(ValueError, match="these look like seconds"):
        said(ms(2023, 12, 1) // 1000, None)
    assert "before 1990-01-01" in said(0, None)
    assert "after" in said(ms(2100, 1, 1), None)


def test_the_first_of_several_is_named_and_the_others_are_counted():
    given = [
        ("a", ms(2023, 12, 1)),
        ("b", ms(2000, 1, 1)),
        *(("c", ms(2000, 1, 1 + day)) for day in range(3)),
    ]
    assert re.fullmatch(
        r"b .* \(2023-11-15 to 2023-12-15\) \(3 more such times\)", training_times.check(given, TRAINED)
    )
    # An error wins over a warning before it.
    with pytest.raises(ValueError, match="^d 0 is"):
        training_times.check([*given, ("d", 0)], TRAINED)
    assert training_times.check([], TRAINED) is None


@pytest.mark.parametrize("first, last, days", [(0, 0, 30), (0, 40, 40)])
def test_near_is_as_far_as_training_is_long_and_a_month_at_least(first, last, days):
    trained = training_times.Range(first * times.DAY_MS, last * times.DAY_MS)
    edge = (last + days) * times.DAY_MS
    assert trained.near(edge) and not trained.near(edge + 1)
    assert trained.near(-days * times.DAY_MS) and not trained.near(-days * times.DAY_MS - 1)
