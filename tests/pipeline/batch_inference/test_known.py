"""Which values of events a model does not know, by hand and of a log."""

import collections

import numpy as np
import pyarrow as pa
import pytest

from components.transform import vocabulary
from pipeline import cli
from pipeline.batch_inference import histories, known
from tests.pipeline.batch_inference import test_embed

base, read_once = test_embed.base, test_embed.read_once


def test_events_outside_of_histories_and_missing_values_do_not_count():
    """Five events of two users, of which the first is cut away: x is known, y is met twice, and one has nothing."""
    distinct = np.array([b"x", b"y", b"", b"z", b""], object)
    found = histories.Histories(
        users=pa.array([b"u", b"v"], pa.binary()),
        begin=np.array([1, 4]),
        lengths=np.array([3, 2]),
        counts=np.array([4, 2]),
        times=np.arange(6),
        texts={"item_id": (np.array([3, 0, 1, 2, 1, 0]), distinct)},
        numbers={},
        of_users={},
        left_out=0,
    )
    (one,) = known.count(found, {"item_id": pa.array([b"x"], pa.binary())})
    assert one == known.Unknown("item_id", events=4, unknown=2, example="y")
    assert str(one) == "item_id: 2 of 4 events (50.0%) have a value that the model does not know, as 'y'"
    (all_known,) = known.count(found, {"item_id": pa.array([b"y", b"x"], pa.binary())})
    assert all_known == known.Unknown("item_id", events=4)
    other = known.Unknown("item_id", events=6, unknown=1, example="w")
    behaviors = known.Unknown("behavior", events=3)
    assert known.Unknown.merged([all_known, behaviors, other, one]) == [
        known.Unknown("item_id", events=14, unknown=3, example="w"),
        behaviors,
    ]


def test_vocabularies_are_those_of_a_saved_model(tmp_path):
    (tmp_path / "assets").mkdir()
    for name, text in (
        ("items", b"i1\ni2\n"),
        ("behaviors", b"view\n"),
        ("item_brand", vocabulary.NOTHING + b"\n"),
    ):
        (tmp_path / "assets" / name).write_bytes(text)
    found = known.vocabularies(str(tmp_path), ["item_id", "behavior", "scene", "item_brand"])
    assert {name: values.to_pylist() for name, values in found.items()} == {
        "item_id": [b"i1", b"i2"],
        "behavior": [b"view"],
    }


@pytest.mark.parametrize("shards", [1, 2])
def test_what_the_model_has_not_met_is_said(base, tmp_path, capsys, shards):
    model_items = set((base / "7" / "assets" / "items").read_text().split())
    rows = [
        (user, "odd" if item == "i1" else item, "stare" if user == "u3" else behavior, time)
        for user, item, behavior, time in test_embed.EVENTS
    ]
    last = collections.defaultdict(list)
    for user, item, behavior, _ in sorted(rows, key=lambda row: row[-1]):
        last[user] = [*last[user], (item, behavior)][-8:]
    events = [event for history in last.values() for event in history]
    items = sum(item not in model_items for item, _ in events)
    stares = sum(behavior == "stare" for _, behavior in events)
    assert 0 < items < len(events)
    log = test_embed.write_log(tmp_path / "log.csv", rows)
    experiment = test_embed.write_experiment(tmp_path / "toy.yaml", log)
    output = tmp_path / "users.parquet"
    command = ["embed", str(base), "-o", str(output), "--experiment", experiment]
    assert cli.execute([*command, "--set", f"window.shards={shards}"]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "does not know" in line]
    assert len(said) == 2
    assert said[0].startswith(
        f"  item_id: {items} of {len(events)} events ({items / len(events):.1%}) have a"
    )
    assert said[1] == (
        f"  behavior: {stares} of {len(events)} events ({stares / len(events):.1%}) have a value that the model does not "
        "know, as 'stare'"
    )


def test_a_log_of_other_items_is_refused(base, tmp_path, capsys):
    rows = [(user, f"x{item}", behavior, time) for user, item, behavior, time in test_embed.EVENTS]
    log = test_embed.write_log(tmp_path / "log.csv", rows)
    experiment = test_embed.write_experiment(tmp_path / "toy.yaml", log)
    output = tmp_path / "users.parquet"
    said = test_embed.said(capsys, base, "-o", output, "--experiment", experiment)
    assert f"{log}: the model {base}/7 knows none of the items of 35 events, as 'xi" in said
    assert said.endswith("to name a column of the items that it was trained on; found item_id")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "toy.yaml"]
