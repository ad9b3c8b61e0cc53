"""The span of a log: which events tell it, and what hangs on it."""

import datetime
import logging
import zoneinfo

import numpy as np
import pytest

from components.behavior_example_gen import describe, executor, profile, spec, time_span
from components.behavior_example_gen.cutting import grids
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.behavior_example_gen.windows.period import PeriodWindow
from tests.components.behavior_example_gen import harness

DAY, HOUR = 86_400_000, 3_600_000
START = 1_600_000_000_000  # 2020-09-13T12:26:40Z
# At moments, since a share of the events is another one with one event more.
SPLIT = spec.SplitSpec.from_values(
    {"by": ["time"], "eval_from": "2020-09-28T12:26:40Z", "test_from": "2020-10-04T12:26:40Z"}
)


def test_time_histogram_is_the_same_in_any_order():
    times = np.random.default_rng(0).integers(0, 2**45, 900_000)
    whole = time_span.TimeHistogram.of(times.copy())
    parts = time_span.TimeHistogram.merged(
        time_span.TimeHistogram.of(part) for part in np.array_split(times[::-1].copy(), 7)
    )
    assert whole.shift == parts.shift > 0 and np.array_equal(whole.bins, parts.bins)
    assert abs((times < whole.quantile(0.8)).mean() - 0.8) < 1e-3


@pytest.mark.parametrize("lonely", [False, True])
def test_bins_of_many_times_know_the_first_and_the_last_of_them(lonely):
    """A cut 60 days before the end is 60 days before the last event, and not before the end of its bin."""
    times = START + np.random.default_rng(2).choice(120 * DAY, 600_000, replace=False)
    all_times = np.append(times, START + 900 * DAY) if lonely else times
    parts = time_span.TimeHistogram.merged(
        time_span.TimeHistogram.of(part) for part in np.array_split(all_times, 7)
    )
    assert parts.shift > 10
    assert parts.bulk() == (times.min(), times.max())
    split = spec.SplitSpec.from_values({"eval_from": "-60d", "test_from": "-30d"})
    window = PeriodWindow(kind="period", past=30 * 86_400.0, future=30 * 86_400.0)
    cuts = executor._cuts(split, parts, window, parts.end(None))
    assert (cuts.eval_from, cuts.test_from) == (times.max() - 60 * DAY, times.max() - 30 * DAY)
    # The whole month behind each is there.
    found = grids.short_moments(window, cuts, int(times.min()), int(times.max()))
    assert found["eval"] == (0, 1) and found["test"] == (0, 1)


def test_a_histogram_on_a_grid_is_that_of_its_parts_and_tells_shares():
    rng = np.random.default_rng(1)
    # Ten years with a rush at the end.
    times = START + np.concatenate(
        [rng.integers(0, 3650 * DAY, 50_000), 3650 * DAY - rng.integers(0, DAY, 50_000)]
    )
    bulk = time_span.TimeHistogram.of(times).bulk()
    whole = time_span.TimeHistogram.on_grid(times, bulk)
    parts = time_span.TimeHistogram.merged(
        time_span.TimeHistogram.on_grid(part, bulk) for part in np.array_split(times, 9)
    )
    assert whole.shift == parts.shift > 0 and len(whole.bins) <= 1 << 17
    assert np.array_equal(whole.bins, parts.bins) and np.array_equal(whole.counts, parts.counts)
    assert whole.counts.sum() == len(times)
    for share in (0.2, 0.5, 0.9):
        assert 0 <= (times < whole.quantile(share)).mean() - share < 0.03
    # A single time far off is at an end, and makes no bin wider.
    far = time_span.TimeHistogram.on_grid(np.append(times, [-(10**15), 10**16]), bulk)
    assert far.shift == whole.shift and far.counts.sum() == len(times) + 2
    assert far.bins[0] == bulk.first >> far.shift and far.bins[-1] == bulk.last >> far.shift
    # Few distinct times are told exactly, and none are none.
    exact = time_span.TimeHistogram.on_grid(np.array([5, -3, 5, 9]))
    assert exact.shift == 0 and exact.bins.tolist() == [-3, 5, 9] and exact.counts.tolist() == [1, 2, 1]
    assert not len(time_span.TimeHistogram.on_grid(np.empty(0, np.int64), bulk).bins)


def test_a_pause_is_one_of_the_log_and_not_before_a_lonely_event():
    times = START + DAY * np.array([*range(40), *range(43, 80)])
    assert time_span.TimeHistogram.of(times).pause() == 4 * DAY
    late = np.append(times, START + 300 * DAY)
    assert time_span.TimeHistogram.of(late).pause() == 4 * DAY
    assert time_span.TimeHistogram.of(times[:1]).pause() == 0


def span(times):
    found = time_span.TimeHistogram.of(np.asarray(times)).bulk()
    inside = [time for time in times if found.first <= time <= found.last]
    return min(inside), max(inside)


def test_lonely_events_do_not_tell_the_span():
    hours = START + DAY // 24 * np.arange(720)
    assert span(hours) == (hours[0], hours[-1])
    # One, or three, a month after the others; one long before; both.
    assert span([*hours, hours[-1] + 30 * DAY]) == (hours[0], hours[-1])
    assert span([*hours, *(hours[-1] + np.array([30, 31, 60]) * DAY)]) == (hours[0], hours[-1])
    assert span([hours[0] - 3000 * DAY, *hours]) == (hours[0], hours[-1])
    assert span([hours[0] - 3000 * DAY, *hours, hours[-1] + 30 * DAY]) == (hours[0], hours[-1])
    # As far as the widest gap between others (a night, say) times five is not far.
    nights = np.concatenate([START + DAY * day + np.arange(36) * 1_000_000 for day in range(20)])
    assert span([*nights, nights[-1] + 3 * DAY // 2])[1] == nights[-1] + 3 * DAY // 2
    # Many are not lonely, and a handful of events has no bulk.
    assert span([*hours, *(hours[-1] + 30 * DAY + np.arange(4))])[1] == hours[-1] + 30 * DAY + 3
    assert span([1, 2, 3, 10_000]) == (1, 10_000)
    assert span([7] * 50) == (7, 7)
    # Wide bins lose no event at the edges.
    many = START + 1000 * np.arange(600_000)
    assert span([*many, many[-1] + 30 * DAY]) == (many[0], many[-1])


def ms(text, zone):
    return round(
        datetime.datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp() * 1000
    )


def midnights(first, days, zone):
    begin = datetime.date.fromisoformat(first)
    return [ms(str(begin + datetime.timedelta(days=n)), zone) for n in range(days)]


def end(times, zone):
    """The end of the last day, None of a log of times; and when the last event is."""
    found = time_span.TimeHistogram.of(np.array(times, np.int64))
    last, until = found.bulk().last, found.end(zone)
    return until + 1 if until > last else None, last


@pytest.mark.parametrize(
    "zone, first, days, wanted",
    [
        ("UTC", "2024-02-01", 29, "2024-03-01"),
        ("Europe/Berlin", "2024-02-01", 29, "2024-03-01"),
        # Its clock is half an hour off, and the last day has 23 hours, or 25.
        ("Asia/Kolkata", "2024-02-01", 29, "2024-03-01"),
        ("Europe/Berlin", "2024-03-01", 31, "2024-04-01"),
        ("Europe/Berlin", "2024-10-01", 27, "2024-10-28"),
        # On 2018-11-04 the clock of São Paulo went from midnight to one: the day before it ends there, and it begins there.
        ("America/Sao_Paulo", "2018-10-20", 15, "2018-11-04"),
        ("America/Sao_Paulo", "2018-10-20", 16, "2018-11-05"),
        ("UTC", "2024-02-29", 1, "2024-03-01"),
    ],
)
def test_a_log_of_days_ends_with_the_last_of_them(zone, first, days, wanted):
    times = midnights(first, days, zone)
    found, last = end([*times, times[0]], zone)
    assert found == ms(wanted, zone) and last == times[-1]
    assert HOUR * 23 <= found - last <= HOUR * 25
    if zone == "UTC":
        assert end(times, None) == (found, last)


@pytest.mark.parametrize("odd", [1, 1000, HOUR, 12 * HOUR])
def test_one_time_of_day_makes_it_a_log_of_times(odd):
    times = midnights("2024-02-01", 29, "Europe/Berlin")
    assert end([*times, times[7] + odd], "Europe/Berlin")[0] is None
    # Midnights of another zone are times of day.
    assert end(times, "UTC")[0] is None and end(times, None)[0] is None
    assert end(midnights("2024-02-01", 29, "UTC"), "Europe/Berlin")[0] is None


def test_an_event_far_behind_all_others_does_not_count():
    times = [time for time in midnights("2024-02-01", 29, "UTC") for _ in range(100)]
    lonely = times[-1] + 3000 * 24 * HOUR + 5
    assert end([*times, lonely], "UTC") == (ms("2024-03-01", "UTC"), times[-1])


def test_more_times_than_a_histogram_has_bins_are_no_days():
    times = np.arange(300_000, dtype=np.int64) * 60_000
    assert end(times, "UTC") == (None, int(times[-1]))


def test_the_last_day_of_a_log_of_days_is_one_that_follows(tmp_path):
    """Thirty days: with `-7d` the last seven are those of test, and there is a moment whose week they are."""
    rows = [f"u{user},i{(day + user) % 5},2024-03-{day:02d}" for day in range(1, 31) for user in range(4)]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp")
    window = PeriodWindow.from_values(
        {"kind": "period", "past": "7d", "future": "7d", "labels": {"any": {"any_of": {}}}}
    )
    for zone in ("UTC", "Asia/Tokyo"):
        log = spec.LogSpec(path=path, timestamp_unit="iso8601", timezone=zone)
        split = spec.SplitSpec.from_values({"eval_from": "-14d", "test_from": "-7d"})
        found, result, _ = harness.run(tmp_path / zone.replace("/", "-"), log, window, split)
        # Of 30 days the last 14 begin on the 17th, and the last 7 on the 24th.
        first = {"eval": ms("2024-03-17", zone), "test": ms("2024-03-24", zone)}
        assert result["split"]["test_from"] == profile.moment(first["test"])
        for name, moment in first.items():
            assert {row["moment"][0] for row in found[name]} == {moment}
            assert all(
                len(row["history_timestamp"]) == len(row["future_timestamp"]) == 7 for row in found[name]
            )
        # A moment of train every week, back from the cut of eval.
        assert sorted({row["moment"][0] for row in found["train"]}) == [
            ms("2024-03-03", zone),
            ms("2024-03-10", zone),
        ]


def test_no_events_have_no_span():
    assert time_span.TimeHistogram.merged([]).bulk() == time_span.EVERYTHING


def shop(path, last=()):
    """Views, a third of them followed by a purchase within two days, over 30 days; and the last events."""
    rows = []
    for number in range(600):
        at = START + number * DAY // 20
        rows.append((f"u{number % 50}", f"i{number}", at, "view"))
        if number % 3 == 0:
            rows.append((f"u{number % 50}", f"i{number}", at + DAY, "buy"))
    rows.sort(key=lambda row: row[2])
    rows = [row for row in rows if row[2] < START + 30 * DAY] + list(last)
    lines = [",".join(map(str, row)) for row in rows]
    return harness.write_csv(path, lines, "user_id,item_id,timestamp,behavior")


@pytest.mark.parametrize("when", ["2100", "a month later"])
def test_one_extreme_event_makes_no_negatives(tmp_path, caplog, when):
    """What a view of the last days leads to is not known, whatever one event says of the log's end."""
    window = ExposureWindow(kind="exposure", steps=("buy",), exposure="view", horizon=3 * 86_400.0, shards=2)

    def run(name, *last):
        (tmp_path / name).mkdir()
        path = shop(tmp_path / f"{name}.csv", last)
        log = spec.LogSpec(path=path, timestamp_unit="ms", columns=spec.Columns(behavior="behavior"))
        return harness.run(tmp_path / name, log, window, SPLIT)

    far = 4_102_444_800_000 if when == "2100" else START + 60 * DAY
    before, profile, _ = run("before")
    caplog.set_level(logging.INFO, "footfall.progress")
    after, found, summary = run("after", ("u1", "i1", far, "view"))
    assert after["test"] == before["test"]
    exposures, expected = found["exposures"], profile["exposures"]
    # With the rows of the last three days, each of which can only seem to be negative, it is below 0.2.
    assert exposures["positive_rate"] == expected["positive_rate"]
    assert exposures["positive_rate"]["test"]["buy"] == pytest.approx(1 / 3, abs=0.01)
    assert found["end"] == profile["end"] and (found["start"], found["rows"]) == (
        profile["start"],
        profile["rows"] + 1,
    )
    said = "\n".join(record.getMessage() for record in caplog.records)
    if when == "2100":
        assert exposures["censored"] == expected["censored"] and summary["rejected"] == 1
        assert "time after 20" in said and f"{profile['start']} to {profile['end']}" in said
    else:
        assert exposures["censored"] == expected["censored"] + 1
        assert found["lonely"] == {"events": 1, "examples": [["2020-11-12T12:26:40+00:00", "u1"]]}
        assert "1 event(s) lie far from all others (2020-11-12T12:26:40+00:00 of user 'u1')" in said


def test_equal_times_are_named(tmp_path, caplog):
    caplog.set_level(logging.INFO, "footfall.progress")
    path = harness.write_csv(tmp_path / "log.csv", [f"u{n % 6},i{n % 7},{START}" for n in range(60)])
    harness.run(tmp_path, path)
    words = "all 60 events have one time, 2020-09-13T12:26:40+00:00, and so the order of the log"
    assert words in caplog.text
    found = describe.describe(path)
    assert (
        [sentence for sentence in found["notices"] if words in sentence]
        and found["start"] == found["end"]
        and found["lonely"] == {"events": 0, "examples": []}
    )
