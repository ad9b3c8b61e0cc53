"""An autoencoder of histories: what the decoder is told, and what it says."""

import numpy as np
import tensorflow as tf

from schemas import names
from tests.trainer.models import user_harness

SMALL = {"name": "user_autoencoder", "dim": 8, "heads": 2, "dropout": 0.0}


def test_it_is_a_pretraining():
    user_harness.check(SMALL)


def test_each_item_is_said_by_the_embedding_and_the_item_before():
    model, features = user_harness.build(SMALL), user_harness.batch(2)
    index = features[names.HISTORY_ITEM_INDEX].numpy()
    table = model.users.behaviors.items.table.numpy().astype(np.float64)
    told = model.encode(features).numpy() @ model._told.kernel.numpy() + model._told.bias.numpy()
    before = np.concatenate([np.zeros([5, 1], np.int64), index[:, :-1]], axis=1)
    inputs = table[before] * (before != 0)[:, :, None] + told[:, None]
    states = model._decoder(tf.constant(inputs, tf.float32), tf.constant(index != 0)).numpy()
    scores = (states @ model._said.kernel.numpy() + model._said.bias.numpy()) @ table[names.FIRST_INDEX :].T
    likely = scores - np.log(np.exp(scores).sum(axis=2, keepdims=True))
    expected = [
        -np.mean(
            [
                likely[row, place, item - names.FIRST_INDEX]
                for place, item in enumerate(index[row])
                if item >= names.FIRST_INDEX
            ]
        )
        for row in range(5)
        if (index[row] >= names.FIRST_INDEX).any()
    ]
    found, counted = model.window_losses(features, training=False)
    np.testing.assert_allclose(found.numpy()[counted.numpy()], expected, rtol=1e-4)


def test_hidden_items_are_not_told():
    """With all of them hidden the decoder has the embedding alone."""
    model, features = user_harness.build({**SMALL, "hidden": 1.0}), user_harness.batch(3)
    seen = []
    items = model.users.behaviors.items
    call = type(items).call
    type(items).call, told = (lambda self, index: (seen.append(index.numpy()), call(self, index))[1]), None
    try:
        model.window_losses(features, training=True)
        told = seen[-1]
        model.window_losses(features, training=False)
    finally:
        type(items).call = call
    assert not told.any() and seen[-1].any()


def test_one_batch_is_learnt_by_heart():
    first, last = user_harness.learns({**SMALL, "dim": 16, "hidden": 0.0}, steps=300)
    assert last < 0.3 * first, (first, last)
