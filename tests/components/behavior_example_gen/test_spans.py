"""The marks of a path: which files they stand for, and what is said where a file has something else there."""

import datetime

import pytest

from components.behavior_example_gen import spans, spec
from schemas import errors


def make(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def found(folder, pattern, **options):
    return [path[len(str(folder)) + 1 :] for path in spans.paths(f"{folder}/{pattern}", **options)]


def days(text):
    return (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days


@pytest.mark.parametrize(
    "pattern", ["{YYYY}-{MM}-{DD}.csv", "y={YYYY}/m={MM}/{DD}/*.csv", "e{YYYY}{MM}{DD}*.csv"]
)
def test_dates_are_spans_by_day(tmp_path, pattern):
    dates = ["2010-12-31", "2011-01-16", "2011-02-01"]

    def name(date):
        year, month, day = date.split("-")
        filled = pattern.replace("{YYYY}", year).replace("{MM}", month).replace("{DD}", day)
        return filled.replace("*", "-part")

    make(tmp_path, *map(name, reversed(dates)))
    assert found(tmp_path, pattern) == [name(date) for date in dates]
    assert found(tmp_path, pattern, newest=days("2011-01-31")) == [name(date) for date in dates[:2]]
    assert found(tmp_path, pattern, most=1) == [name(dates[2])]


def test_numbers_may_be_padded_and_have_a_width(tmp_path):
    make(tmp_path, "day-08/a.csv", "day-9/a.csv", "day-10/b.csv", "day-10/a.csv")
    assert found(tmp_path, "day-{SPAN}/*.csv") == [
        "day-08/a.csv",
        "day-9/a.csv",
        "day-10/a.csv",
        "day-10/b.csv",
    ]
    make(tmp_path, "x/20240131v2.csv", "x/20240131v10.csv", "x/20240201v1.csv")
    assert found(tmp_path, "x/{SPAN:8}v{VERSION}.csv") == ["x/20240131v10.csv", "x/20240201v1.csv"]


@pytest.mark.parametrize(
    "name,pattern,words",
    [
        (
            "2011-01-16.csv",
            "{SPAN}.csv",
            ["{SPAN} stands for a whole number, found '2011-01-16'", "/{YYYY}-{MM}-{DD}.csv"],
        ),
        ("log_2011_01_16_h07.csv", "log_{SPAN}.csv", ["/log_{YYYY}_{MM}_{DD}_h*.csv"]),
        (
            "day-old/log.csv",
            "day-{SPAN}/*.csv",
            ["{SPAN} stands for a whole number, found 'old' in", "day-old/log.csv"],
        ),
        ("2011-1-6.csv", "{YYYY}-{MM}-{DD}.csv", ["{MM} stands for 2 digits, found '1'"]),
        ("2011-13-06.csv", "{YYYY}-{MM}-{DD}.csv", ["2011-13-06 is not a date"]),
        ("3/vnew/x.csv", "{SPAN}/v{VERSION}/x.csv", ["{VERSION} stands for a whole number, found 'new'"]),
        ("12.csv", "{SPAN:3}.csv", ["{SPAN} stands for 3 digits, found '12'"]),
        ("a.csv", "day-{SPAN}/*.csv", ["no file matches", "{SPAN} is the whole number of a span"]),
    ],
)
def test_a_file_that_has_something_else_there_is_named(tmp_path, name, pattern, words):
    make(tmp_path, name)
    with pytest.raises(errors.InputError) as caught:
        spans.find(f"{tmp_path}/{pattern}")
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert "(?P" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path,words",
    [
        ("{DATE}.csv", "unknown mark {DATE}"),
        ("{span}.csv", "unknown mark {span}: {SPAN} is the whole number"),
        ("{YYYYMMDD}.csv", "unknown mark {YYYYMMDD}"),
        ("{YYYY}-{MM}.csv", "a date needs {YYYY}, {MM} and {DD}, found only {YYYY}, {MM}"),
        ("{SPAN}/{YYYY}-{MM}-{DD}.csv", "{SPAN} or a date, found both"),
        ("{SPAN}/{SPAN}.csv", "{SPAN} stands in a path once, found it 2 times"),
        ("v{VERSION}.csv", "{VERSION} goes with {SPAN} or a date, found it alone"),
        ("{SPAN:x}.csv", "a width is a number of digits"),
        ("{MM:2}{YYYY}{DD}.csv", "a width is a number of digits"),
        ("s3://b/log/*.csv", "takes a path of a disk or of a bucket of Google Cloud Storage, as gs://"),
        ("hdfs://host/{SPAN}", "found hdfs://host/{SPAN}"),
        ("file:///tmp/log.csv", "found file:///tmp/log.csv"),
    ],
)
def test_marks_and_places_are_checked_with_the_settings(path, words):
    with pytest.raises(ValueError) as caught:
        spec.LogSpec(path=path)
    assert words in str(caught.value)


def test_spans_need_a_mark():
    assert spec.LogSpec(path="{YYYY}/{MM}/{DD}/*.csv", spans=3).unread() == []
    (idle,) = spec.LogSpec(path="log.csv", spans=3).unread()
    assert str(idle) == "spans: found 3, which nothing reads: it goes with {SPAN} or a date in path"


def test_braces_of_a_name_are_no_mark(tmp_path):
    make(tmp_path, "{x}.csv", "{}1.csv")
    assert spec.LogSpec(path="[{]x}.csv").path == "[{]x}.csv"
    assert not spans.has_marks("[{]SPAN}.csv")
    assert spec.LogSpec(path="{}1.csv").path == "{}1.csv"


@pytest.mark.parametrize("pattern", ["{SPAN}", "{SPAN}/", "{SPAN}/**"])
def test_a_folder_is_all_files_in_it(tmp_path, pattern):
    names = ["8/a.csv", "8/hour=1/b.csv", "10/hour=7/c.csv", "10/d.csv"]
    make(tmp_path, *names, "8/_SUCCESS", "8/_temporary/0/x.csv", "_temporary/0/x.csv", ".staging/3/x.csv")
    assert found(tmp_path, pattern) == names[:2] + names[3:] + names[2:3]
    assert found(tmp_path, pattern, most=1) == ["10/d.csv", "10/hour=7/c.csv"]


@pytest.mark.parametrize("pattern", ["{YYYY}-{MM}-{DD}", "{YYYY}-{MM}-{DD}/*", "{YYYY}-{MM}-{DD}/*/"])
def test_a_folder_of_a_date_is_all_files_in_it(tmp_path, pattern):
    make(tmp_path, "2011-01-16/h=1/a.csv", "2011-01-15/h=1/b.csv", "2011-01-15/h=1/deep/c.csv")
    assert found(tmp_path, pattern) == [
        "2011-01-15/h=1/b.csv",
        "2011-01-15/h=1/deep/c.csv",
        "2011-01-16/h=1/a.csv",
    ]
    with pytest.raises(errors.InputError, match="{MM} stands for 2 digits, found '1' in .*/2011-1-6/a.csv"):
        make(tmp_path, "x/2011-1-6/a.csv")
        found(tmp_path, "x/{YYYY}-{MM}-{DD}")


def test_a_version_may_be_a_folder(tmp_path):
    make(tmp_path, "3/v1/a.csv", "3/v2/b.csv", "3/v2/c.csv", "4/v1/d.csv")
    assert found(tmp_path, "{SPAN}/v{VERSION}") == ["3/v2/b.csv", "3/v2/c.csv", "4/v1/d.csv"]


def test_hidden_folders_are_no_part_of_a_span(tmp_path):
    """But those that the path itself has."""
    make(tmp_path, "1/h/part-0.csv", "1/_temporary/part-0.csv", "1/.tmp/part-0.csv", "_d2/part-0.csv")
    assert found(tmp_path, "{SPAN}/*/part-*.csv") == ["1/h/part-0.csv"]
    assert found(tmp_path, "_d{SPAN}/*.csv") == found(tmp_path, "_d{SPAN}") == ["_d2/part-0.csv"]


@pytest.mark.parametrize("hidden", ["_SUCCESS", ".DS_Store"])
def test_a_hidden_file_beside_folders_hides_none_of_them(tmp_path, hidden):
    make(tmp_path, "1/a.csv", "2/a.csv", hidden)
    assert found(tmp_path, "{SPAN}") == ["1/a.csv", "2/a.csv"]
    make(tmp_path, f"none/{hidden}")
    with pytest.raises(
        errors.InputError, match="no file matches .*/none/{SPAN}; 1 whose names begin with . or _ are"
    ):
        found(tmp_path, "none/{SPAN}")


def test_hidden_files_are_no_part_of_a_span(tmp_path):
    day = tmp_path / "day=2026-01-02"
    day.mkdir()
    for name in ("part-0.csv", "_SUCCESS", ".part-0.csv.crc"):
        (day / name).touch()
    assert spans.paths(str(tmp_path / "day={YYYY}-{MM}-{DD}" / "*")) == [str(day / "part-0.csv")]


@pytest.mark.parametrize(
    "pattern, file, there",
    [
        ("log/a.csv", "log/a.csv", True),
        ("log/a.csv", "log/b.csv", False),
        ("log", "log/new.parquet", True),
        ("log/", "log/deep/new.parquet", True),
        ("log", "log/_new.parquet", False),
        ("log", "log/_new/a.csv", False),
        ("log", "logs/new.csv", False),
        ("log/*.csv", "log/new.csv", True),
        ("log/*.csv", "log/new.parquet", False),
        # Files match, so that folders beside them are not read.
        ("log/*", "log/deep/new.csv", False),
        ("l*", "log/new.csv", True),
        ("days/{YYYY}-{MM}-{DD}.csv", "days/2024-01-01.csv", True),
        # Its name would end the next run.
        ("days/{YYYY}-{MM}-{DD}.csv", "days/2024-01-first.csv", True),
        ("days/{YYYY}-{MM}-{DD}.csv", "days/scores.csv", False),
    ],
)
def test_a_path_stands_for_files_that_are_to_come(tmp_path, pattern, file, there):
    """As is found once they are there."""
    make(tmp_path, "log/a.csv", "days/2024-01-02.csv")
    path, file = f"{tmp_path}/{pattern}", f"{tmp_path}/{file}"
    assert spans.stands_for(path, file, spans.paths(path)) == there
    make(tmp_path, file)
    try:
        assert (file in spans.paths(path)) == there
    except errors.InputError:
        assert there
