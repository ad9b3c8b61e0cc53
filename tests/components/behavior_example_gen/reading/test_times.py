"""Times: one result in every format, and a reason for what is none. Values are worked out by hand."""

import datetime
import json
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from components.behavior_example_gen import describe, readers, spec
from components.behavior_example_gen.reading import time_kinds, times
from schemas import errors

# 2023-11-14T22:31:44Z
SECOND = 1_700_001_104
MS = 1000 * SECOND
DAY_START = 1_699_920_000_000  # 2023-11-14
OLD = {"earliest": "1970-01-01"}
FORMATS = ("csv", "jsonl", "parquet")


def write(path, column, format_, kind=None):
    """A log of one user with these times, typed where the format has types."""
    path = path / f"log.{format_}"
    if format_ == "csv":
        lines = ["" if value is None else f'"{value}"' for value in column]
        path.write_text("user_id,item_id,timestamp\n" + "".join(f"u,i,{line}\n" for line in lines))
    elif format_ == "jsonl":
        rows = [{"user_id": "u", "item_id": "i", "timestamp": value} for value in column]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        texts = pa.array(["u"] * len(column))
        columns = {"user_id": texts, "item_id": texts, "timestamp": pa.array(column, kind)}
        pyarrow.parquet.write_table(pa.table(columns), path)
    return path


def read(path, **settings):
    """The times in ms, and the reason of each bad row by its number."""
    log = spec.LogSpec.from_values({"path": str(path), **settings})
    blocks = list(readers.read_all([str(path)], log))
    good = [time for block in blocks for time in block.batch.column("timestamp").to_pylist()]
    return good, {reject.row: reject.reason for block in blocks for reject in block.rejects}


def both(column):
    """A column as numbers and as text."""
    return [column, [None if value is None else str(value) for value in column]]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "settings, written, ms",
    [
        ({}, SECOND, MS),
        ({}, 1_700_001_104.25, MS + 250),
        ({"timestamp_unit": "ms"}, MS, MS),
        ({"timestamp_unit": "us"}, 1000 * MS + 7, MS),
        ({"timestamp_unit": "ns"}, 1_000_000 * MS + 7, MS),
        ({"timestamp_unit": "d"}, 19_675, DAY_START),
        ({"timestamp_unit": "excel"}, 45_244, DAY_START),
        ({"timestamp_unit": "excel"}, 45_244.938703703704, MS),
        ({"timestamp_unit": "dotnet_ticks"}, 638_355_979_040_000_000, MS),
        ({"timestamp_unit": "filetime"}, 133_444_747_040_000_000, MS),
        ({"timestamp_unit": "webkit"}, 13_344_474_704_000_000, MS),
        ({"timestamp_unit": "julian_day"}, 2_460_262.5, DAY_START),
        ({"timestamp_unit": "iso8601"}, 20231114, DAY_START),
        ({"timestamp_unit": "iso8601"}, 20231114.0, DAY_START),
        ({"timestamp_format": "%Y%m%d"}, 20231114, DAY_START),
        ({"timestamp_format": "%Y%m%d"}, 20231114.0, DAY_START),
        ({"timestamp_format": "%Y%m%d%H%M%S"}, 20231114223144, MS),
        ({"timestamp_format": "%Y%m"}, 202311, DAY_START - 13 * 86_400_000),
    ],
)
def test_numbers_are_the_same_in_every_format_and_as_text(tmp_path, format_, settings, written, ms):
    for column in both([written, written]):
        assert read(write(tmp_path, column, format_), **settings) == ([ms, ms], {})


ISO = {
    "2023-11-14T22:31:44Z": MS,
    "2023-11-14T22:31:44.123456789Z": MS + 123,
    "2023-11-14 22:31:44,5": MS + 500,
    "2023-11-14 22:31:44": MS,
    "2023-11-14t22:31:44z": MS,
    "2023-11-14T23:31:44+01:00": MS,
    "2023-11-14 23:31:44 +0100": MS,
    "2023-11-15T04:01:44+05:30": MS,
    "2023-11-14T17:31:44-05": MS,
    "2023-11-14 22:31:44 UTC": MS,
    "2023-11-14T23:31:44+01:00[Europe/Berlin]": MS,
    "20231114T223144Z": MS,
    " 2023-11-14 22:31 ": MS - 44_000,
    "2023-11-14T22": DAY_START + 22 * 3_600_000,
    "2023-11-14": DAY_START,
    "2023-11-5": DAY_START - 9 * 86_400_000,
    "2023-1-5 8:05": 1_672_905_900_000,
    "2023-11": DAY_START - 13 * 86_400_000,
    "2024-02-29": 1_709_164_800_000,
    # Midnight at the end of a day, and a leap second, are the first moment of the next one.
    "2023-11-13T24:00:00": DAY_START,
    "2016-12-31T23:59:60Z": 1_483_228_800_000,
}
NOT_ISO = (
    "2023-02-29", "2023-13-01", "2023-11-00", "2023-11-14T24:00:01", "2023-11-14T22:60", "2023-11-14T22:31:61Z",
    "2023-11-14T22:31:44+24:00", "0000-01-01", "2023-11-14T", "2023-11-14 22:31:44 nonsense", "T", "²023-11-14",
)  # fmt: skip


@pytest.mark.parametrize("format_", FORMATS)
def test_iso_times_have_one_rule(tmp_path, format_):
    path = write(tmp_path, [*ISO, *NOT_ISO], format_)
    found, bad = read(path, timestamp_unit="iso8601")
    assert found == list(ISO.values())
    assert sorted(bad) == list(range(len(ISO) + 1, len(ISO) + len(NOT_ISO) + 1))
    assert set(bad.values()) == {"unparsable time (column 'timestamp', log.timestamp_unit iso8601)"}


@pytest.mark.parametrize(
    "format_, written, ms",
    [
        ("%d/%m/%Y %H:%M", "12/1/2010 8:26", 1_263_284_760_000),  # 2010-01-12T08:26
        ("%m/%d/%Y %H:%M", "12/1/2010 8:26", 1_291_191_960_000),  # 2010-12-01T08:26
        ("%Y/%m/%d", "2010/12/01", 1_291_161_600_000),
        ("%d.%m.%Y", "01.12.2010", 1_291_161_600_000),
        ("%a, %d %b %Y %H:%M:%S %Z", "Tue, 14 Nov 2023 22:31:44 GMT", MS),
        ("%a, %d %b %Y %H:%M:%S %z", "Tue, 14 Nov 2023 22:31:44 +0000", MS),
        ("%a, %d %b %Y %H:%M:%S %z", "Tue, 14 Nov 2023 22:31:44 GMT", MS),
        ("%a %b %d %H:%M:%S %Z %Y", "Tue Nov 14 17:31:44 EST 2023", MS),
        ("%Y-%m-%d %H:%M:%S %Z", "2023-11-14 23:31:44 Europe/Berlin", MS),
        ("%Y-%m-%d %H:%M:%S %Z", "2023-07-14 23:31:44 Europe/Berlin", 1_689_370_304_000),
        ("%Y-%m-%d %H:%M:%S CET", "2023-11-14 22:31:44 CET", MS),
        ("%m/%d/%Y %I:%M:%S %p", "11/14/2023 10:31:44 PM", MS),
        ("%m/%d/%Y %I:%M:%S %p", "11/14/2023 12:00:00 am", DAY_START),
        ("%m/%d/%Y %I:%M:%S%p", "11/14/2023 12:00:00p.m.", DAY_START + 43_200_000),
        ("%d/%b/%Y:%H:%M:%S %z", "14/Nov/2023:22:31:44 +0000", MS),
        ("%B %d, %Y", "november 14, 2023", DAY_START),
        ("%b %d, %Y", "Sept 14, 2023", 1_694_649_600_000),
        ("%d-%b-%y", "14-NOV-23", DAY_START),
        ("%d-%b-%y", "14-NOV-99", 942_537_600_000),
        ("%Y-%j", "2023-318", DAY_START),
        ("%FT%T.%f", "2023-11-14T22:31:44.5", MS + 500),
        ("%-d.%-m.%Y", "5.1.2023", 1_672_876_800_000),
        ("%d %b %Y at %H:%M 100%%", "14 Nov 2023 at 22:31 100%", MS - 44_000),
    ],
)
def test_formats(tmp_path, format_, written, ms):
    for kind in FORMATS:
        path = write(tmp_path, [written, "nothing of the kind"], kind)
        found, bad = read(path, timestamp_format=format_)
        assert found == [ms]
        assert bad == {2: f"unparsable time (column 'timestamp', log.timestamp_format {format_})"}


@pytest.mark.parametrize(
    "written", ["31.4.2023", "0.4.2023", "1.13.2023", "1.4.23", "1.4.2023 0:00", "1-4-2023"]
)
def test_a_format_takes_no_other_times(tmp_path, written):
    found, bad = read(write(tmp_path, [written], "csv"), timestamp_format="%d.%m.%Y")
    assert not found and bad[1].startswith("unparsable time")
    # Digits of a format are what they are: this one would lose the time of day.
    found, bad = read(
        write(tmp_path, ["2023-11-14 00:00", "2023-11-14 22:31"], "csv"), timestamp_format="%Y-%m-%d 00:00"
    )
    assert found == [DAY_START] and sorted(bad) == [2]
    # Digits that nothing separates have all their zeros.
    found, bad = read(write(tmp_path, ["2023114"], "csv"), timestamp_format="%Y%m%d")
    assert not found and bad[1].startswith("unparsable time")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"timestamp_format": "%Q"}, "directives of strptime"),
        ({"timestamp_format": "%H:%M"}, "says no year"),
        ({"timestamp_format": "%Y-%d"}, "a day of no month"),
        ({"timestamp_format": "%Y-%m-%d %y"}, "says the year twice"),
        ({"timestamp_format": "%Y %b %m"}, "says the month twice"),
        ({"timestamp_format": "%Y-%m-%d %I:%M"}, "%I .* and %p .* go together"),
        ({"timestamp_format": "%Y%m%d", "timestamp_unit": "ms"}, "leave one out"),
        ({"timezone": "Berlin"}, "IANA"),
        ({"earliest": "long ago"}, "ISO 8601 moment"),
        ({"earliest": "2020-01-01", "latest": "2019-01-01"}, "earliest must come before latest"),
    ],
)
def test_settings_that_do_not_fit(settings, words):
    with pytest.raises(ValueError, match=words):
        spec.LogSpec.from_values({"path": "x", **settings})


@pytest.mark.parametrize("format_", FORMATS)
def test_local_times_are_of_the_zone_of_the_log(tmp_path, format_):
    """Clocks in Berlin went from 2:00 to 3:00 on 2023-03-26 and from 3:00 to 2:00 on 2023-10-29, at 1:00 UTC."""
    forms = {
        "2023-03-26 01:59:59": "2023-03-26T00:59:59",
        "2023-03-26 02:30:00": "2023-03-26T01:30:00",  # not there: counted from before the change
        "2023-03-26 03:00:00": "2023-03-26T01:00:00",
        "2023-10-29 01:59:59": "2023-10-28T23:59:59",
        "2023-10-29 02:30:00": "2023-10-29T00:30:00",  # there twice: the first
        "2023-10-29 03:00:00": "2023-10-29T02:00:00",
        "2023-07-01": "2023-06-30T22:00:00",
        "2023-07-01T12:00:00Z": "2023-07-01T12:00:00",
        "2023-07-01T12:00:00-01:00": "2023-07-01T13:00:00",
    }
    found, bad = read(
        write(tmp_path, list(forms), format_), timestamp_unit="iso8601", timezone="Europe/Berlin"
    )
    assert not bad and found == [int(np.datetime64(utc, "ms").astype(int)) for utc in forms.values()]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
def test_zones_as_python_has_them(zone):
    import zoneinfo

    rng = np.random.default_rng(0)
    seconds = np.append(rng.integers(0, 2**31, 2000), 1_698_537_600 + 900 * np.arange(192))
    text = pa.chunked_array([pa.array(np.datetime_as_string(seconds.astype("datetime64[s]")).astype(object))])
    found = times.convert(text, times.Rule("iso8601", zone=zone, earliest=-(10**15), latest=10**15))
    wall = [datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(s)) for s in seconds]
    expected = [1000 * int(m.replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()) for m in wall]
    assert found.ms.tolist() == expected


def test_a_zone_is_for_clocks_on_walls(tmp_path):
    path = write(tmp_path, [SECOND], "csv")
    with pytest.raises(
        errors.InputError, match=r"log.csv: column 'timestamp' .*log.timezone \(Europe/Berlin\)"
    ):
        read(path, timezone="Europe/Berlin")
    found, _ = read(write(tmp_path, [45_244], "csv"), timestamp_unit="excel", timezone="Europe/Berlin")
    assert found == [DAY_START - 3_600_000]


TYPED = [
    (pa.timestamp("s"), MS),
    (pa.timestamp("ms", tz="UTC"), MS),
    (pa.timestamp("us", tz="Europe/Berlin"), MS),
    (pa.timestamp("ns"), MS),
    (pa.date32(), DAY_START),
    (pa.date64(), DAY_START),
]


@pytest.mark.parametrize("unit", ["s", "ns", "iso8601"])
@pytest.mark.parametrize("kind, ms", TYPED)
def test_typed_times_need_no_unit(tmp_path, kind, ms, unit):
    moment = datetime.datetime(2023, 11, 14, 22, 31, 44)
    if pa.types.is_date(kind):
        moment = moment.date()
    elif kind.tz:
        moment = moment.replace(tzinfo=datetime.timezone.utc)
    path = write(tmp_path, [moment, None], "parquet", kind)
    found, bad = read(path, timestamp_unit=unit)
    assert found == [ms] and bad == {2: "missing time (column 'timestamp')"}
    zoned, _ = read(path, timestamp_unit=unit, timezone="Asia/Tokyo")
    assert zoned == [ms if getattr(kind, "tz", None) else ms - 9 * 3_600_000]


@pytest.mark.parametrize(
    "values, kind",
    [
        ([True], pa.bool_()),
        ([[1]], pa.list_(pa.int64())),
        ([{"a": 1}], pa.struct([("a", pa.int64())])),
        ([1], pa.time64("us")),
        ([1], pa.duration("s")),
    ],
)
def test_types_that_are_no_times(tmp_path, values, kind):
    path = write(tmp_path, [None], "parquet", kind) if pa.types.is_duration(kind) else None
    path = path or write(tmp_path, values, "parquet", kind)
    with pytest.raises(
        errors.InputError, match=r"log.parquet: column 'timestamp' .*; times are timestamps, dates"
    ):
        read(path)


@pytest.mark.parametrize(
    "kind", [pa.int32(), pa.int64(), pa.uint32(), pa.uint64(), pa.float64(), pa.decimal128(20)]
)
def test_numeric_types_of_parquet(tmp_path, kind):
    far = [2**64 - 1] if kind == pa.uint64() else []
    path = write(tmp_path, [SECOND, None, SECOND + 1, *far], "parquet", kind)
    found, bad = read(path)
    assert found == [MS, MS + 1000] and sorted(bad) == [2, *([4] if far else [])]


def test_one_broken_value_changes_no_other(tmp_path):
    """Integers do not pass through floats: these two are one as float64."""
    first, second = 1_700_001_104_000_000_001, 1_700_001_104_000_000_002
    for broken in ("", "x", "1.5e18", str(2**63), str(10**30)):
        path = write(tmp_path, [second, first, broken], "csv")
        log = spec.LogSpec(path=str(path), timestamp_unit="ns")
        (block,) = readers.read_all([str(path)], log)
        assert block.batch.column("nanos").to_pylist()[:2] == [2, 1]


@pytest.mark.parametrize(
    "unit, written, ms",
    [
        ("s", ["1600000000", "1600000000000", "-1600000000"], [1600000000000]),
        ("s", ["1600000000.5", "1600000000000.5"], [1600000000500]),
        ("s", ["1600000000", "1600000000000000000"], [1600000000000]),  # ns: would not fit in 64 bits as ms
        ("ns", ["1600000000000000000", "9223372036854775807"], [1600000000000]),
        ("us", ["1600000000000000", "9223372036854775807"], [1600000000000]),
    ],
)
def test_times_of_another_unit_are_not_times(tmp_path, unit, written, ms):
    found, bad = read(write(tmp_path, written, "csv"), timestamp_unit=unit)
    assert found == ms and len(bad) == len(written) - len(ms)
    assert all(f"log.timestamp_unit {unit}" in reason for reason in bad.values())


WRONG = [
    ({}, 20231114, 'dates written as numbers, log.timestamp_format: "%Y%m%d"'),
    ({}, 20231114223144, 'dates and times written as numbers, log.timestamp_format: "%Y%m%d%H%M%S"'),
    ({"timestamp_unit": "ms"}, 20231114223144, 'numbers, log.timestamp_format: "%Y%m%d%H%M%S"'),
    ({"timestamp_unit": "ms"}, 202311142231, 'numbers, log.timestamp_format: "%Y%m%d%H%M"'),
    ({}, 45_244, "Excel's days since 1899-12-30, log.timestamp_unit: excel"),
    ({"timestamp_unit": "ms"}, 45_244.93, "Excel's days since 1899-12-30, log.timestamp_unit: excel"),
    ({"timestamp_unit": "iso8601"}, 45_244.93, "Excel's days since 1899-12-30, log.timestamp_unit: excel"),
    ({"timestamp_unit": "ns"}, 638_355_510_000_000_000, ".NET ticks, log.timestamp_unit: dotnet_ticks"),
    ({}, 638_355_510_000_000_000, ".NET ticks, log.timestamp_unit: dotnet_ticks"),
    ({}, 133_444_747_040_000_000, "Windows file times, log.timestamp_unit: filetime"),
    ({"timestamp_unit": "us"}, 13_344_474_704_000_000, "log.timestamp_unit: webkit"),
    ({}, 19_675, "days since 1970, log.timestamp_unit: d"),
    ({}, 2_460_263.5, "Julian days, log.timestamp_unit: julian_day"),
    ({}, MS, "milliseconds since 1970, log.timestamp_unit: ms"),
    ({"timestamp_unit": "ms"}, SECOND, "seconds since 1970, log.timestamp_unit: s"),
    ({"timestamp_unit": "iso8601"}, SECOND, "seconds since 1970, log.timestamp_unit: s"),
    ({"timestamp_format": "%d.%m.%Y"}, SECOND, "seconds since 1970, log.timestamp_unit: s"),
]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("settings, written, words", WRONG)
def test_numbers_of_the_wrong_kind_are_named(tmp_path, format_, settings, written, words):
    for column in both([written]):
        found, bad = read(write(tmp_path, column, format_), **settings)
        assert not found and bad[1].endswith(words), bad


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "written, words",
    [
        (["2023-11-14"], "ISO 8601, log.timestamp_unit: iso8601"),
        (["12/1/2010 8:26"], 'log.timestamp_format: "%d/%m/%Y %H:%M" or log.timestamp_format: "%m/%d/%Y %H:%M"'),
        (["12/1/2010 8:26", "12/13/2010 8:26"], 'with the month first (only so does each number fit), log.'
         'timestamp_format: "%m/%d/%Y %H:%M"'),
        (["01.12.2010", "31.12.2010"], 'log.timestamp_format: "%d.%m.%Y"'),
        (["2010/12/01"], 'dates, log.timestamp_format: "%Y/%m/%d"'),
        (["Tue, 14 Nov 2023 22:31:44 GMT"], 'log.timestamp_format: "%a, %d %b %Y %H:%M:%S %Z"'),
        (["2023-11-14 22:31:44 EST"], 'log.timestamp_format: "%Y-%m-%d %H:%M:%S %Z"'),
        (["2023-11-14 22:31:44 Europe/Berlin"], 'log.timestamp_format: "%Y-%m-%d %H:%M:%S %Z"'),
        (["11/14/2023 10:31 PM"], 'log.timestamp_format: "%m/%d/%Y %I:%M %p"'),
        (["Nov 14, 2023"], 'log.timestamp_format: "%b %d, %Y"'),
        (["14/Nov/2023:22:31:44 +0000"], 'log.timestamp_format: "%d/%b/%Y:%H:%M:%S %z"'),
        (["14-NOV-23"], 'log.timestamp_format: "%d-%b-%y"'),
    ],
)  # fmt: skip
def test_text_of_the_wrong_kind_is_named(tmp_path, format_, written, words):
    found, bad = read(write(tmp_path, written, format_))
    assert not found and all(reason.endswith(words) for reason in bad.values()), bad
    # The setting that is named reads it, but for one where it has to be chosen.
    key, value = words.rsplit("log.", 1)[1].split(": ", 1)
    found, bad = read(write(tmp_path, written, format_), **{key: value.strip('"')})
    assert len(found) == len(written) and not bad


SENTINELS = (
    ["0", "-1"],
    ["1970-01-01", "1900-01-01", "9999-12-31", "9999-12-31T23:59:59Z", "2099-01-01", "0001-01-01"],
)


@pytest.mark.parametrize("format_", FORMATS)
def test_values_that_stand_for_no_time_are_bad_rows(tmp_path, format_):
    for good, bad, unit in ((str(SECOND), SENTINELS[0], "s"), ("2023-11-14", SENTINELS[1], "iso8601")):
        found, reasons = read(write(tmp_path, [good] * 3 + bad, format_), timestamp_unit=unit)
        assert len(found) == 3 and sorted(reasons) == list(range(4, 4 + len(bad)))
        assert all(reason.endswith("; such a value often stands for no time") for reason in reasons.values())


def test_times_that_no_log_has_say_which_setting_lets_them_pass(tmp_path):
    written = ["1985-05-05", "1990-01-01", "2023-11-14"]
    path = write(tmp_path, written, "csv")
    found, bad = read(path, timestamp_unit="iso8601", latest="2023-11-13")
    assert found == [631_152_000_000] and sorted(bad) == [1, 3]
    assert bad[1].startswith("time before 1990-01-01 (column 'timestamp', log.timestamp_unit iso8601)")
    assert "log.earliest" in bad[1] and "log.latest" in bad[3] and "time after 2023-11-13" in bad[3]
    assert len(read(path, timestamp_unit="iso8601", earliest="1985-01-01")[0]) == 3


def test_the_future_begins_a_day_after_now(tmp_path):
    now = int(time.time())
    found, bad = read(write(tmp_path, [now, now + 80_000, now + 90_000], "csv"))
    assert found == [1000 * now, 1000 * (now + 80_000)] and bad[3].startswith("time after ")
    # All who read a log go by the clock of one of them.
    log = times.bounded(spec.LogSpec(path="x"))
    assert abs(log.latest.timestamp() - now - 86_400) < 60 and log.earliest.isoformat()[:10] == "1990-01-01"
    assert times.Rule.of(spec.LogSpec.from_json(log.to_json())) == times.Rule.of(log)


def test_mixed_units_are_named(tmp_path):
    found, bad = read(write(tmp_path, [SECOND] * 5 + [MS] * 4 + [20231114], "csv"))
    assert found == [MS] * 5
    assert [bad[row].split("; looks like ")[1] for row in (6, 10)] == [
        "milliseconds since 1970, log.timestamp_unit: ms",
        'dates written as numbers, log.timestamp_format: "%Y%m%d"',
    ]
    recognised = time_kinds.recognise(pa.chunked_array([pa.array([SECOND] * 5 + [MS] * 5)]))
    assert not recognised.settings and len(recognised.problems) == 2


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "values, settings",
    [
        ([SECOND + n for n in range(50)], {}),
        ([MS + n for n in range(50)], {"timestamp_unit": "ms"}),
        ([20231101 + n for n in range(30)], {"timestamp_format": "%Y%m%d"}),
        ([45_244 + n / 8 for n in range(30)], {"timestamp_unit": "excel"}),
        ([638_355_510_000_000_000 + n for n in range(30)], {"timestamp_unit": "dotnet_ticks"}),
        ([f"2023-11-{n}" for n in range(1, 30)], {"timestamp_unit": "iso8601"}),
        ([f"2023-11-14 22:{n}:44" for n in range(10, 30)], {"timestamp_unit": "iso8601"}),
        ([f"{n}/11/2023 22:31" for n in range(1, 30)], {"timestamp_format": "%d/%m/%Y %H:%M"}),
    ],
)
def test_describe_finds_the_settings_that_a_run_needs(tmp_path, format_, values, settings):
    """Whatever the format, and with one bad line, too."""
    path = write(tmp_path, values, format_)
    if format_ == "jsonl":
        with open(path, "a", encoding="utf-8") as stream:
            stream.write("no JSON\n")
    found = describe.describe(str(path))
    assert found["log"] == {"path": str(path), **settings} and found["events"] == len(values)


def test_describe_asks_which_is_the_day(tmp_path):
    with pytest.raises(
        errors.InputError,
        match="--set 'log.timestamp_format=%d/%m/%Y' or --set 'log.timestamp_format=%m/%d/%Y'",
    ):
        describe.describe(str(write(tmp_path, ["1/2/2023", "12/12/2023"], "csv")))
