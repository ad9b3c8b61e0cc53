"""AnomalyGate on real statistics: what stops a run, and that it says why."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils
from tfx_bsl.coders import example_coder

from components.anomaly_gate import executor, shifts
from components.behavior_example_gen import spec
from components.behavior_example_gen.windows import next as next_windows
from schemas import errors, load, names
from tests.components.behavior_example_gen import harness

SCHEMA = schema_pb2.Schema()
SCHEMA.feature.extend(
    f
    for f in load.next_window_schema(True, False).feature
    if f.name in (names.TARGET_ITEM_ID, names.TARGET_BEHAVIOR)
)


def frame(view_share, rows=200, items=20):
    views = int(rows * view_share)
    return pd.DataFrame(
        {
            names.TARGET_ITEM_ID: [f"i{n % items}" for n in range(rows)],
            names.TARGET_BEHAVIOR: ["view"] * views + ["buy"] * (rows - views),
        }
    )


def statistics(folder, frames, span):
    artifact = standard_artifacts.ExampleStatistics()
    artifact.uri, artifact.span = str(folder), span
    artifact.split_names = artifact_utils.encode_split_names(list(frames))
    for split, data in frames.items():
        (folder / f"Split-{split}").mkdir(parents=True)
        stats = tfdv.generate_statistics_from_dataframe(data)
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(stats.SerializeToString())
    return artifact


def run(tmp_path, splits, span=0, accepted_root=None, error_rate=0.01, log_path=None, max_shrink=0.5):
    stats = statistics(tmp_path / "stats", splits, span)
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(tmp_path / "anomalies")
    anomalies.split_names = stats.split_names
    for split, data in splits.items():
        found = tfdv.validate_statistics(tfdv.generate_statistics_from_dataframe(data), SCHEMA)
        (tmp_path / "anomalies" / f"Split-{split}").mkdir(parents=True)
        (tmp_path / "anomalies" / f"Split-{split}" / "SchemaDiff.pb").write_bytes(found.SerializeToString())
    schema = standard_artifacts.Schema()
    schema.uri = str(tmp_path / "schema")
    io_utils.write_pbtxt_file(str(tmp_path / "schema" / "schema.pbtxt"), SCHEMA)
    output = standard_artifacts.ExampleAnomalies()
    output.uri = str(tmp_path / "output")
    inputs = {"statistics": [stats], "anomalies": [anomalies], "schema": [schema]}
    properties = {"accepted_root": str(accepted_root)} if accepted_root else {}
    properties.update(
        error_rate=error_rate, log_path=log_path, usual_path="log/{SPAN}", max_shrink=max_shrink
    )
    executor.Executor().Do(inputs, {"comparisons": [output]}, properties)
    return artifact_utils.decode_split_names(output.split_names)


def alike():
    return {split: frame(0.8) for split in names.SPLITS}


def test_data_like_the_schema_pass(tmp_path):
    assert run(tmp_path, alike()) == ["eval-against-train", "test-against-train"]
    assert (tmp_path / "output" / "Split-test-against-train" / "SchemaDiff.pb").exists()


def test_a_missing_feature_stops_and_is_named(tmp_path):
    splits = alike()
    splits["eval"] = splits["eval"].drop(columns=names.TARGET_BEHAVIOR)
    with pytest.raises(errors.InputError) as caught:
        run(tmp_path, splits)
    message = str(caught.value)
    assert "feature 'target_behavior' (split eval)" in message and "Column dropped" in message
    assert "\n" not in message


def test_skew_between_splits_stops(tmp_path):
    """A deliberately skewed split: in training most targets are views, in test most are buys."""
    with pytest.raises(errors.InputError) as caught:
        run(tmp_path, {**alike(), "test": frame(0.2)})
    assert str(caught.value) == (
        "1 anomaly(ies) stop the run before training: feature 'target_behavior' (test against train): differs by more "
        "than validation.max_skew (0.2): 'buy' has 80.0% in test and 20.0% in train, 0.60 apart (of 200 and 200 "
        "windows; by chance with a probability of below 0.0001)"
    )


def test_a_difference_of_few_windows_is_a_warning(tmp_path, caplog):
    """14 windows that are 0.23 apart; by the bare distance they stop the run."""
    few = {**alike(), "eval": frame(8 / 14, rows=14)}
    with caplog.at_level("WARNING", "footfall.progress"):
        run(tmp_path / "tested", few)
    (message,) = [
        record.getMessage() for record in caplog.records if "target_behavior" in record.getMessage()
    ]
    assert message.startswith(
        "anomaly of feature 'target_behavior' (eval against train): differs by more than validation.max_skew (0.2), "
        "which may be chance: 'view' has 57.1% in eval and 80.0% in train, 0.23 apart (of 14 and 200 windows"
    )
    for number, off in enumerate((0, None)):
        with pytest.raises(errors.InputError, match=r"\(eval against train\): .*0.23 apart$"):
            run(tmp_path / str(number), few, error_rate=off)


def test_a_span_of_far_fewer_windows_stops(tmp_path):
    """As a day of which half the files came; it is not what later spans are held against."""
    accepted = tmp_path / "accepted"

    def of(rows):
        return {split: frame(0.8, rows=rows) for split in names.SPLITS}

    run(tmp_path / "4", of(1000), 4, accepted)
    message = r"span 5 has 490 training windows, 51% fewer than the 1,000 of span 4: more than validation.max_shrink \(0.5\)"
    for attempt in "56":
        with pytest.raises(errors.InputError, match=message):
            run(tmp_path / attempt, of(490), 5, accepted)
    run(tmp_path / "any", of(490), 5, accepted, max_shrink=None)
    run(tmp_path / "7", of(250), 6, accepted)
    with pytest.raises(
        errors.InputError, match="span 7 has 10 training windows, 96% fewer than the 250 of span 6"
    ):
        run(tmp_path / "8", of(10), 7, accepted)


def test_another_log_of_a_run_is_compared_with_itself_alone(tmp_path):
    accepted = tmp_path / "accepted"
    drifted = {split: frame(0.3) for split in names.SPLITS}
    for number, (span, path, splits, compared) in enumerate(
        (
            (4, "log/{SPAN}", alike(), None),
            (5, "other/{SPAN}", drifted, None),
            (6, "other/{SPAN}", drifted, 5),
            (7, None, alike(), 4),
        )
    ):
        found = run(tmp_path / str(number), splits, span, accepted, log_path=path)
        assert found[2:] == ([f"train-of-span-{span}-against-span-{compared}"] if compared else [])
    assert {path.name for path in accepted.glob("*.pb")} == {"span-4.pb", "span-7.pb"}
    with pytest.raises(errors.InputError, match="train of span 7 against span 6"):
        run(tmp_path / "last", alike(), 7, accepted, log_path="other/{SPAN}")


def test_of_two_runs_that_keep_a_span_at_once_none_fails(tmp_path, monkeypatch):
    """The second one keeps it when the first is about to rename its file; in two pods both may be process 7."""
    rename, accepted = tf.io.gfile.rename, tmp_path / "accepted"

    def rename_after_the_other(*args, **options):
        monkeypatch.setattr(tf.io.gfile, "rename", rename)
        run(tmp_path / "2", alike(), span=4, accepted_root=accepted)
        rename(*args, **options)

    monkeypatch.setattr(tf.io.gfile, "rename", rename_after_the_other)
    run(tmp_path / "1", alike(), span=4, accepted_root=accepted)
    assert [path.name for path in accepted.iterdir()] == ["span-4.pb"]


def test_a_span_without_an_earlier_one_is_told(tmp_path, caplog):
    caplog.set_level("INFO", "footfall.progress")
    run(tmp_path / "0", alike())
    for span in (4, 5, 3):
        run(tmp_path / str(span), alike(), span, accepted_root=tmp_path / "accepted")
    assert [record.getMessage() for record in caplog.records] == [
        f"nothing to compare span {span} with: no earlier span of these settings passed" for span in (4, 3)
    ]


def test_drift_between_spans_stops_however_often_it_is_tried(tmp_path):
    accepted = tmp_path / "accepted"
    drifted = {split: frame(0.3) for split in names.SPLITS}
    assert len(run(tmp_path / "1", alike(), span=4, accepted_root=accepted)) == 2
    for attempt in "23":
        with pytest.raises(
            errors.InputError,
            match=r"'target_behavior' \(train of span 5 against span 4\): .*max_drift \(0.2\)",
        ):
            run(tmp_path / attempt, drifted, span=5, accepted_root=accepted)
    # Back to the day before, which was accepted and has nothing before it.
    assert len(run(tmp_path / "4", alike(), span=4, accepted_root=accepted)) == 2
    near = {split: frame(0.7) for split in names.SPLITS}
    assert "train-of-span-6-against-span-4" in run(tmp_path / "5", near, span=6, accepted_root=accepted)
    # Measured against span 6 from now on, not against the first.
    changed = {split: frame(0.55) for split in names.SPLITS}
    assert "train-of-span-7-against-span-6" in run(tmp_path / "6", changed, 7, accepted)
    assert sorted(path.name for path in accepted.iterdir()) == ["span-4.pb", "span-6.pb", "span-7.pb"]
    # What is damaged is said, and the span before it is compared with.
    kept = (accepted / "span-7.pb").read_bytes()
    for attempt, damaged in (("7", b""), ("8", kept[:-9])):
        (accepted / "span-7.pb").write_bytes(damaged)
        assert "train-of-span-8-against-span-6" in run(tmp_path / attempt, changed, 8, accepted)
        (accepted / "span-8.pb").unlink()


def of_lists(path, columns):
    """The statistics of examples as they are written: what has no value has an empty list."""
    batch = pa.RecordBatch.from_arrays(
        [pa.array(values, kind) for values, kind in columns.values()], list(columns)
    )
    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions(compression_type="GZIP")) as writer:
        for example in example_coder.RecordBatchToExamplesEncoder(None).encode(batch):
            writer.write(example)
    return tfdv.generate_statistics_from_tfrecord(str(path))


def exposed(path, price, tags, rows=400):
    """Exposures of which these shares have a price and tags; all that there are are alike."""
    rng = np.random.default_rng(rows)
    has_price, has_tags = (rng.permutation(rows) < share * rows for share in (price, tags))
    prices = [[float(n % 7)] if has else [] for n, has in enumerate(has_price)]
    words = [[b"a", b"b", b"c"][: 1 + n % 3] if has else [] for n, has in enumerate(has_tags)]
    users = [[f"u{n}".encode()] for n in range(rows)]
    return of_lists(
        path,
        {
            "user_id": (users, pa.list_(pa.binary())),
            "item_price": (prices, pa.list_(pa.float32())),
            "item_tags": (words, pa.list_(pa.binary())),
        },
    )


def keep(schema, *features):
    kept = [feature for feature in schema.feature if feature.name in features]
    del schema.feature[:]
    schema.feature.extend(kept)


@pytest.mark.parametrize(
    "price, tags, stopped",
    [
        (0.95, 0.95, {}),
        (0.8, 0.85, {}),
        (0.0, 0.95, {"item_price": "what has no value is 100.0% in ours and 5.0% in theirs, 0.95 apart"}),
        (0.95, 0.0, {"item_tags": "what has no value is 100.0% in ours and "}),
        (0.95, 0.01, {"item_tags": "what has no value is 99.0% in ours and "}),
    ],
)
def test_an_attribute_that_disappears_is_an_anomaly(tmp_path, price, tags, stopped):
    """Also where the values that are left are as they were."""
    schema = load.exposure_window_schema(
        ["buy"], {"item_price": "numeric", "item_tags": "multi"}, False, False, False
    )
    keep(schema, "item_price", "item_tags")
    both = exposed(tmp_path / "a.gz", price, tags), exposed(tmp_path / "b.gz", 0.95, 0.95, 2000)
    for comparator in ("skew_comparator", "drift_comparator"):
        pair = executor._Pair(("ours", "theirs"), both, comparator, "validation.max")
        (found,) = executor.compare([pair], schema, 0.01).values()
        assert set(found.anomaly_info) == set(stopped)
        for name, words in stopped.items():
            info = found.anomaly_info[name]
            assert info.severity == anomalies_pb2.AnomalyInfo.ERROR and info.description.startswith(words)
            assert "(of 400 and 2,000 windows; " in info.description


def histories(path, rows, missing, shift=0.0, brands=(b"a", b"b")):
    """Windows of three events with prices, of which this share is NaN, and brands."""
    rng = np.random.default_rng(rows)
    prices = shift + rng.normal(size=(rows, 3))
    prices[rng.random((rows, 3)) < missing] = np.nan
    found = rng.integers(len(brands), size=(rows, 3))
    return of_lists(
        path,
        {
            "user_id": ([[f"u{n}".encode()] for n in range(rows)], pa.list_(pa.binary())),
            "history_context_price": (prices.tolist(), pa.list_(pa.float32())),
            "history_item_brand": ([[brands[b] for b in row] for row in found], pa.list_(pa.binary())),
        },
    )


@pytest.mark.parametrize(
    "other, stopped",
    [
        ({"missing": 0.3}, {}),
        ({"missing": 1.0}, {"history_context_price": "what has no value is 100.0% in ours and 20."}),
        ({"missing": 0.9}, {"history_context_price": "what has no value is "}),
        ({"missing": 0.2, "shift": 3.0}, {"history_context_price": "their histograms have a Jensen-Shannon"}),
        ({"missing": 0.2, "brands": (b"a", b"")}, {"history_item_brand": "'' has "}),
    ],
)
def test_attributes_of_histories_are_compared(tmp_path, other, stopped):
    known = {"item_brand": "categorical", "context_price": "numeric"}
    schema = load.period_window_schema(False, False, known)
    keep(schema, "history_context_price", "history_item_brand")
    both = histories(tmp_path / "a.gz", 400, **other), histories(tmp_path / "b.gz", 2000, 0.2)
    pair = executor._Pair(("ours", "theirs"), both, "skew_comparator", "validation.max_skew")
    (found,) = executor.compare([pair], schema, 0.01).values()
    assert set(found.anomaly_info) == set(stopped)
    for name, words in stopped.items():
        assert found.anomaly_info[name].description.startswith(words)


def test_busy_users_of_one_sort_stop_no_run(tmp_path):
    """They have a window for each target in eval and test, and few in training: nothing differs but that."""
    rng = np.random.default_rng(0)
    plans = ["premium"] * 60 + ["free"] * 340
    rows = [
        f"u{user},i{rng.integers(5)},{rng.integers(10**6)},{plan}"
        for user, plan in enumerate(plans)
        for _ in range(rng.poisson(60 if plan == "premium" else 5))
    ]
    path = harness.write_csv(tmp_path / "log.csv", rows, "user_id,item_id,timestamp,plan")
    columns = {"user": {"plan": "plan"}}
    log = spec.LogSpec.from_values({"path": path, "timestamp_unit": "s", "columns": columns})
    split = spec.SplitSpec()
    window = next_windows.NextWindow(shards=2)
    found, _, _ = harness.run(tmp_path, log, window, split)
    shares = {
        name: np.mean([one["user_plan"] == "premium" for one in windows]) for name, windows in found.items()
    }
    assert shares["test"] - shares["train"] > 0.3
    kind = next_windows.Next()
    schema = kind.schema(window, log.columns, split, max_skew=0.2, max_drift=0.2)
    train, test = (
        tfdv.generate_statistics_from_tfrecord(f"{tmp_path}/out/examples/Split-{name}/windows*")
        for name in ("train", "test")
    )
    pair = executor._Pair(("test", "train"), (test, train), "skew_comparator", "validation.max_skew")
    (compared,) = executor.compare([pair], schema, 0.01).values()
    assert not compared.anomaly_info


@pytest.mark.parametrize("share", [0.31, 0.39, 0.599, 0.95])
def test_lists_without_values_are_counted_to_the_last(tmp_path, share):
    """Bins count what is up to their bounds, and not a tenth each: those of empty lists have all of them."""
    rng = np.random.default_rng(0)
    sizes = np.where(rng.permutation(5000) < 5000 * share, 0, rng.integers(1, 40, 5000))
    found = of_lists(
        tmp_path / "a.gz", {"item_tags": ([[b"a"] * size for size in sizes], pa.list_(pa.binary()))}
    )
    assert shifts.samples(found)["item_tags"].missing == pytest.approx((share, share))
