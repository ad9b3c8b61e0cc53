"""Which log and which span a run reads."""

import pytest

from components.behavior_example_gen import spec, state
from components.log_state import executor
from schemas import errors


@pytest.fixture
def log(tmp_path):
    for folder in ("a", "b"):
        for day in ("2024-05-01", "2024-05-03"):
            (tmp_path / folder / day).mkdir(parents=True)
            (tmp_path / folder / day / "log.csv").write_text(f"{folder} {day}")
    return spec.LogSpec(path=str(tmp_path / "a" / "{YYYY}-{MM}-{DD}" / "*.csv"))


def test_a_run_reads_the_newest_span_unless_it_names_one(log):
    newest = state.look(log)
    assert executor.look(log) == executor.look(log, log.path, "newest") == newest
    earlier = executor.look(log, span="2024-05-01")
    assert earlier["span"] == newest["span"] - 2 and earlier["fingerprint"] != newest["fingerprint"]
    assert "path" not in earlier


def test_a_run_reads_another_log(log, tmp_path):
    other = log.path.replace(str(tmp_path / "a"), str(tmp_path / "b"))
    found = executor.look(log, other)
    assert found == {**state.look(log.model_copy(update={"path": other})), "path": other}
    assert state.of_run(log, found["path"]).path == other and state.of_run(log, None) is log


@pytest.mark.parametrize(
    "path, span, words",
    [
        (None, "2024-05-02", r"no file of span 2024-05-02 .* the one before it is"),
        (None, "2024-04-30", "no file matches"),
        (None, "7", "a span is a date, as 2024-05-31, found '7'"),
        ("/x/*.csv", None, "stands for spans if log.path does"),
        ("/x/{SPAM}.csv", None, r"log_path: unknown mark \{SPAM\}"),
    ],
)
def test_what_a_run_cannot_read_is_told(log, path, span, words):
    with pytest.raises(errors.InputError, match=words):
        executor.look(log, path, span)


def test_a_log_without_spans_has_none_to_choose(tmp_path):
    (tmp_path / "log.csv").write_text("x")
    with pytest.raises(errors.InputError, match="no {SPAN} and no date to choose by"):
        executor.look(spec.LogSpec(path=str(tmp_path / "log.csv")), span="3")
