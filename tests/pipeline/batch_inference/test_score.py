"""`footfall score`: of each user at a moment what training's windows of that moment say, and what a server answers."""

import collections
import json
import math
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import yaml

from components.behavior_example_gen import profile, shards, splits, time_span
from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.cutting import period as cutting
from components.behavior_example_gen.windows import kind
from components.behavior_example_gen.windows.period import Period, PeriodWindow
from components.transform import fields
from components.transform import spec as features_spec
from components.transform.windows import period as preprocessing
from pipeline import cli
from serving import export
from tests import exposure_fixtures, fixtures
from tests.components.behavior_example_gen.cutting import test_next
from tests.pipeline.batch_inference import test_embed
from tests.serving import test_labels_of_periods

_COLUMNS = {
    "user_id": "user_id",
    "item_id": "item_id",
    "timestamp": "timestamp",
    "behavior": "behavior",
    "context": {"amount": {"column": "amount", "type": "numeric"}},
    "user": {"tier": "tier", "region": "region"},
}
_LABELS = {"churn": {"none_of": {}}, "events": {"any_of": {"behavior": ["buy"]}}}
_WINDOW = {"kind": "period", "past": 0.2, "future": 0.05, "min_future": 0, "length": 6, "labels": _LABELS}
_CUTS = splits.Cuts(600, 800)


def _events():
    """What is known of a user changes from event to event, and may be missing."""
    events = test_next.make_log(4, times=997, behaviors=["view", "buy"])
    rng = np.random.default_rng(4)
    for event in events:
        event["amount"] = [1.0, 2.5, math.nan][rng.integers(3)]
        event["tier"] = ["gold", "silver", ""][rng.integers(3)]
        event["region"] = ["a", "b"][rng.integers(2)]
    return events


EVENTS = _events()
# The same with a day in place of each ms.
DAY = 86_400_000
_OF_DAYS = [{**event, "time": event["time"] * DAY} for event in EVENTS]
_WINDOW_OF_DAYS = {**_WINDOW, "past": 200 * 86_400.0, "future": 50 * 86_400.0}


def _windows(window, events, cuts):
    """All windows of the events, by the kernels of training."""
    table = test_next.table(events)
    for name, key, type_ in (
        ("context_amount", "amount", pa.float64()),
        ("user_tier", "tier", pa.binary()),
        ("user_region", "region", pa.binary()),
    ):
        values = [e[key].encode() if type_ == pa.binary() else e[key] for e in events]
        table = table.append_column(name, pa.array(values, type_))
    found = shards.sort_events(table, window_spec.SplitSpec(by=("time",)), cuts)
    counts = profile.count(found)
    popularity = profile.popularity(counts, window.recent_share)
    rows = []
    for split, batch, _ in cutting.cut(found, window, kind.Context(popularity, cuts, counts.end)):
        rows += [{"split": split, **row} for row in (batch.to_pylist() if batch is not None else ())]
    return rows


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The versions of a model of labels, the windows of all moments, and its probabilities of these."""
    return _serve(tmp_path_factory.mktemp("scored"), _WINDOW, EVENTS, _CUTS)


def _serve(folder, window, events, cuts):
    window, columns = PeriodWindow(**window), window_spec.Columns.from_values(_COLUMNS)
    features = features_spec.FeaturesSpec()
    rows = [row for row in _windows(window, events, cuts) if row["moment"] != [0]]
    config = {"window": window.to_json(), "features": features.to_json(), "columns": columns.to_json()}
    schema = Period().schema(window, columns, window_spec.SplitSpec(), max_skew=1.0, max_drift=1.0)
    examples = [test_labels_of_periods._plain(row) for row in rows if row["split"] == "train"]
    fixtures.transform_once(
        str(folder),
        examples,
        schema,
        lambda inputs: preprocessing.preprocessing_fn(inputs, config),
        made_of=("scores of users", examples, config),
    )
    output = tft.TFTransformOutput(os.path.join(folder, "transform"))
    model = exposure_fixtures.LinearModel(
        fields.load_fields(output, window, features, columns), list(_LABELS)
    )
    export.export_model(model, output, str(folder / "versions" / "7"), objective="labels")
    parsed = tf.io.parse_example(
        [test_labels_of_periods._serialized(row) for row in rows], output.raw_feature_spec()
    )
    probabilities = model.probabilities(output.transform_features_layer()(parsed)).numpy()
    return folder / "versions", rows, probabilities


def _write(path, events=EVENTS):
    lines = ["user_id,item_id,behavior,amount,tier,region,timestamp"]
    for e in events:
        amount = "" if math.isnan(e["amount"]) else str(e["amount"])
        values = (e["user"], e["item"], e["behavior"], amount, e["tier"], e["region"])
        lines.append(",".join((*values, str(e["time"]))))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.fixture
def score(served, tmp_path, capsys):
    log = _write(tmp_path / "log.csv")
    values = {
        "name": "toy",
        "log": {"path": log, "timestamp_unit": "ms", "columns": _COLUMNS, "earliest": "1970-01-01"},
        "window": {**_WINDOW, "shards": 2},
        "split": {"by": ["time"]},
        "model": {"name": "mlp"},
    }
    experiment = tmp_path / "toy.yaml"
    experiment.write_text(yaml.safe_dump(values))

    def run(*arguments):
        output = tmp_path / "scores.parquet"
        command = ["score", str(served[0]), "-o", str(output), "--experiment", str(experiment)]
        assert cli.execute([*command, *map(str, arguments)]) == 0, capsys.readouterr().err
        return {row["user_id"]: row for row in pq.read_table(output).to_pylist()}, capsys.readouterr().out

    return run


def _iso(ms):
    return f"1970-01-01T00:00:00.{ms:03}Z"


def test_scores_are_what_training_computes_of_windows_at_that_moment(served, score):
    _, rows, probabilities = served
    at = collections.defaultdict(dict)
    for row, found in zip(rows, probabilities):
        at[row["moment"][0]][row["user_id"][0].decode()] = (row, found)
    users = {event["user"] for event in EVENTS}
    for moment in (sorted(at)[2], sorted(at)[-1]):
        found, printed = score("--at", _iso(moment))
        assert set(found) == set(at[moment]) and 3 < len(found) < len(users)
        for user, (row, wanted) in at[moment].items():
            told = found[user]
            assert told["moment"].timestamp() * 1000 == pytest.approx(moment)
            np.testing.assert_allclose(
                [told["probability_churn"], told["probability_events"]], wanted, rtol=1e-5
            )
            last = max(row["history_timestamp"])
            assert told["last_timestamp"].timestamp() * 1000 == pytest.approx(last)
        before = {event["user"] for event in EVENTS if event["time"] < moment}
        assert (
            f"{len(found)} users, probability_churn, probability_events as of 1970-01-01T00:00:00." in printed
        )
        assert f"left out: {len(users) - len(found)} users without an event in the 0.2s before " in printed
        assert len(before) >= len(found)


@pytest.mark.parametrize("bins", [None, 2])
def test_without_a_moment_it_is_right_after_the_last_event(score, monkeypatch, bins):
    """Also of logs of so many times that when events are is known but roughly."""
    if bins is not None:
        monkeypatch.setattr(time_span, "_HISTOGRAM_BINS", 1 << bins)
        monkeypatch.setattr(time_span, "_GRID_BITS", bins)
    found, printed = score("--set", "window.shards=3")
    moment = max(event["time"] for event in EVENTS) + 1
    assert {row["moment"].timestamp() for row in found.values()} == {moment / 1000}
    assert f" as of 1970-01-01T00:00:00.{moment}000+00:00, by " in printed
    last = {event["user"] for event in EVENTS if event["time"] >= moment - 200}
    assert set(found) == last
    again, _ = score("--at", _iso(moment))
    assert set(again) == set(found)
    for user, row in found.items():
        assert row["probability_churn"] == pytest.approx(again[user]["probability_churn"], rel=1e-5)


def test_a_log_of_days_is_asked_at_the_end_of_the_last_one(tmp_path, capsys):
    """Where training's moments are: one that the log ends at is asked about as in training, ages included."""
    cuts = splits.Cuts(600 * DAY, 800 * DAY)
    versions, rows, probabilities = _serve(tmp_path / "model", _WINDOW_OF_DAYS, _OF_DAYS, cuts)
    days = {event["time"] for event in _OF_DAYS}
    moment = max(row["moment"][0] for row in rows if row["moment"][0] - DAY in days)
    before = [event for event in _OF_DAYS if event["time"] < moment]
    wanted = {
        row["user_id"][0].decode(): found
        for row, found in zip(rows, probabilities)
        if row["moment"] == [moment]
    }
    output, experiment = tmp_path / "scores.parquet", tmp_path / "toy.yaml"
    values = {
        "name": "toy",
        "log": {"path": "", "timestamp_unit": "ms", "columns": _COLUMNS, "earliest": "1970-01-01"},
        "window": {**_WINDOW_OF_DAYS, "shards": 2},
        "split": {"by": ["time"]},
        "model": {"name": "mlp"},
    }

    def score(events):
        values["log"]["path"] = _write(tmp_path / "log.csv", events)
        experiment.write_text(yaml.safe_dump(values))
        command = ["score", str(versions), "-o", str(output), "--experiment", str(experiment)]
        assert cli.execute(command) == 0, capsys.readouterr().err
        return {row["user_id"]: row for row in pq.read_table(output).to_pylist()}

    found = score(before)
    assert {row["moment"].timestamp() * 1000 for row in found.values()} == {moment}
    assert set(found) == set(wanted) and len(wanted) > 3
    for user, chances in wanted.items():
        told = [found[user]["probability_churn"], found[user]["probability_events"]]
        np.testing.assert_allclose(told, chances, rtol=1e-5)
    # One time of day, and it is a log of times.
    noon = [*before[:-1], {**before[-1], "time": before[-1]["time"] + DAY // 2}]
    last = max(event["time"] for event in noon)
    assert {row["moment"].timestamp() * 1000 for row in score(noon).values()} == {last + 1}


def test_users_with_fewer_events_than_training_had_are_left_out(score):
    found, printed = score("--set", "window.min_history=3")
    moment = max(event["time"] for event in EVENTS) + 1
    counts = collections.Counter(event["user"] for event in EVENTS if event["time"] >= moment - 200)
    assert set(found) == {user for user, count in counts.items() if count >= 3} < set(counts)
    assert all(found[user]["events"] == counts[user] for user in found)
    users = len({event["user"] for event in EVENTS})
    assert f"left out: {users - len(found)} users with fewer than 3 events in the 0.2s before " in printed


def test_the_table_has_columns_of_its_own_and_of_labels(score, tmp_path):
    score()
    schema = pq.read_schema(tmp_path / "scores.parquet")
    assert [(field.name, str(field.type)) for field in schema] == [
        ("user_id", "string"),
        ("events", "int64"),
        ("last_timestamp", "timestamp[ms, tz=UTC]"),
        ("moment", "timestamp[ms, tz=UTC]"),
        ("probability_churn", "float"),
        ("probability_events", "float"),
    ]


def test_values_of_users_that_the_model_has_not_met_are_said(score, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(log.read_text().replace(",gold,", ",platinum,"))
    found, printed = score()
    said = {line.split(":")[0].strip(): line for line in printed.splitlines()[1:]}
    # Of the users, by what their last event says.
    tiers = {event["user"]: event["tier"] for event in sorted(EVENTS, key=lambda event: event["time"])}
    golden = sum(tiers[user] == "gold" for user in found)
    told = sum(bool(tiers[user]) for user in found)
    assert 0 < golden < told
    assert said["user_tier"].startswith(f"  user_tier: {golden} of {told} users (")
    assert said["user_tier"].endswith("as 'platinum'") and "user_region" not in said


def test_what_does_not_fit_is_one_line(served, toy, tmp_path, capsys):
    log = _write(tmp_path / "log.csv")
    columns = {**_COLUMNS, "user": {"tier": "tier"}}
    settings = {"timestamp_unit": "ms", "earliest": "1970-01-01"}
    values = {"name": "toy", "model": {"name": "mlp"}, "window": _WINDOW}
    experiment = tmp_path / "toy.yaml"

    def said(model, columns, **window):
        log_values = {"path": log, "columns": columns, **settings}
        experiment.write_text(json.dumps({**values, "log": log_values, "window": {**_WINDOW, **window}}))
        output = str(tmp_path / "scores.parquet")
        assert cli.execute(["score", str(model), "-o", output, "--experiment", str(experiment)]) == 2
        return capsys.readouterr().err.strip()

    assert (
        "the model takes user_region of each user, categorical; log.columns has context_amount, user_tier"
        in said(served[0], columns)
    )
    assert "window.past: the model " in said(served[0], _COLUMNS, past=0.3)
    ranking = test_embed.write_experiment(tmp_path / "next.yaml", log)
    output = str(tmp_path / "scores.parquet")
    assert cli.execute(["score", str(toy / "model"), "-o", output, "--experiment", ranking]) == 2
    assert (
        "the model has no signature 'predict'; models of labels of what users do (window.labels) have it for users; this one "
        "has " in capsys.readouterr().err
    )


def test_a_model_of_exposures_is_refused(tmp_path, capsys, shop):
    experiment = test_embed.write_experiment(tmp_path / "toy.yaml", _write(tmp_path / "log.csv"))
    command = ["score", str(shop / "model"), "-o", str(tmp_path / "s.parquet"), "--experiment", experiment]
    assert cli.execute(command) == 2
    assert (
        "the model has nothing for users in its signature 'predict'; models of labels of"
        in capsys.readouterr().err
    )
