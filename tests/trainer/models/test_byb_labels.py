"""BYB's finetuning: what its logits are made of, and that it has the network that is pretrained."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import compiled, labels_harness, replicas, scene_harness, test_byb
from trainer import config, optimizers, registry
from trainer.models import labels

SMALL = {"name": "byb_labels", "dim": 8, "blocks": 2, "heads": 2, "dropout": 0.0, "tower": [6]}
LABELS = ("churn", "spends")
_HISTORIES = (*scene_harness.HISTORIES, names.HISTORY_SECONDS, test_byb.PRICE.history)


def batch(seed=0, rows=5):
    rng = np.random.default_rng(seed + 7)
    known = {name: tf.constant(rng.integers(0, 2, rows), tf.int64) for name in labels.label_features(LABELS)}
    return {**test_byb.batch(seed, rows), **known}


def build(values=SMALL, seed=3, **changes):
    settings = config.TrainerSettings.from_values({"model": {**values, **changes}}).model
    tf.keras.utils.set_random_seed(seed)
    exposures = labels.Exposures(labels_harness.FIELDS, LABELS, (0.4, 0.1), behaviors=test_byb.KNOWN)
    model = registry.load(settings.name)(settings, exposures, seed=seed)
    model(batch(), training=False)
    return model


def test_it_has_the_network_that_is_pretrained():
    model, pretrained, features = build(), test_byb.build(), batch(1)
    shapes, others = ([tuple(v.shape) for v in m.users.variables] for m in (model, pretrained))
    assert shapes == others
    model.users.set_weights(pretrained.users.get_weights())
    np.testing.assert_allclose(model.embed(features), pretrained.encode(features), rtol=1e-5, atol=1e-6)
    assert model.inputs_read == pretrained.inputs_read
    assert set(model.raw_inputs) == {*names.HISTORY, test_byb.PRICE.source, names.MOMENT}


def test_a_logit_is_a_tower_and_a_head_on_the_embedding():
    model, features = build(), batch(2)
    embedding, found = model.embed(features).numpy(), model(features).numpy()
    assert found.shape == (5, 2) and found.dtype == np.float32
    for place, (tower, head) in enumerate(zip(model._towers, model._heads)):
        (layer,) = tower._layers
        hidden = np.maximum(embedding @ layer.kernel.numpy() + layer.bias.numpy(), 0)
        expected = hidden @ head._logit.kernel.numpy() + head._logit.bias.numpy()
        np.testing.assert_allclose(found[:, place], expected[:, 0], rtol=1e-4, atol=1e-5)
    # A head starts at the base rate: of equal embeddings that is all that is known.
    logits = [head._logit.bias.numpy()[0] for head in model._heads]
    np.testing.assert_allclose(1 / (1 + np.exp(-np.array(logits))), [0.4, 0.1], rtol=1e-5)


def test_other_rows_padding_and_what_follows_do_not_count():
    model, features = build(), batch(3)
    expected = model(features).numpy()
    order = np.random.default_rng(2).permutation(5)
    moved = {name: tf.gather(value, order) for name, value in features.items()}
    np.testing.assert_allclose(model(moved), expected[order], rtol=1e-4, atol=1e-5)
    long = {
        name: tf.pad(value, [[0, 0], [2, 0]]) if name in _HISTORIES else value
        for name, value in features.items()
    }
    np.testing.assert_allclose(model(long), expected, rtol=1e-4, atol=1e-5)
    blind = {name: value for name, value in features.items() if not name.startswith("future_")}
    np.testing.assert_array_equal(model(blind), expected)


def test_unknown_labels_do_not_count():
    model, features = build(), batch(4)
    name = names.LABEL_PREFIX + LABELS[1]
    unknown = {**features, name: tf.fill([5], tf.constant(names.UNKNOWN_LABEL, tf.int64))}
    total, count = model.summed_loss(unknown, training=False)
    label = features[names.LABEL_PREFIX + LABELS[0]].numpy()
    likely = model.probabilities(features).numpy()[:, 0]
    expected = -np.log(np.where(label == 1, likely, 1 - likely)).sum()
    assert float(total) == pytest.approx(expected, rel=1e-4) and count == 5


def test_all_that_is_trained_has_a_gradient_and_one_batch_is_learnt_by_heart():
    model, features = build(), batch(5, rows=4)
    optimizer = optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = model.compute_loss(features, training=True)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
        return loss, [tf.norm(tf.convert_to_tensor(one)) for one in gradients]

    first, norms = step()
    for variable, norm in zip(model.trainable_variables, norms):
        # A key's bias changes no attention; a tower's ReLUs may all be off at first.
        assert float(norm) > 0 or "qkv/bias" in variable.name or "tower" in variable.name, variable.name
    assert [float(step()[0]) for _ in range(150)][-1] < 0.1 * float(first)


def test_xla_and_replicas():
    model, features = build(), batch(7)
    expected = model.summed_loss(features, training=False)
    model.static_shapes = True
    assert model.users.static_shapes
    compiled.check(model, features, expected)
    replicas.check(build, batch(8, rows=6), learning_rate=0.1)
