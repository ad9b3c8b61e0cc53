"""Where negatives come from, and what the correction makes of it; statistics with fixed seeds."""

import functools

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import harness
from trainer import config, registry, search
from trainer.losses import negatives
from trainer.losses import ranking as losses
from trainer.models import scoring

COUNTS = np.array([40, 20, 10, 5, 3, 2])
SIZE, DIM = len(COUNTS), 3


class Model(scoring.DotProduct):
    """A table of vectors; `seen` keeps the rows that were looked up."""

    def __init__(self, seed=0, table=None):
        self.table = np.random.default_rng(seed).normal(size=(SIZE, DIM)) if table is None else table
        self.catalogue = type("Catalogue", (), {"size": SIZE, "counts": COUNTS})
        self.generator = tf.random.Generator.from_seed(seed)
        self.seen = []

    def item_vectors(self, rows):
        self.seen.append(rows.numpy())
        return tf.gather(tf.cast(self.table, tf.float32), rows)


def test_probabilities():
    np.testing.assert_allclose(negatives.probabilities(COUNTS, 1.0), COUNTS / 80)
    np.testing.assert_allclose(negatives.probabilities(COUNTS, 0.0), np.full(6, 1 / 6))
    np.testing.assert_allclose(negatives.probabilities(np.array([4, 0]), 0.5), [2 / 3, 1 / 3])


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_popular_items_are_drawn_as_often_as_the_exponent_says_and_the_target_never(exponent):
    model, labels = Model(), np.repeat(np.arange(SIZE), 5000)
    sample = negatives.Popularity(exponent).draw(model, tf.zeros([len(labels), DIM]), tf.constant(labels), 4)
    drawn = next(rows for rows in model.seen if rows.ndim == 2)
    weights = COUNTS**exponent
    np.testing.assert_allclose(sample.negative_q, (weights / weights.sum())[drawn], rtol=1e-5)
    np.testing.assert_allclose(sample.positive_q, (weights / weights.sum())[labels], rtol=1e-5)
    for label in range(SIZE):
        found = np.bincount(drawn[labels == label].ravel(), minlength=SIZE)
        assert found[label] == 0
        expected = np.where(np.arange(SIZE) == label, 0, weights) / np.delete(weights, label).sum() * 20_000
        # Pearson's statistic of four degrees of freedom; 23.5 is passed once in 10,000 times.
        others = np.arange(SIZE) != label
        assert ((found - expected)[others] ** 2 / expected[others]).sum() < 23.5


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 1000])
def test_search_equals_numpy(size):
    rng = np.random.default_rng(size)
    ends = np.sort(rng.uniform(size=size))
    points = np.concatenate([rng.uniform(size=500), ends, [0.0, 1.0]])
    np.testing.assert_array_equal(
        negatives._search(ends, tf.constant(points)), np.searchsorted(ends, points, "right")
    )


@pytest.mark.parametrize("counted", [None, "half"])
def test_in_batch_negatives_are_targets_of_the_batch(counted):
    labels = np.array([0, 1, 1, 2, 5, 5, 5, 3])
    real = None if counted is None else np.arange(8) % 2 == 0
    found, model = np.zeros(SIZE), Model(1)
    mask = None if real is None else tf.constant(real)
    for _ in range(20):
        model.seen.clear()
        sample = negatives.InBatch().draw(model, tf.ones([8, DIM]), tf.constant(labels), 1000, mask)
        drawn = next(rows for rows in model.seen if rows.shape == (1000,))
        found += np.bincount(drawn, minlength=SIZE)
        np.testing.assert_array_equal(sample.used, labels[:, None] != drawn[None, :])
        np.testing.assert_allclose(sample.negative[2], model.table[drawn].sum(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(sample.negative_q[0], COUNTS[drawn] / 80, rtol=1e-5)
    expected = np.bincount(labels if real is None else labels[real], minlength=SIZE)
    expected = expected / expected.sum() * 20_000
    possible = expected > 0
    assert not found[~possible].any()
    assert ((found - expected)[possible] ** 2 / expected[possible]).sum() < 23.5


@pytest.mark.parametrize("counted", [None, tf.zeros([0], tf.bool)])
def test_an_empty_share_of_a_batch_has_no_loss(counted):
    loss = losses.SampledSoftmax(4, negatives.InBatch())
    assert loss(Model(), tf.zeros([0, DIM]), tf.zeros([0], tf.int64), counted).shape == (0,)


def test_a_batch_of_one_item_has_no_negatives():
    labels = tf.constant([2, 2, 2], tf.int64)
    states = tf.ones([3, DIM])
    np.testing.assert_allclose(
        losses.SampledSoftmax(4, negatives.InBatch())(Model(), states, labels), 0, atol=1e-6
    )
    # Of binary cross-entropy the target's own term is left.
    found = losses.BCE(4, negatives.InBatch())(Model(), states, labels)
    logit = Model().table[2].sum() - np.log(SIZE * COUNTS[2] / 80) - np.log(4)
    np.testing.assert_allclose(found, np.log1p(np.exp(-logit)), rtol=1e-5)
    # A pair of the target with itself is none.
    for loss in (losses.BPRMax, losses.TOP1Max):
        np.testing.assert_array_equal(loss(4, negatives.InBatch())(Model(), states, labels), 0)


def sampler(name):
    return {
        "uniform": negatives.Uniform(),
        "popularity": negatives.Popularity(0.75),
        "in_batch": negatives.InBatch(),
        "shared uniform": negatives.Shared(),
        "shared popularity": negatives.Shared(0.75),
    }[name]


SAMPLERS = ["uniform", "popularity", "in_batch", "shared uniform", "shared popularity"]


@pytest.mark.parametrize("exponent", [None, 0.5, 1.0])
def test_shared_negatives_are_the_same_for_all_targets_and_as_frequent_as_said(exponent):
    labels = np.array([0, 1, 1, 2, 5])
    found, model = np.zeros(SIZE), Model(1)
    for _ in range(20):
        model.seen.clear()
        sample = negatives.Shared(exponent).draw(model, tf.ones([5, DIM]), tf.constant(labels), 1000)
        drawn = next(rows for rows in model.seen if rows.shape == (1000,))
        found += np.bincount(drawn, minlength=SIZE)
        np.testing.assert_array_equal(sample.used, labels[:, None] != drawn[None, :])
        np.testing.assert_allclose(sample.negative[2], model.table[drawn].sum(1), rtol=1e-4, atol=1e-5)
    q = COUNTS ** (exponent or 0.0) / (COUNTS ** (exponent or 0.0)).sum()
    assert ((found - 20_000 * q) ** 2 / (20_000 * q)).sum() < 23.5
    if exponent is None:
        assert sample.positive_q is None and sample.negative_q is None
    else:
        np.testing.assert_allclose(sample.positive_q, q[labels], rtol=1e-5)
        np.testing.assert_allclose(sample.negative_q[0], q[drawn], rtol=1e-5)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_corrected_partition_function_is_unbiased(name):
    """exp(loss + positive) is on average the partition function of the whole catalogue."""
    model = Model(4)
    state = np.random.default_rng(5).normal(size=DIM)
    # The batch's targets are spread as the counts are.
    labels = np.repeat(np.arange(SIZE), COUNTS)
    states = tf.constant(np.tile(state, [len(labels), 1]), tf.float32)
    loss = losses.SampledSoftmax(20, sampler(name))
    # In a graph nothing is looked at.
    model.item_vectors = functools.partial(tf.gather, tf.constant(model.table, tf.float32))
    once = tf.function(lambda: tf.exp(loss(model, states, tf.constant(labels))), autograph=False)
    estimates = np.mean([once().numpy() for _ in range(400)], axis=0)
    scores = model.table @ state
    whole = np.exp(scores).sum()
    for label in range(SIZE):
        mean = estimates[labels == label].mean() * np.exp(scores[label])
        assert mean == pytest.approx(whole, rel=0.04), label


def test_without_the_correction_popular_items_weigh_more():
    model = Model(4)
    state = np.random.default_rng(5).normal(size=DIM)
    states = tf.constant(np.tile(state, [4000, 1]), tf.float32)
    labels = np.full(4000, 5)
    loss = losses.SampledSoftmax(20, negatives.Popularity(1.0), logq_correction=False)
    found = np.exp(loss(model, states, tf.constant(labels)).numpy() + model.table[5] @ state).mean()
    scores, q = np.exp(model.table @ state), COUNTS[:5] / COUNTS[:5].sum()
    assert found == pytest.approx(scores[5] + 5 * (q * scores[:5]).sum(), rel=0.03)
    assert abs(found - scores.sum()) > 0.1 * scores.sum()


def imbalance(loss, scores, share):
    """The mean derivative of the loss by each item's score, over that of the target's part alone.

    The scores are where the loss comes to, for items that are the target in `share` of the
    cases, if it is 0 for each; 1 if negatives had no part in it.
    """
    variable = tf.Variable(scores[:, None], dtype=tf.float32)
    model = Model(table=np.zeros([SIZE, 1]))
    model.item_vectors = lambda rows: tf.gather(variable, rows)
    labels = tf.constant(np.repeat(np.arange(SIZE), np.round(share * 800).astype(int)))

    @tf.function(autograph=False)
    def gradient():
        with tf.GradientTape() as tape:
            losses = loss(model, tf.ones([len(labels), 1]), labels)
        return tf.convert_to_tensor(tape.gradient(losses, variable))[:, 0]

    summed = sum(gradient().numpy().astype(np.float64) for _ in range(400)) / 400
    q = loss._sampler.draw(model, tf.ones([len(labels), 1]), labels, 1).positive_q
    shift = 0.0
    if loss._corrects and q is not None:
        shift = np.log(SIZE * np.array([q.numpy()[labels.numpy() == i][0] for i in range(SIZE)]))
    return summed / (-share * len(labels) / (1 + np.exp(scores - shift)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_corrected_bce_comes_to_the_scores_of_uniform_negatives(name):
    """log(p / r) + log(n N q), where r is how often an item is a negative.

    That is log(p / (1 - p)) + log(N) for draws in the batch. To leave the target out changes
    r by 1 / (1 - q(target)), which is much here, of six items, and nothing in a catalogue.
    """
    p = COUNTS / 80
    shared = name.startswith("shared") or name == "in_batch"
    q = negatives.probabilities(COUNTS, 1.0 if name == "in_batch" else 0.75 if "popularity" in name else 0.0)
    left = np.ones(SIZE) if shared else 1 / (1 - q)
    others = (p * left).sum() - p * left
    # Draws that are shared by a batch are few.
    n = 256 if shared else 4
    scores = np.log(p / others) + np.log(SIZE)
    loss = losses.BCE(n, sampler(name))
    assert np.abs(imbalance(loss, scores, p)).max() < 0.1
    assert np.abs(imbalance(loss, scores + 0.5, p)).min() > 0.2


def test_uncorrected_bce_comes_to_how_much_likelier_than_popular_an_item_is():
    """Where targets are as frequent as negatives, that is nearly the same for all items."""
    p = COUNTS / 80
    loss = losses.BCE(256, negatives.InBatch(), logq_correction=False)
    assert np.abs(imbalance(loss, -np.log(1 - p), p)).max() < 0.1


@pytest.mark.parametrize("compiled", [False, True])
def test_what_the_window_has_is_not_drawn_and_all_else_as_often(compiled):
    windows = np.array([[0, 3, -1, 3], [5, -1, -1, -1], [0, 1, 2, 3], [1, 1, 1, 4]])
    draws = 4000
    generator = Model().generator
    outside = tf.function(lambda rows: negatives._outside(rows, draws, SIZE, generator), jit_compile=compiled)
    drawn, used = outside(tf.constant(windows))
    assert used.numpy().all()
    for row, window in zip(drawn.numpy(), windows):
        others = sorted({*range(SIZE)} - {*window.tolist()})
        found = np.bincount(row, minlength=SIZE)
        assert found[others].sum() == draws
        error = np.sqrt(draws / len(others))
        np.testing.assert_allclose(found[others], draws / len(others), atol=5 * error)


def test_a_window_of_the_whole_catalogue_has_no_negatives():
    labels, windows = tf.constant([2], tf.int64), tf.constant([[*range(SIZE), -1]], tf.int64)
    found = losses.BCE(4, negatives.Unmet())(Model(), tf.ones([1, 3]), labels, None, windows)
    logit = Model().table[2].sum() - np.log(4)
    np.testing.assert_allclose(found, np.log1p(np.exp(-logit)), rtol=1e-5)
    with pytest.raises(ValueError, match="unmet needs the windows of the targets"):
        losses.BCE(4, negatives.Unmet())(Model(), tf.ones([1, 3]), labels)


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("name", ["sasrec", "bert4rec", "casm"])
def test_models_tell_their_windows(name, static, monkeypatch):
    """Each target's negatives are of its own window, wherever the target is in it."""
    settings = {"name": name, "dim": 8, "blocks": 1, "heads": 2}
    values = {"name": "bce", "negatives": 2, "negative_sampling": "unmet"}
    model = harness.build(settings | ({"weighted": "positives"} if name == "casm" else {}), loss=values)
    model.training_loss = losses.build(
        config.TrainerSettings.from_values({"model": {"name": "sasrec"}, "loss": values}).loss
    )
    model.static_shapes, features, seen = static, harness.batch(3), {}
    draw = negatives.Unmet.draw

    def watched(self, model, states, labels, number, counted=None, windows=None):
        seen.update(labels=labels.numpy(), windows=windows.numpy(), counted=counted)
        return draw(self, model, states, labels, number, counted, windows)

    monkeypatch.setattr(negatives.Unmet, "draw", watched)
    total, _ = model.summed_loss(features, training=True)
    assert np.isfinite(float(total))
    real = np.ones(len(seen["labels"]), bool) if seen["counted"] is None else seen["counted"].numpy()
    assert real.sum() > 4
    targets = features[names.TARGET_ITEM_INDEX].numpy()[:, np.newaxis]
    whole = np.concatenate([features[names.HISTORY_ITEM_INDEX].numpy(), targets], axis=1) - names.FIRST_INDEX
    whole = [frozenset(row[row >= 0].tolist()) for row in whole]
    for label, window in zip(seen["labels"][real], seen["windows"][real]):
        own = frozenset(window[window >= 0].tolist())
        assert label in own and any(own <= other for other in whole)


@pytest.mark.parametrize("sampling", ["uniform", "popularity", "in_batch"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["bce", "sampled_softmax"])
def test_static_shapes_give_the_same_loss_on_average(name, shared, sampling):
    """Places that only fill the shape are no negatives; and XLA compiles the draws."""
    model = harness.build({"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0})
    values = {"name": name, "negatives": 500, "negative_sampling": sampling, "shared_negatives": shared}
    model.training_loss = losses.build(
        config.TrainerSettings.from_values({"model": {"name": "popularity"}, "loss": values}).loss
    )
    features = harness.batch(3)
    means = []
    for static in (False, True):
        model.static_shapes = static
        loss = tf.function(
            lambda: model.summed_loss(features, training=False), autograph=False, jit_compile=static
        )
        means.append(np.mean([float(loss()[0]) for _ in range(20)]))
    assert means[1] == pytest.approx(means[0], rel=0.02)


def test_every_sampler_is_built_from_its_settings():
    def built(**values):
        loss = {"name": "bce", **values}
        return losses.build(
            config.TrainerSettings.from_values({"model": {"name": "popularity"}, "loss": loss}).loss
        )

    assert isinstance(built()._sampler, negatives.Uniform)
    assert isinstance(built(negative_sampling="unmet")._sampler, negatives.Unmet)
    assert isinstance(built(negative_sampling="in_batch")._sampler, negatives.InBatch)
    chosen = built(negative_sampling="popularity", popularity_exponent=0.5)._sampler
    assert isinstance(chosen, negatives.Popularity) and chosen._exponent == 0.5
    assert not built(logq_correction=False)._corrects
    assert built(shared_negatives=True)._sampler._exponent is None
    chosen = built(negative_sampling="popularity", shared_negatives=True)._sampler
    assert isinstance(chosen, negatives.Shared) and chosen._exponent == 0.75


@pytest.mark.parametrize(
    "values, message",
    [
        (
            {"name": "gbce", "negative_sampling": "popularity"},
            "gbce calibrates for negatives drawn uniformly, found",
        ),
        ({"name": "bce", "negative_sampling": "hard"}, "'uniform', 'popularity', 'in_batch' or 'unmet'"),
        ({"name": "sampled_softmax", "negative_sampling": "unmet"}, "'uniform', 'popularity' or 'in_batch'"),
        (
            {"name": "bce", "negative_sampling": "unmet", "shared_negatives": True},
            "unmet draws for each window, found shared_negatives: true",
        ),
    ],
)
def test_settings_that_do_not_fit(values, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        config.TrainerSettings.from_values({"model": {"name": "popularity"}, "loss": values})


@pytest.mark.parametrize(
    "name",
    [name for name, model in registry.MODELS.items() if model.ranks_scenes and "next" in model.targets],
)
@pytest.mark.parametrize("loss", ["bce", "sampled_softmax"])
def test_what_the_counts_do_not_tell_is_not_corrected_by_them(name, loss):
    """Targets of these models are the first of a period, and counts are of all events."""

    def fits(**changes):
        values = {"name": loss, "negative_sampling": "in_batch", **changes}
        return search.merge(
            config.TrainerSettings.from_values({"model": {"name": name}, "loss": values}), {}
        ).loss

    with pytest.raises(search.ImpossiblePoint, match=f"model {name} does not know how often items are the"):
        fits()
    assert fits(logq_correction=False).in_batch
    assert fits(negative_sampling="popularity", shared_negatives=True).logq_correction


@pytest.mark.parametrize(
    ("loss", "sampling"),
    [(loss, kind) for loss in ("sampled_softmax", "bce") for kind in ("uniform", "popularity", "in_batch")]
    + [("gbce", "uniform")],
)
def test_only_rows_that_are_used_have_a_gradient(loss, sampling):
    """The table's gradient is slices: nothing of the catalogue's size is made before the optimiser."""
    values = {"name": loss, "negatives": 3, "negative_sampling": sampling}
    settings = config.TrainerSettings.from_values({"model": {"name": "sasrec", "dim": 8}, "loss": values})
    model = harness.build({"name": "sasrec", "dim": 8})
    model.training_loss = losses.build(settings.loss)
    with tf.GradientTape() as tape:
        total, count = model.summed_loss(harness.batch())
    gradients = tape.gradient(total, model.trainable_variables)
    table = [harness.SIZE + names.FIRST_INDEX, 8]
    (found,) = (g for g, v in zip(gradients, model.trainable_variables) if v.shape == table)
    assert isinstance(found, tf.IndexedSlices)
    # Histories, targets and negatives.
    assert found.values.shape[0] <= tf.size(harness.batch()[names.HISTORY_ITEM_INDEX]) + 4 * int(count)
