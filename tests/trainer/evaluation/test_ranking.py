"""Evaluation within training: chunks of the catalogue give the ranks that all scores at once give."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from schemas import ranks as rank_lib
from serving import catalogue
from trainer.evaluation import ranking
from trainer.models import ranking as ranking_models
from trainer.models import sasrec
from trainer.settings import sasrec as sasrec_settings

SIZE, WINDOWS, LENGTH, CUTOFF = 20_000, 300, 4, 2_000


def windows(rng):
    """Targets of which some are out of vocabulary, some are seen, and one is the item before."""
    index = rng.integers(names.FIRST_INDEX, SIZE + names.FIRST_INDEX, [WINDOWS, LENGTH + 1])
    index[::7, -1] = names.OOV_INDEX
    index[::5, :2] = names.PADDING_INDEX
    seen = [sorted({*row[2:4].tolist(), *([row[-1]] if n % 3 else [])}) for n, row in enumerate(index)]
    return {
        names.HISTORY_ITEM_INDEX: tf.constant(index[:, :-1]),
        names.TARGET_ITEM_INDEX: tf.constant(index[:, -1]),
        names.SEEN_ITEM_INDEX: tf.ragged.constant(seen, tf.int64).to_sparse(),
    }


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_metrics_equal_those_of_all_scores_at_once(policy, exclude_seen):
    # Below: one chunk. With all windows in one batch it is two, of which the last is not whole.
    assert 256 * SIZE > catalogue.AT_ONCE
    features = windows(np.random.default_rng(3))
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        settings = sasrec_settings.SASRecSettings(name="sasrec", dim=8, blocks=1)
        model = sasrec.SASRec(settings, ranking_models.Catalogue(np.ones(SIZE, np.int64), LENGTH))
        embedding = model.encode(features)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert embedding.dtype.name == policy.replace("mixed_", "")
    # As `serving.signatures` scores: in float32, whatever the model computes in.
    scores = model.scores(tf.cast(embedding, tf.float32)).numpy()
    ranks = []
    for row, target in enumerate(features[names.TARGET_ITEM_INDEX].numpy() - names.FIRST_INDEX):
        if target < 0:
            ranks.append(SIZE + 1)
            continue
        rivals = scores[row] >= scores[row, target]
        if exclude_seen:
            left_out = tf.sparse.to_dense(features[names.SEEN_ITEM_INDEX])[row].numpy() - names.FIRST_INDEX
            if target in left_out:
                ranks.append(SIZE + 1)
                continue
            rivals[left_out[left_out >= 0]] = False
        rivals[target] = True
        ranks.append(rivals.sum())
    ranks = np.array(ranks)
    blocks = tf.data.Dataset.from_tensor_slices(features).batch(64)
    for batch_size in (WINDOWS, 100):
        found = ranking.FullRanking(model, blocks, exclude_seen, CUTOFF, batch_size).evaluate()
        # The definition in the graph and that of the evaluation agree.
        hit, gain, _ = rank_lib.values(rank_lib.or_infinite(ranks, SIZE), [CUTOFF]).mean(axis=0)
        assert found["windows"] == WINDOWS and 0 < hit < 1
        assert found[f"hr@{CUTOFF}"] == pytest.approx(hit)
        assert found[f"ndcg@{CUTOFF}"] == pytest.approx(gain, rel=1e-5)


def toy(size, **features):
    """A model of a few items with windows of three events."""
    settings = sasrec_settings.SASRecSettings(name="sasrec", dim=8, blocks=1)
    model = sasrec.SASRec(settings, ranking_models.Catalogue(np.ones(size, np.int64), 3))
    count = len(features["target"])
    values = {
        names.HISTORY_ITEM_INDEX: tf.fill([count, 3], tf.constant(names.FIRST_INDEX, tf.int64)),
        names.TARGET_ITEM_INDEX: tf.constant(features["target"], tf.int64),
        names.SEEN_ITEM_INDEX: tf.ragged.constant(features["seen"], tf.int64, ragged_rank=1).to_sparse(),
    }
    return model, tf.data.Dataset.from_tensor_slices(values).batch(4)


def test_an_unknown_target_is_a_miss_in_the_smallest_catalogue():
    model, windows = toy(5, target=[names.OOV_INDEX, names.FIRST_INDEX + 1], seen=[[], []])
    found = ranking.FullRanking(model, windows, exclude_seen=False).evaluate()
    assert found["hr@10"] == 0.5 and 0 < found["ndcg@10"] <= 0.5


def test_targets_that_no_ranking_holds_are_told_once(caplog):
    known = names.FIRST_INDEX + 1
    model, windows = toy(50, target=[known] * 4, seen=[[known], [known, known + 1], [known + 1], []])
    with caplog.at_level("INFO", "footfall.progress"):
        one = ranking.FullRanking(model, windows, exclude_seen=True, cutoff=50)
        assert one.evaluate()["hr@50"] == one.evaluate()["hr@50"] == 0.5
        ranking.FullRanking(model, windows, exclude_seen=False).evaluate()
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("50.0 % of the targets of eval") and "evaluation.exclude_seen: false" in told


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_models_of_periods_are_stopped_by_all_that_follows(exclude_seen):
    """Periods of which some have an item twice, unknown ones, seen ones, more than K, or none, against NumPy."""
    size, cutoff, rng = 40, 5, np.random.default_rng(4)
    model = sasrec.SASRec(
        sasrec_settings.SASRecSettings(name="sasrec", dim=8, blocks=1),
        ranking_models.Catalogue(np.ones(size, np.int64), LENGTH),
    )
    history = rng.integers(names.FIRST_INDEX, size + names.FIRST_INDEX, [50, LENGTH])
    follow = [rng.integers(names.OOV_INDEX, size + names.FIRST_INDEX, n % 9).tolist() for n in range(50)]
    follow = [items + items[:1] if n % 4 == 0 else items for n, items in enumerate(follow)]
    features = {
        names.HISTORY_ITEM_INDEX: tf.constant(history),
        names.TARGET_ITEM_INDEX: tf.constant(history[:, -1]),
        names.SEEN_ITEM_INDEX: tf.ragged.constant(
            [sorted(set(row)) for row in history], tf.int64
        ).to_sparse(),
        names.FUTURE_ITEM_INDEX: tf.ragged.constant(follow, tf.int64, ragged_rank=1).to_sparse(),
    }
    windows = tf.data.Dataset.from_tensor_slices(features).batch(16)
    settings = {"batch_size": 7, "period": True}
    one = ranking.FullRanking(model, windows, exclude_seen, cutoff, stop_by_period=True, **settings)
    scores = model.scores(tf.cast(model.encode(features), tf.float32)).numpy()
    expected = []
    for row, items in enumerate(follow):
        left_out = set(history[row] - names.FIRST_INDEX) if exclude_seen else set()
        ranked = [item for item in np.argsort(-scores[row], kind="stable") if item not in left_out]
        places = {item: 1.0 + place for place, item in enumerate(ranked)}
        ranks = np.array([places.get(item - names.FIRST_INDEX, np.inf) for item in sorted(set(items))])
        if len(ranks):
            expected.append(rank_lib.set_values(ranks, [cutoff])[-1])
    assert len(np.unique(scores)) > 40 * 40 and len(expected) < len(follow)
    found = one.evaluate()
    assert one.objective == "period_ndcg@5" and found[one.objective] == pytest.approx(
        np.mean(expected), rel=1e-5
    )
    assert 0 < found[one.objective] < 1 and found["windows"] == 50
    # A model of the next item is told the same, and stopped by its own.
    other = ranking.FullRanking(model, windows, exclude_seen, cutoff, **settings)
    assert other.objective == "ndcg@5" and other.evaluate() == found
