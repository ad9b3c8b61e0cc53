"""Floors on drawn windows, whose labels are known functions of them."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.baselines import floors, head, histories
from schemas import auc, names


def _drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    return x, (x[:, 0] + 0.3 * rng.normal(size=rows) > 0).astype(np.int64)


@pytest.fixture(name="splits")
def _splits():
    drawn = {split: _drawn(400, seed) for seed, split in enumerate(names.SPLITS)}
    return {split: x for split, (x, _) in drawn.items()}, {split: y for split, (_, y) in drawn.items()}


@pytest.mark.parametrize("fit", [floors.boosted, floors.logistic])
def test_a_label_is_learnt_where_it_is_known(fit, splits, monkeypatch):
    monkeypatch.setattr(floors, "_TREES", 40)
    features, labels = splits
    found, chosen = fit(features, labels, 1)
    assert auc.of_scores(found, labels[names.TEST]) > 0.93 and chosen["auc"] > 0.93
    assert ((found > 0) & (found < 1)).all()
    # Labels of test are for measuring alone.
    other, _ = fit(features, {**labels, names.TEST: 1 - labels[names.TEST]}, 1)
    np.testing.assert_array_equal(found, other)
    # An unknown label is no negative: where positives alone are known, nothing can be learnt.
    unknown = np.where(labels[names.TRAIN] == 1, 1, names.UNKNOWN_LABEL)
    constant, chosen = fit(features, {**labels, names.TRAIN: unknown}, 1)
    assert set(constant) == {1.0} and chosen == {"constant": True}


def _histories(windows: list[list[bytes]]) -> histories.Histories:
    items = [item for window in windows for item in window]
    return histories.Histories(
        moment=np.full(len(windows), 10),
        lengths=np.array([len(window) for window in windows]),
        times=np.zeros(len(items), np.int64),
        texts={names.ITEM_ID: np.array(items, object)},
        numbers={},
        user={},
        labels=np.zeros([len(windows), 1], np.int64),
    )


def test_vectors_of_items_are_pooled_by_their_mean():
    found = floors.pooled(
        _histories([[b"a", b"b", b"b", b"new"], [b"new"], [b"a"]]),
        [b"a", b"b"],
        np.array([[3.0, 0.0], [0.0, 6.0]]),
    )
    np.testing.assert_allclose(found, [[1.0, 4.0], [0.0, 0.0], [3.0, 0.0]])


def test_singular_vectors_are_those_of_which_history_has_which_item():
    windows = [[b"a", b"a", b"b"], [b"b"], [b"c"], [b"a", b"b"], [b"c", b"d"]]
    items, found = floors.singular_vectors(_histories(windows), dim=2, seed=0)
    assert items == [b"a", b"b", b"c", b"d"]
    has = np.array([[item in window for item in items] for window in windows], float)
    exact = np.linalg.svd(has)[2][:2].T
    np.testing.assert_allclose(np.abs(found), np.abs(exact), atol=1e-6)


def test_a_head_learns_what_embeddings_tell_of_a_label(splits):
    features, labels = splits
    found, chosen = head.fit(features, labels, 1)
    assert (
        auc.of_scores(found, labels[names.TEST]) > 0.9
        and chosen["auc"] > 0.9
        and chosen["epoch"] <= head._EPOCHS
    )
    again, _ = head.fit(features, {**labels, names.TEST: 1 - labels[names.TEST]}, 1)
    np.testing.assert_allclose(again, found, atol=1e-6)
    constant, chosen = head.fit(features, {**labels, names.TRAIN: np.ones(400, np.int64)}, 1)
    assert set(constant) == {1.0} and chosen == {"constant": True}


def test_a_head_asks_the_pretrained_model_for_each_window(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def of_length(examples):
        return {names.EMBEDDING: tf.cast(tf.strings.length(examples), tf.float32)[:, None]}

    model, path = tf.Module(), str(tmp_path / "windows.gz")
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for record in (b"a", b"bcd"):
            writer.write(record)
    tf.saved_model.save(model, str(tmp_path / "model"), signatures={"serving_default": of_length})
    assert head.embedded(str(tmp_path / "model"), [path]).tolist() == [[1.0], [3.0]]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def items(examples):
        return {"item_ids": examples}

    tf.saved_model.save(model, str(tmp_path / "other"), signatures={"serving_default": items})
    with pytest.raises(SystemExit, match=r"serving_default answers \['item_ids'\], no embedding"):
        head.embedded(str(tmp_path / "other"), [path])


def test_embeddings_stand_beside_counts(monkeypatch):
    """The counts tell nothing of the label, the embeddings all."""
    rng = np.random.default_rng(0)
    labels = {split: rng.integers(2, size=300) for split in names.SPLITS}
    monkeypatch.setattr(floors.histories, "Counts", lambda columns, train: _Noise())
    monkeypatch.setattr(
        floors, "_embedded", lambda windows, saved: {s: y[:, None] + 0.0 for s, y in labels.items()}
    )
    windows = floors.Windows(None, None, dict.fromkeys(names.SPLITS))
    for saved, area in ((None, 0.5), ("model", 1.0)):
        fit, features, options = floors._counts({}, windows, 1, saved)
        assert features[names.TRAIN].shape[1] == len(options["categorical"]) == 2 + (saved is not None)
        found, _ = fit(features, labels, 1, **options)
        np.testing.assert_allclose(auc.of_scores(found, labels[names.TEST]), area, atol=0.1)


def test_a_line_through_embeddings_tells_what_they_hold(monkeypatch):
    rng = np.random.default_rng(0)
    labels = {split: rng.integers(2, size=300) for split in names.SPLITS}
    held = {split: y[:, None] + rng.normal(scale=[0.01, 9.0], size=(300, 2)) for split, y in labels.items()}
    monkeypatch.setattr(floors, "_embedded", lambda windows, saved: held)
    fit, features, options = floors._FLOORS["linear"]({"name": "linear"}, None, 1, "model")
    found, _ = fit(features, labels, 1, **options)
    assert auc.of_scores(found, labels[names.TEST]) == 1.0


@pytest.mark.parametrize("name", ["head", "linear"])
def test_embeddings_that_are_not_named_are_asked_for(name):
    with pytest.raises(
        SystemExit, match=rf"{name} reads the embeddings of a point, as embeddings: point:byb"
    ):
        floors._FLOORS[name]({"name": name}, None, 1, None)


class _Noise:
    categorical = ("code",)

    def of(self, found):
        rng = np.random.default_rng(1)
        return {"code": rng.integers(3, size=300).astype(float), "events": rng.normal(size=300)}


def test_counts_are_logarithms_where_a_line_reads_them():
    counted = {
        names.TRAIN: {
            "events": np.array([0.0, 1.0, 7.0]),
            "age": np.array([np.nan, 0.0, -3.0]),
            "country": np.ones(3),
        },
        names.TEST: {"events": np.array([np.e - 1]), "age": np.array([np.nan]), "country": np.zeros(1)},
    }
    found = floors.scaled(counted, ["country"])
    np.testing.assert_allclose(
        found[names.TRAIN], np.stack([np.log([1, 2, 8]), [-np.log(2), 0, -2 * np.log(2)]], axis=1)
    )
    # The mean of the two that training has.
    np.testing.assert_allclose(found[names.TEST], [[1.0, -np.log(2)]])


def test_few_labels_of_counts_are_read_by_a_line(monkeypatch):
    monkeypatch.setattr(floors.histories, "Counts", lambda columns, train: _Told())
    windows = floors.Windows(None, None, {split: split for split in names.SPLITS})
    fit, features, options = floors._counts({"reader": "logistic"}, windows, 1, None)
    assert fit is floors.logistic and not options
    assert {split: found.shape for split, found in features.items()} == {
        split: (3, 1) for split in names.SPLITS
    }


class _Told:
    categorical = ("country",)

    def of(self, split):
        return {"events": np.arange(3.0), "country": np.zeros(3)}
