"""Spans: which files a run reads, and what makes it read them again."""

import pytest

from components.behavior_example_gen import fingerprint, spans, spec, state
from schemas import errors
from tests.components.behavior_example_gen import harness


def test_spans_bring_new_days_and_keep_history(tmp_path):
    def day(number):
        folder = tmp_path / f"day-{number}"
        folder.mkdir()
        harness.write_csv(folder / "log.csv", [f"u{n % 6},i{n % 9},{1000 * number + n}" for n in range(60)])

    day(1), day(2)
    log = spec.LogSpec(path=str(tmp_path / "day-{SPAN}" / "*.csv"), timestamp_unit="ms")
    _, first, _ = harness.run(tmp_path / "first", log, span=2)
    day(3)
    found, second, _ = harness.run(tmp_path / "second", log, span=3)
    assert (first["events"], second["events"]) == (120, 180)
    assert max(w["target_timestamp"] for w in found["test"]) >= 3000
    assert any(w["history_timestamp"][0] < 3000 for w in found["test"])
    # The span that was found is the newest to be read, and `spans` limits the past.
    assert harness.run(tmp_path / "third", log, span=2)[1]["events"] == 120
    limited = log.model_copy(update={"spans": 1})
    assert harness.run(tmp_path / "fourth", limited, span=3)[1]["events"] == 60


def test_late_events_of_an_older_span_are_no_cached_input(tmp_path):
    for number in (1, 2):
        (tmp_path / f"day-{number}").mkdir()
        harness.write_csv(tmp_path / f"day-{number}" / "log.csv", harness.log_rows())

    def fingerprint(**settings):
        log = spec.LogSpec(path=str(tmp_path / "day-{SPAN}" / "*.csv"), **settings)
        found = state.look(log)
        assert found["span"] == 2
        return found["fingerprint"]

    before, newest = fingerprint(), fingerprint(spans=1)
    assert fingerprint() == before
    with open(tmp_path / "day-1" / "log.csv", "a", encoding="utf-8") as stream:
        stream.write("late,i1,5\n")
    changed = fingerprint()
    harness.write_csv(tmp_path / "day-1" / "more.csv", harness.log_rows(3))
    assert len({before, changed, fingerprint()}) == 3
    # What is not read does not count.
    assert fingerprint(spans=1) == newest


@pytest.mark.parametrize(
    "pattern,names", [("{YYYY}-{MM}-{DD}.csv", ("2010-12-31", "2011-01-16")), ("{SPAN}.csv", ("07", "8"))]
)
def test_the_newest_span_is_found_and_read(tmp_path, pattern, names):
    for name in names:
        harness.write_csv(tmp_path / f"{name}.csv", harness.log_rows())
    log = spec.LogSpec(path=str(tmp_path / pattern), timestamp_unit="ms")
    found = state.look(log)
    assert found["span"] == (14990 if "YYYY" in pattern else 8)  # days since 1970
    assert harness.run(tmp_path / "all", log, span=found["span"])[1]["events"] == 2 * len(harness.log_rows())
    assert harness.run(tmp_path / "old", log, span=found["span"] - 1)[1]["events"] == len(harness.log_rows())


def test_a_span_that_is_no_number_is_said_in_words(tmp_path):
    harness.write_csv(tmp_path / "2011-01-16.csv", harness.log_rows())
    log = spec.LogSpec(path=str(tmp_path / "{SPAN}.csv"))
    with pytest.raises(
        errors.InputError, match=r"found '2011-01-16' in .*path: .*/\{YYYY\}-\{MM\}-\{DD\}\.csv"
    ):
        state.look(log)


def test_a_log_that_changes_between_the_look_and_the_reading_is_told(tmp_path):
    path = tmp_path / "log.csv"
    log = spec.LogSpec(path=harness.write_csv(path, harness.log_rows()))
    found = state.look(log)
    assert found["span"] is None
    with fingerprint.unchanged(spans.find(log.path)) as files:
        state.check(log, found, files)
    with open(path, "a", encoding="utf-8") as stream:
        stream.write("late,i1,5\n")
    with pytest.raises(errors.InputError, match=r"log\.csv: was changed between the start of this run"):
        with fingerprint.unchanged(spans.find(log.path)) as files:
            state.check(log, found, files)
