"""Evaluation within training: chunks of the catalogue give the ranks that all scores at once give."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from serving import ranking as serving_ranking
from trainer import config, ranking
from trainer.models import base, sasrec

SIZE, WINDOWS, LENGTH, CUTOFF = 20_000, 300, 4, 2_000


def windows(rng):
    """Targets of which some are out of vocabulary, some are seen, and one is the item before."""
    index = rng.integers(names.FIRST_INDEX, SIZE + names.FIRST_INDEX, [WINDOWS, LENGTH + 1])
    index[::7, -1] = names.OOV_INDEX
    index[::5, :2] = names.PADDING_INDEX
    seen = [sorted({*row[2:4].tolist(), *([row[-1]] if n % 3 else [])}) for n, row in enumerate(index)]
    return {
        names.ITEM_INDEX: tf.constant(index[:, :-1]),
        names.TARGET_ITEM_INDEX: tf.constant(index[:, -1]),
        names.SEEN_ITEM_INDEX: tf.ragged.constant(seen, tf.int64).to_sparse(),
    }


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_metrics_equal_those_of_all_scores_at_once(policy, exclude_seen):
    # Below: one chunk. With all windows in one batch it is two, of which the last is not whole.
    assert 256 * SIZE > serving_ranking.AT_ONCE
    features = windows(np.random.default_rng(3))
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        settings = config.SASRecSettings(name="sasrec", dim=8, blocks=1)
        model = sasrec.SASRec(settings, base.Catalogue(np.ones(SIZE, np.int64), LENGTH))
        embedding = model.encode(features)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    scores = tf.cast(model.scores(embedding), tf.float32).numpy()
    ranks = []
    for row, target in enumerate(features[names.TARGET_ITEM_INDEX].numpy() - names.FIRST_INDEX):
        if target < 0:
            ranks.append(SIZE + 1)
            continue
        rivals = scores[row] >= scores[row, target]
        if exclude_seen:
            left_out = tf.sparse.to_dense(features[names.SEEN_ITEM_INDEX])[row].numpy() - names.FIRST_INDEX
            rivals[left_out[left_out >= 0]] = False
        rivals[target] = True
        ranks.append(rivals.sum())
    ranks = np.array(ranks)
    if policy == "mixed_bfloat16":
        assert len(np.unique(scores[0])) < SIZE / 5, "there should be many ties"
    blocks = tf.data.Dataset.from_tensor_slices(features).batch(64)
    for batch_size in (WINDOWS, 100):
        found = ranking.FullRanking(model, blocks, exclude_seen, CUTOFF, batch_size).evaluate()
        hit = ranks <= CUTOFF
        assert found["windows"] == WINDOWS and 0 < hit.mean() < 1
        assert found[f"hr@{CUTOFF}"] == pytest.approx(hit.mean())
        assert found[f"ndcg@{CUTOFF}"] == pytest.approx((hit / np.log2(1 + ranks)).mean(), rel=1e-5)
