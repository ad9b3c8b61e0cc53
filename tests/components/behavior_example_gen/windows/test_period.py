"""What is told of a log that does not have what labels of a period ask."""

import re

import pyarrow as pa
import pytest

from components.behavior_example_gen import profile, spec, splits, windows
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.behavior_example_gen.windows.period import PeriodWindow
from schemas import errors, names
from tests.components.behavior_example_gen import harness

DAY = 86_400_000
COLUMNS = {
    "behavior": "behavior",
    "scene": "scene",
    "context": {"chan": "chan"},
    "item": {"price": {"column": "price", "type": "numeric"}},
}


def rows(days=100):
    """An event of each of forty users a day, of two channels; one alone is of channel `late`."""
    for day in range(days):
        for user in range(40):
            channel = "late" if (day, user) == (days - 3, 5) else f"c{1 + 2 * (day % 2)}"
            yield f"u{user},i{(day + user) % 40},{day * DAY + user},view,home,{channel},5"


def run(folder, labels, split=("time",), **settings):
    folder.mkdir(exist_ok=True)
    header = "user_id,item_id,timestamp,behavior,scene,chan,price"
    path = harness.write_csv(folder / "log.csv", rows(), header)
    log = spec.LogSpec.from_values({"path": path, "timestamp_unit": "ms", "columns": COLUMNS})
    values = {"kind": "period", "past": "5d", "future": "1d", "shards": 4, "labels": labels, **settings}
    return harness.run(folder, log, PeriodWindow.from_values(values), spec.SplitSpec(by=split))


def fails(folder, labels, **settings):
    with pytest.raises(errors.InputError) as caught:
        run(folder, labels, **settings)
    return str(caught.value)


@pytest.mark.parametrize(
    "label, message",
    [
        (
            {"any_of": {"context_chan": ["c1", "C3"]}},
            "window.labels.wrong.any_of.context_chan: no event of C3; the log has c1, c3, late",
        ),
        (
            {"none_of": {"scene": "cart"}},
            "window.labels.wrong.none_of.scene: no event of cart; the log has home",
        ),
        (
            {"count": {"behavior": ["view", "buy"]}, "over": 1},
            "window.labels.wrong.count.behavior: no event of buy; the log has view",
        ),
        (
            {"sum": "item_price", "over": 1, "where": {"context_chan": "c2"}},
            "window.labels.wrong.where.context_chan: no event of c2; the log has c1, c3, late",
        ),
        (
            {"next": {"item_id": ["i39", "i40"]}},
            "window.labels.wrong.next.item_id: no event of i40; the log has i0, i1, i10, ",
        ),
    ],
)
def test_a_value_that_no_event_has_is_refused(tmp_path, label, message):
    found = fails(tmp_path, {"wrong": label})
    assert found.startswith(message), found
    assert len(found) < 250 and found.endswith(", ...") == ("item_id" in message)


def test_a_log_whose_rare_items_are_left_out_has_no_labels():
    log = {"path": "log.csv", "timestamp_unit": "ms", "columns": COLUMNS, "filter": {"min_item_events": 5}}
    values = {"kind": "period", "past": "5d", "future": "1d", "labels": {"gone": {"none_of": {}}}}
    kind = windows.get("period")
    log = spec.LogSpec.from_values(log)
    with pytest.raises(
        errors.InputError, match="log.filter: .* Found min_item_events: 5, min_user_events: 1: use"
    ):
        kind.check(PeriodWindow.from_values(values), log, spec.SplitSpec())
    kind.check(PeriodWindow.from_values({**values, "labels": {}}), log, spec.SplitSpec())


def test_a_value_of_one_event_of_one_shard_is_known(tmp_path):
    examples, _, _ = run(tmp_path, {"late": {"any_of": {"context_chan": "late"}}})
    assert {name: sum(row["label_late"][0] for row in found) for name, found in examples.items()} == {
        names.TRAIN: 0,
        names.EVAL: 0,
        names.TEST: 1,
    }


def test_a_label_that_train_never_knows_is_refused(tmp_path):
    found = fails(tmp_path, {"far": {"none_of": {}, "within": "400d"}, "near": {"any_of": {}}})
    assert re.fullmatch(
        r"window\.labels\.far: unknown in all [\d,]+ windows of train: `within` \(400d\) ends after what train may know; "
        r"it has 80d, 1970-01-01T00:00:00\+00:00 to 1970-03-22T00:00:00\+00:00",
        found,
    ), found
    # Of users alone there are no cuts.
    found = fails(tmp_path, {"far": {"none_of": {}, "within": "400d"}}, split=("held_out_users",))
    assert "it has 99d, 1970-01-01" in found and "to 1970-04-10" in found


def test_a_label_that_test_never_knows_is_refused(tmp_path):
    found = fails(tmp_path, {"far": {"none_of": {}, "within": "60d"}})
    assert re.fullmatch(
        r"window\.labels\.far: unknown in all [\d,]+ windows of test: `within` \(60d\) ends after what test may know; it has "
        r"9d, 1970-04-01T00:00:00\+00:00 to 1970-04-10T00:00:00\+00:00",
        found,
    ), found


def test_a_label_that_train_and_test_know_now_and_then_is_fine(tmp_path):
    _, profile, _ = run(tmp_path, {"far": {"none_of": {}, "within": "5d"}})
    unknown = profile["labels"]["unknown"]
    for split in ("train", "test"):
        assert 0 < unknown[split]["far"] < profile["windows"][split]


def test_values_are_read_as_those_of_the_log():
    """Blanks around a value of the log are left out, so that one that is copied from a file has none either."""
    match = {"behavior": [" buy ", 7], "item_id": "SET OF 3 "}
    window = PeriodWindow.from_values(
        {"kind": "period", "past": "5d", "future": "1d", "labels": {"x": {"any_of": match}}}
    )
    assert window.labels["x"].match == {"behavior": ("buy", "7"), "item_id": ("SET OF 3",)}
    assert spec.SplitSpec(target_behaviors=(" buy",)).target_behaviors == ("buy",)
    exposure = {"kind": "exposure", "steps": ["buy"], "exposure": "view ", "horizon": "1d"}
    assert ExposureWindow.from_values(exposure).exposure == "view"


def test_a_log_that_is_younger_than_the_past_of_moments_is_told(tmp_path, caplog):
    """A hundred days, cuts at 80 and 90: of 79 moments of train nine have less than ten days before them."""
    labels = {"late": {"any_of": {"context_chan": "late"}}}
    run(tmp_path, labels, past="10d")
    said = [record.getMessage() for record in caplog.records if "younger" in record.getMessage()]
    assert len(said) == 1 and said[0].startswith(
        "train: at 9 of 79 moments the log is younger than window.past (10d): it begins at 1970-01-01T00:00:00+00:00."
    )
    assert said[0].endswith("a shorter window.past, or window.moments: 70 leaves none of them")
    caplog.clear()
    run(tmp_path / "fewer", labels, past="10d", moments=70)
    assert "younger" not in caplog.text


def test_a_log_that_is_too_young_for_what_is_measured_is_told(caplog):
    counts = profile.Counts(pa.table({}), {}, {}, start=0, end=99 * DAY, until=99 * DAY)

    def said(past):
        values = {"kind": "period", "past": past, "future": "1d"}
        window = PeriodWindow.from_values(values)
        windows.get("period").tell(window, {"periods": {}}, {}, splits.Cuts(80 * DAY, 90 * DAY), counts)
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    # Without labels nothing is asked of what training moments lead to.
    assert said("10d") == []
    (found,) = said("85d")
    assert found.startswith("eval: at 5 of 10 moments the log is younger than window.past (85d)")
    assert found.endswith("a shorter window.past leaves none of them")
