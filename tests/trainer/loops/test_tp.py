"""TP: what an update is, against the paper's equations in NumPy; the adversary's direction; resumption."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from schemas import errors, names
from tests.trainer.loops import test_fit
from tests.trainer.models import harness
from trainer import config, optimizers, registry
from trainer.layers import discriminator
from trainer.loops import fit, tp
from trainer.loops import loop as loop_lib
from trainer.losses import ranking as losses
from trainer.models import learner
from trainer.settings import loops as loop_settings
from trainer.settings import training as training_settings

ALPHA, BETA = 0.3, 0.7
RNG = np.random.default_rng(11)
# A quadratic for each of four users: curvature A_u (symmetric, positive) and lowest point c_u.
_ROOTS = RNG.normal(size=[4, 3, 3])
CURVATURE = (np.einsum("uij,ukj->uik", _ROOTS, _ROOTS) / 3 + 0.2 * np.eye(3)).astype(np.float32)
LOWEST = RNG.normal(size=[4, 3]).astype(np.float32)
START = np.array([0.5, -1.0, 0.25], np.float32)
HEAD = np.array([1, 0, 1, 0])


class Quadratic(learner.Learner):
    """L of user u is (theta - c_u)' A_u (theta - c_u) / 2; its embedding is theta times +1 (head) or -1."""

    padding_needed = None
    expected_targets = staticmethod(lambda lengths: lengths)

    def __init__(self, scale=1.0):
        super().__init__()
        self.theta = tf.Variable(START, name="theta")
        self._scale = scale

    def call(self, features, training=False):
        sign = 2.0 * tf.cast(tf.gather(HEAD, self.users(features)), tf.float32) - 1.0
        return sign[:, tf.newaxis] * self.theta

    def users(self, features):
        return tf.maximum(features[names.HISTORY_ITEM_INDEX][:, -1] - names.FIRST_INDEX, 0)

    def summed_loss(self, features, training=True):
        user = self.users(features)
        away = self.theta - tf.gather(LOWEST, user)
        losses = 0.5 * tf.einsum("bi,bij,bj->b", away, tf.gather(CURVATURE, user), away)
        real = tf.cast(features[names.HISTORY_ITEM_INDEX][:, -1] != names.PADDING_INDEX, tf.float32)
        return self._scale * tf.reduce_sum(real * losses), tf.reduce_sum(real)

    def loss_and_embedding(self, features, training=True):
        return (*self.summed_loss(features), self(features))


class Rows(learner.Learner):
    """L of item i with row e_i is |e_i - i|^2 / 2 times how often it occurs: gradients are sparse."""

    padding_needed = None
    expected_targets = staticmethod(lambda lengths: lengths)

    def __init__(self):
        super().__init__()
        self.table = tf.Variable(tf.reshape(tf.range(40.0) / 7.0, [20, 2]), name="table")

    def call(self, features, training=False):
        return tf.gather(self.table, features[names.HISTORY_ITEM_INDEX][:, -1])

    def summed_loss(self, features, training=True):
        index = tf.reshape(features[names.HISTORY_ITEM_INDEX], [-1])
        away = tf.gather(self.table, index) - tf.cast(index, tf.float32)[:, tf.newaxis]
        return 0.5 * tf.reduce_sum(away**2), tf.cast(tf.size(index), tf.float32)


class Nothing:
    """No evaluation."""

    def __init__(self, model):
        del model

    def evaluate(self):
        return {"ndcg@10": 0.5}


def windows(user, head, item):
    """Windows of given users; `item` is `[W, L]`."""
    features = {
        names.USER_HASH: np.asarray(user, np.int64),
        names.USER_HEAD: np.asarray(head, np.int64),
        names.HISTORY_ITEM_INDEX: np.asarray(item, np.int64),
        names.TARGET_ITEM_INDEX: np.full(len(user), names.FIRST_INDEX, np.int64),
    }
    return tf.data.Dataset.from_tensor_slices(features).batch(32)


def toy(folder, monkeypatch, kind=Quadratic, rate=BETA, items=None, **settings):
    """A loop around a toy model, to train on `items` of four users, with plain gradient descent at `rate`."""
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(rate))
    items = np.full([4, 4 if kind is Rows else 1], names.FIRST_INDEX) if items is None else items
    paper = {"adversary_events": None, "discriminator_rate": 1.0, "discriminator_hidden": []}
    values = {"inner_learning_rate": ALPHA, "adversary": 0.0, **paper, **settings}
    return tp.TP(
        kind,
        training_settings.TrainingSettings(),
        tf.distribute.MirroredStrategy(["CPU:0"]),
        windows(range(4), HEAD, items),
        Nothing,
        str(folder / "checkpoints"),
        own=loop_settings.TPSettings.from_values({"name": "tp", **values}),
    )


def take_step(loop, items, head=None):
    """One step on `[k, b, L]` items; returns the sums."""
    items = np.asarray(items, np.int64)
    head = np.zeros(items.shape[:2], np.int64) if head is None else head
    batch = {
        names.HISTORY_ITEM_INDEX: tf.constant(items),
        names.USER_HEAD: tf.constant(head),
        names.TARGET_ITEM_INDEX: tf.zeros(items.shape[:2], tf.int64),
    }
    return tf.function(lambda b: loop._strategy.run(loop._one_step, args=(b,)), autograph=False)(
        batch
    ).numpy()


def of_users(*users):
    """A mini-batch of one window for each user, in order: items `[k, 1, 1]`."""
    return names.FIRST_INDEX + np.array(users)[:, np.newaxis, np.newaxis]


def gradient(user, theta):
    return CURVATURE[user] @ (theta - LOWEST[user])


def outer_gradient(folder, monkeypatch, users):
    loop = toy(folder, monkeypatch, inner_steps=len(users))
    take_step(loop, of_users(*users))
    return (START - loop.model.theta.numpy()) / BETA


@pytest.mark.parametrize("users", [(0,), (0, 1), (1, 0), (2, 0, 3, 1)])
def test_the_outer_gradient_is_the_way_of_the_inner_steps(tmp_path, monkeypatch, users):
    """Eq. (6) and (7): (theta - theta_k) / (alpha k), with theta_k by gradient descent."""
    theta = START.astype(np.float64)
    for user in users:
        theta = theta - ALPHA * gradient(user, theta)
    expected = (START - theta) / (ALPHA * len(users))
    np.testing.assert_allclose(outer_gradient(tmp_path, monkeypatch, users), expected, rtol=1e-4, atol=1e-5)


def test_over_the_order_of_users_it_descends_equation_8(tmp_path, monkeypatch):
    """The gradient of L_1 + L_2 - alpha / 2 L_1' . L_2', exactly: a quadratic has no third derivative."""

    def objective(theta):
        losses = sum(0.5 * (theta - LOWEST[u]) @ CURVATURE[u] @ (theta - LOWEST[u]) for u in (0, 1))
        return losses - 0.5 * ALPHA * gradient(0, theta) @ gradient(1, theta)

    step = 1e-4 * np.eye(3)
    start = START.astype(np.float64)
    expected = np.array([(objective(start + d) - objective(start - d)) / 2e-4 for d in step])
    found = sum(outer_gradient(tmp_path, monkeypatch, order) for order in ((0, 1), (1, 0)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    # The alignment is a large part of it: plain gradients are another thing.
    plain = gradient(0, START) + gradient(1, START)
    assert np.abs(found - plain).max() > 0.1


def test_sparse_rows_move_alike_and_others_stay(tmp_path, monkeypatch):
    """Rows that two inner steps share, and a row twice in one: against dense NumPy."""
    items = np.array([[[3, 3, 5, 7]], [[3, 5, 5, 9]], [[9, 3, 11, 7]]])
    loop = toy(tmp_path, monkeypatch, Rows, inner_steps=3)
    table = loop.model.table
    start = table.numpy()
    take_step(loop, items)
    theta, summed = start.astype(np.float64), np.zeros_like(start, np.float64)
    for row in items[:, 0]:
        one = np.zeros_like(theta)
        for item in row:
            one[item] += (theta[item] - item) / row.size
        summed += one
        theta = theta - ALPHA * one
    np.testing.assert_allclose(table.numpy(), start - BETA * summed / 3, rtol=1e-5, atol=1e-5)
    touched = np.isin(np.arange(20), items)
    np.testing.assert_array_equal(table.numpy()[~touched], start[~touched])


@pytest.mark.parametrize("kind", [Quadratic, Rows])
def test_the_inner_steps_leave_nothing_behind(tmp_path, monkeypatch, kind):
    """With an outer learning rate of 0 all bits are as before."""
    sparse = np.array([[[3, 3, 5, 7]], [[3, 5, 5, 9]], [[9, 3, 1, 7]]])
    items = sparse if kind is Rows else of_users(0, 1, 2)
    strength = 2.0 if kind is Quadratic else 0.0
    loop = toy(tmp_path, monkeypatch, kind, rate=0.0, inner_steps=3, adversary=strength)
    before = [variable.numpy() for variable in loop._variables()]
    assert len(before) == (3 if strength else 1)
    take_step(loop, items)
    for variable, old in zip(loop._variables(), before):
        np.testing.assert_array_equal(variable.numpy(), old)


def adversarial(folder, monkeypatch, **settings):
    """A loop with logistic regression as its adversary, at known weights."""
    kind = functools.partial(Quadratic, scale=settings.pop("scale", 1.0))
    loop = toy(folder, monkeypatch, kind, discriminator_hidden=[], **settings)
    weights, bias = loop.discriminator.trainable_variables
    weights.assign([[0.4], [-0.3], [0.2]])
    bias.assign([0.1])
    return loop, loop.model.theta, weights, bias


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_one_update_with_the_adversary_against_numpy(tmp_path, monkeypatch, reduction):
    """theta descends L + lambda l and theta_d ascends it, in the inner steps and in the outer one."""
    strength, users = 1.5, [[0, 1, 2], [3]]
    # Two mini-batches on average have 2 windows and 2.5 events each.
    trained = names.FIRST_INDEX + np.array([[0, 0], [-1, 0], [-1, 0], [-1, 0]])
    trained[trained < names.FIRST_INDEX] = names.PADDING_INDEX
    settings = {"adversary": strength, "reduction": reduction, "users_per_step": 2, "items": trained}
    targets, rows = {"mean": ((3, 1), (3, 1)), "sum": ((2.5, 2.5), (2, 2))}[reduction]
    loop, theta, weights, bias = adversarial(tmp_path, monkeypatch, inner_steps=2, **settings)
    start = (START.astype(np.float64), weights.numpy()[:, 0].astype(np.float64), float(bias.numpy()[0]))
    items = np.full([2, 3, 1], names.PADDING_INDEX)
    heads = np.zeros([2, 3], np.int64)
    for row, batch in enumerate(users):
        items[row, : len(batch), 0], heads[row, : len(batch)] = (
            names.FIRST_INDEX + np.array(batch),
            HEAD[batch],
        )
    sums = take_step(loop, items, heads)

    t, w, b = start
    total, likelihoods, ways = 0.0, 0.0, []
    for batch, of_loss, of_likelihood in zip(users, targets, rows):
        batch = np.array(batch)
        sign, real = 2.0 * HEAD[batch] - 1, HEAD[batch]
        p = 1 / (1 + np.exp(-(sign * (t @ w) + b)))
        likelihoods += np.sum(np.where(real == 1, np.log(p), np.log(1 - p)))
        total += sum(0.5 * (t - LOWEST[u]) @ CURVATURE[u] @ (t - LOWEST[u]) for u in batch)
        error = real - p  # the derivative of l by the logit
        pushed = strength * np.sum(error * sign) / of_likelihood
        of_theta = np.sum([gradient(u, t) for u in batch], axis=0) / of_loss + pushed * w
        of_w, of_b = pushed * t, strength * np.sum(error) / of_likelihood
        ways.append((of_theta, of_w, of_b))
        t, w, b = t - ALPHA * of_theta, w + ALPHA * of_w, b + ALPHA * of_b
    means = [np.mean([way[i] for way in ways], axis=0) for i in range(3)]
    np.testing.assert_allclose(theta.numpy(), start[0] - BETA * means[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(weights.numpy()[:, 0], start[1] + BETA * means[1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(bias.numpy()[0], start[2] + BETA * means[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums, [total, 4, likelihoods, 4, 2], rtol=1e-4)


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_the_discriminator_gets_better_alone_and_the_model_makes_it_worse(tmp_path, monkeypatch, inner_steps):
    """On embeddings that can be told apart, and without a loss that would pull the model elsewhere."""
    loop, theta, *adversary = adversarial(
        tmp_path, monkeypatch, scale=0.0, rate=0.1, inner_steps=inner_steps, adversary=1.0
    )
    everyone = {names.HISTORY_ITEM_INDEX: tf.constant(names.FIRST_INDEX + np.arange(4)[:, np.newaxis])}

    def likelihood(theta_value, adversary_values):
        theta.assign(theta_value)
        for variable, value in zip(adversary, adversary_values):
            variable.assign(value)
        logits = loop.discriminator(loop.model(everyone))
        return float(tf.reduce_mean(discriminator.log_likelihood(logits, HEAD)))

    before = theta.numpy(), [v.numpy() for v in adversary]
    users = np.tile(np.arange(4), [inner_steps, 1])
    take_step(loop, names.FIRST_INDEX + users[:, :, np.newaxis], HEAD[users])
    after = theta.numpy(), [v.numpy() for v in adversary]
    at_first = likelihood(*before)
    assert likelihood(before[0], after[1]) > at_first + 1e-3
    assert likelihood(after[0], before[1]) < at_first - 1e-3


def test_log_likelihood():
    logits, head = np.array([-2.0, 0.0, 3.0, 200.0]), np.array([1, 0, 1, 0])
    f = 1 / (1 + np.exp(-logits[:3]))
    expected = [np.log(f[0]), np.log(1 - f[1]), np.log(f[2]), -200.0]
    found = discriminator.log_likelihood(tf.constant(logits), tf.constant(head))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_padding_is_worth_nothing(tmp_path, monkeypatch):
    """A mini-batch with places left over, or one that is all padding, changes nothing but the mean over k."""
    users = [[0, 1], [2, 3]]
    full = names.FIRST_INDEX + np.array(users)[:, :, np.newaxis]
    padded = np.pad(full, [[0, 1], [0, 3], [0, 0]], constant_values=names.PADDING_INDEX)
    heads = HEAD[np.array(users)]
    found = []
    for items, head, inner in ((full, heads, 2), (padded, np.pad(heads, [[0, 1], [0, 3]]), 3)):
        loop, *variables = adversarial(tmp_path, monkeypatch, inner_steps=inner, adversary=0.5)
        before = [v.numpy() for v in variables]
        sums = take_step(loop, items, head)
        found.append(([inner * (v.numpy() - old) for v, old in zip(variables, before)], sums))
    for one, two in zip(found[0][0], found[1][0]):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-5)


def blocks(rows=90, users=30, of=test_fit.blocks):
    """The windows of `test_fit`, of users with one to several of them; those of few users are of the head."""
    user = np.random.default_rng(5).integers(0, users, rows)
    extra = {names.USER_HASH: user, names.USER_HEAD: (user < users // 5).astype(np.int64)}
    both = tf.data.Dataset.zip((of(rows).unbatch(), tf.data.Dataset.from_tensor_slices(extra)))
    return both.map(lambda one, two: {**one, **two}).batch(32)


def real_loop(
    folder,
    training=None,
    loop=None,
    model=None,
    loss=None,
    kind=tp.TP,
    devices=("CPU:0",),
    train=None,
    evaluate=test_fit.Size,
    strategy=None,
):
    sizes = {"inner_steps": 2, "users_per_step": 3, "user_batch": 2, "adversary": 0.5, "adversary_events": 2}
    aligned = {"name": "tp", **sizes, **(loop or {})}
    settings = config.TrainerSettings.from_values(
        {
            "model": model or {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.3},
            "loss": loss or {"name": "bce", "negatives": 2},
            "loop": aligned if kind is tp.TP else {"name": "fit"},
            "training": {"epochs": 3, "learning_rate": 0.01, **(training or {})},
        }
    )

    train = blocks() if train is None else train
    length = train.element_spec[names.HISTORY_ITEM_INDEX].shape[1]
    catalogue = dataclasses.replace(harness.catalogue(), window_length=length)

    def build():
        model_class = registry.load(settings.model.name)
        made = model_class(settings.model, catalogue, seed=settings.training.seed)
        made.training_loss = losses.build(settings.loss)
        return made

    return kind.of(settings.loop)(
        build,
        settings.training,
        strategy or tf.distribute.MirroredStrategy(list(devices)),
        train,
        evaluate,
        str(folder / "checkpoints"),
    )


def test_one_inner_step_without_an_adversary_is_plain_training_on_the_same_batches(tmp_path):
    loop = {"inner_steps": 1, "adversary": 0.0, "inner_learning_rate": 123.0}
    model = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
    one = real_loop(tmp_path / "tp", loop=loop, model=model, loss={"name": "softmax"})
    plain = real_loop(tmp_path / "fit", model=model, loss={"name": "softmax"}, kind=fit.Fit)
    test_fit.assert_equal(one, plain)
    steps = [
        tf.function(
            lambda b, o=o: o._strategy.run(o._one_step, args=(b,)), reduce_retracing=True, autograph=False
        )
        for o in (one, plain)
    ]
    seen = 0
    for batch in one._batches(range(1)):
        # Without the places that TP fills up.
        real = batch[names.HISTORY_ITEM_INDEX][0, :, -1] != names.PADDING_INDEX
        sums = steps[0](batch)
        other = steps[1]({name: tf.boolean_mask(value[0], real) for name, value in batch.items()})
        np.testing.assert_allclose(sums[:2], other, rtol=1e-5)
        seen += 1
    assert seen == one._epoch_steps() > 5
    for variable, expected in zip(one.model.trainable_variables, plain.model.trainable_variables):
        # The gradient of the keys' bias is 0 but for rounding, which Adam makes steps of.
        if "qkv/bias" not in variable.name:
            np.testing.assert_allclose(
                variable.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5, err_msg=variable.name
            )


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path, monkeypatch):
    """The discriminator and both optimisers go on as well; between epochs and on replicas, see `test_fit`."""
    monkeypatch.setattr(loop_lib, "_STEPS_PER_CALL", 2)
    settings = {"epochs": 2, "checkpoint_seconds": 1e-9}
    whole = real_loop(tmp_path / "whole", settings)
    assert whole._epoch_steps() > 4
    expected, _ = test_fit.train_and_remember(whole, (1, 4), tmp_path / "killed")

    resumed = real_loop(tmp_path / "killed", settings)
    found = resumed.run()
    assert found["resumed_from_epoch"] == 1
    test_fit.assert_equal(resumed, whole)
    kept = [
        [*each.discriminator.variables, *(v for group in each._groups for v in group.optimizer.variables)]
        for each in (resumed, whole)
    ]
    assert len(kept[0]) == len(kept[1]) > len(whole.discriminator.variables)
    for one, two in zip(*kept):
        np.testing.assert_array_equal(one.numpy(), two.numpy(), err_msg=one.name)
    for one, two in zip(found["epochs"], expected["epochs"]):
        for key in ("loss", "discriminator_log_likelihood", "ndcg@10"):
            assert one[key] == two[key], key


def test_a_schedule_knows_how_many_steps_there_are(tmp_path):
    """Of 30 groups or more, two in a step."""
    one = real_loop(tmp_path)
    assert one._epoch_steps() == len(list(one._batches(range(1)))) > 1


def test_it_learns_and_stops(tmp_path):
    settings, loss = {"epochs": 60, "patience": 4}, {"name": "softmax"}
    history = real_loop(tmp_path, settings, loss=loss, evaluate=test_fit.full_ranking).run()
    measured = [epoch["ndcg@10"] for epoch in history["epochs"]]
    assert history["stopped"] == "patience" and len(measured) == history["best_epoch"] + 4
    assert max(measured) > 0.95


def test_xla_and_mixed_precision(tmp_path):
    """The same mathematics, but for rounding."""
    model = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
    losses = []
    for extra in ({}, {"xla": True}, {"mixed_precision": True}):
        if extra.get("mixed_precision"):
            tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        try:
            folder = tmp_path / str(len(losses))
            whole = {"adversary_events": None}
            loop = real_loop(folder, {"epochs": 2, **extra}, whole, model, {"name": "softmax"})
            run = loop.run()
        finally:
            tf.keras.mixed_precision.set_global_policy("float32")
        losses.append([[e["loss"], e["discriminator_log_likelihood"]] for e in run["epochs"]])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    np.testing.assert_allclose(losses[2], losses[0], rtol=0.03)


def test_an_inner_step_that_overflows_is_not_taken(tmp_path):
    """With a loss scale that is too large, as growth makes it: the optimiser lowers it, and training goes on."""
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
        one = real_loop(tmp_path, {"epochs": 1}, {"adversary": 0.0}, model, {"name": "softmax"})
        optimizer = one._groups[0].optimizer
        optimizer._loss_scale.current_loss_scale.assign(2.0**30)
        found = one.run()
        assert np.isfinite(found["epochs"][0]["loss"]) and float(optimizer.loss_scale) < 2.0**30
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def test_a_sum_is_over_the_targets_of_a_model(tmp_path):
    """BERT4Rec is trained on the places that it hides."""
    losses_of = {"sasrec": {"name": "softmax"}, "bert4rec": {"name": "softmax"}}
    found = {
        name: real_loop(tmp_path / name, None, {"reduction": "sum"}, tiny(name), loss)
        for name, loss in losses_of.items()
    }
    lengths = np.count_nonzero(
        found["sasrec"]._columns[names.HISTORY_ITEM_INDEX] != names.PADDING_INDEX, axis=1
    )
    of_bert4rec = found["bert4rec"].model.expected_targets(tf.constant(lengths, tf.float32))
    share = float(tf.reduce_sum(of_bert4rec)) / lengths.sum()
    assert share < 0.9 and found["bert4rec"]._events == pytest.approx(share * found["sasrec"]._events)


def test_the_adversary_may_be_shown_whole_windows(tmp_path):
    """What a step differentiates, in a graph."""
    settings = {"adversary_events": harness.LENGTH}
    one = real_loop(tmp_path, None, settings, tiny("bert4rec"), {"name": "softmax"})
    part = {name: value[0] for name, value in next(iter(one._batches(range(1)))).items()}
    step = tf.function(
        lambda part: one._strategy.run(one._differentiate, args=(part, 6.0, 6.0)), autograph=False
    )
    sums, gradients = step(part)
    sums = dict(zip(one.sums, sums.numpy().tolist(), strict=True))
    windows = np.count_nonzero(part[names.HISTORY_ITEM_INDEX][:, -1] != names.PADDING_INDEX)
    assert sums["windows"] == windows > 0 and sums["targets"] > 0
    assert np.isfinite(sums["loss"]) and -np.inf < sums["log_likelihood"] < 0
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)


def tiny(name):
    """The smallest settings of a registered model."""
    small = {"dim": 8, "hidden": 8, "blocks": 1, "layers": 1, "heads": 2, "dropout": 0.1}
    fields = registry.MODELS[name].model_fields
    return {"name": name, **{key: value for key, value in small.items() if key in fields}}


def next_item_models():
    return sorted(name for name, entry in registry.MODELS.items() if "next" in entry.window_kinds)


def with_all_features(block):
    shape = tf.shape(block[names.HISTORY_ITEM_INDEX])
    kinds = names.FIRST_INDEX + block[names.HISTORY_ITEM_INDEX] % 2
    extra = {names.HISTORY_BEHAVIOR_INDEX: kinds, names.HISTORY_SCENE_INDEX: kinds}
    target = tf.fill([shape[0]], tf.constant(names.FIRST_INDEX, tf.int64))
    return {**block, **extra, names.TARGET_BEHAVIOR_INDEX: target, names.TARGET_SCENE_INDEX: target}


@pytest.mark.parametrize("name", ["casm", "popularity"])
def test_a_model_of_all_features_and_one_without_weights_can_be_trained(tmp_path, name):
    """What a model gives the loop (`loss_and_embedding`) is below for all; sasrec, gru4rec and caser are, too."""
    training, weak = {"epochs": 4, "learning_rate": 0.02}, {"adversary": 0.01}
    train = blocks().map(with_all_features)
    loop = real_loop(tmp_path, training, weak, model=tiny(name), loss={"name": "softmax"}, train=train)
    before = test_fit.weights(loop)
    history = loop.run()
    if not before:
        assert history["stopped"] == "nothing to train"
        return
    losses = [epoch["loss"] for epoch in history["epochs"]]
    assert losses[-1] < 0.9 * losses[0]
    for variable, old in zip(loop.model.trainable_variables, before):
        assert (variable.numpy() != old).any(), variable.name


def test_a_model_with_adversaries_of_its_own_keeps_theirs_and_the_loops_apart(tmp_path):
    """All of them learn, the loop's moves ahead, and a resumed training has the optimisers of both."""
    model = {**tiny("dspnet"), "apr": 0.1, "ccr": 0.0}
    parts = {
        "loop": {"discriminator_steps": 3},
        "model": model,
        "loss": {"name": "softmax"},
        "train": blocks().map(with_all_features),
    }
    whole = real_loop(tmp_path, {"epochs": 2}, **parts)
    assert [group.direction for group in whole._groups] == [1.0, -1.0, -1.0]
    assert len({group.name for group in whole._groups}) == 3
    before = [[variable.numpy() for variable in group.variables] for group in whole._groups[1:]]
    whole.run()
    for group, old in zip(whole._groups[1:], before, strict=True):
        assert all((variable.numpy() != one).any() for variable, one in zip(group.variables, old))
    steps = 2 * whole._epoch_steps()
    taken = [int(group.optimizer.iterations.numpy()) for group in whole._groups]
    assert taken == [steps, steps, 3 * steps]
    again = real_loop(tmp_path, {"epochs": 2}, **parts)
    again.run()
    for one, two in zip(again._groups, whole._groups, strict=True):
        for a, b in zip(one.optimizer.variables, two.optimizer.variables, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("name", next_item_models())
def test_the_loss_and_the_embedding_in_one_pass_are_those_of_two(name):
    model = harness.build(tiny(name))
    batch = harness.batch(3)
    total, count, embedding = model.loss_and_embedding(batch, training=False)
    np.testing.assert_allclose((total, count), model.summed_loss(batch, training=False), rtol=1e-6)
    np.testing.assert_allclose(embedding, model.encode(batch, training=False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name,devices,inner_steps",
    [("gru4rec", ["CPU:0"], 2), ("sasrec", ["CPU:0", "CPU:1"], 1)],
    ids=["gru4rec", "sasrec, two replicas"],
)
def test_padding_that_a_mini_batch_does_not_need_is_cut_off(
    tmp_path, monkeypatch, name, devices, inner_steps
):
    """And weights become those of a training on whole windows."""
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(0.3))
    results = []
    for buckets in (1, 2):
        one = real_loop(
            tmp_path / str(buckets),
            {"epochs": 1, "length_buckets": buckets},
            {"inner_steps": inner_steps},
            model={**tiny(name), "dropout": 0.0},
            loss={"name": "softmax"},
            train=blocks(of=test_fit.uneven),
            devices=devices,
        )
        assert len(one._widths) == buckets and one._widths[-1] == 12
        history = one.run()
        losses = [(epoch["loss"], epoch["discriminator_log_likelihood"]) for epoch in history["epochs"]]
        results.append((losses, [variable.numpy() for variable in one._variables()]))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-5)
    for one, two in zip(results[0][1], results[1][1]):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=2e-6)


def test_replicas_with_an_adversary_do_not_branch_by_width(tmp_path):
    """Within a branch, nothing can be summed over them."""
    found = {}
    for strength in (0.5, 0.0):
        loop = {"adversary": strength}
        train, devices = blocks(of=test_fit.uneven), ["CPU:0", "CPU:1"]
        one = real_loop(
            tmp_path / str(strength), loop=loop, model=tiny("gru4rec"), train=train, devices=devices
        )
        found[strength] = len(one._widths)
    assert found[0.5] == 1 and found[0.0] > 1


def test_a_mini_batch_is_as_wide_as_its_longest_window_needs(tmp_path):
    loop = real_loop(tmp_path, train=blocks(of=test_fit.uneven))
    loop._widths = [4, 8, 12]
    for needed, width in ((0, 4), (4, 4), (5, 8), (9, 12), (12, 12)):
        index = np.zeros([3, 12], np.int64)
        index[1, 12 - needed :] = names.FIRST_INDEX
        index[0, 11:] = names.FIRST_INDEX * bool(needed)
        found = loop._widths[int(loop._bucket(tf.constant(index)))]
        assert found == width
        np.testing.assert_array_equal(
            loop._cut({names.HISTORY_ITEM_INDEX: tf.constant(index)}, found)[names.HISTORY_ITEM_INDEX],
            index[:, 12 - width :],
        )


@pytest.mark.parametrize(
    "model,loop,on_two",
    [
        # Sparse gradients of the input's table, and mini-batches of 1 to 5: shares differ or are empty.
        (
            {**tiny("caser"), "dropout": 0.0},
            {"adversary": 0.5, "users_per_step": 1, "user_batch": 5, "adversary_events": None},
            {},
        ),
        ({**tiny("sasrec"), "dropout": 0.0}, {"adversary": 0.0, "reduction": "sum"}, {"xla": True}),
    ],
    ids=["adversary", "xla, sum"],
)
def test_two_replicas_are_one(tmp_path, monkeypatch, model, loop, on_two):
    """A run on two logical devices, by XLA or not, is one on a single device with the same mini-batches.

    Plain training is in `test_fit`, and with sparse gradients of one width in `test_teacher`.
    """
    monkeypatch.setattr(optimizers, "build", lambda *_: tf.keras.optimizers.SGD(0.5))
    results = []
    for devices, extra in ((["CPU:0"], {}), (["CPU:0", "CPU:1"], on_two)):
        one = real_loop(
            tmp_path / str(len(devices)),
            {"epochs": 1, **extra},
            loop,
            model,
            {"name": "softmax"},
            devices=devices,
        )
        history = one.run()
        assert history["replicas"] == len(devices)
        losses = [epoch["loss"] for epoch in history["epochs"]]
        results.append((losses, [variable.numpy() for variable in one._variables()]))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-5)
    for one, two in zip(results[0][1], results[1][1]):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", ["sasrec", "bert4rec"])
def test_the_adversary_is_shown_the_events_up_to_a_place(tmp_path, name):
    """As many of each window, from no other place, whatever the rest of it is."""
    loop = real_loop(tmp_path, loop={"adversary_events": 3}, model=tiny(name))
    index = np.array([[2, 3, 4, 5, 6, 7], [0, 0, 2, 3, 4, 5], [0, 0, 0, 0, 2, 3]])
    batch = {names.HISTORY_ITEM_INDEX: tf.constant(index), names.USER_HEAD: tf.constant([1, 0, 0])}
    shown = loop._shown(batch, tf.constant([3, 1, 0]))[names.HISTORY_ITEM_INDEX].numpy()
    # Some models need a place in front of the first event.
    padding = loop.model.padding_needed
    assert (padding > 0) == (name == "bert4rec")
    assert shown[:2].tolist() == [[0] * padding + row for row in ([2, 3, 4], [2, 3, 4])]
    assert loop._judged(batch).numpy().tolist() == [True, True, False]
    compiled = tf.function(loop._shown, jit_compile=True, autograph=False)
    assert (
        compiled(batch, tf.constant([3, 1, 0]))[names.HISTORY_ITEM_INDEX].numpy().tolist() == shown.tolist()
    )
    found = loop._shown_by_chance({key: tf.repeat(value, 300, axis=0) for key, value in batch.items()})
    firsts = found[0][names.HISTORY_ITEM_INDEX].numpy()[:300, padding]
    assert np.bincount(firsts, minlength=6)[2:].min() > 40 and set(firsts) == {2, 3, 4, 5}
    assert set(found[0][names.HISTORY_ITEM_INDEX].numpy()[300:600, padding]) == {2, 3}


def test_a_window_of_too_few_events_is_not_judged(tmp_path):
    train = blocks(of=test_fit.uneven)
    history = real_loop(tmp_path / "a", {"epochs": 1}, {"adversary_events": 4}, train=train)
    lengths = np.concatenate([(b[names.HISTORY_ITEM_INDEX].numpy() != 0).sum(axis=1) for b in train])
    iterator, sums = iter(history._batches(range(1))), 0.0
    for batch in iterator:
        sums += float(
            tf.reduce_sum(tf.cast(history._judged({k: v[0] for k, v in batch.items()}), tf.float32))
        )
        sums += float(
            tf.reduce_sum(tf.cast(history._judged({k: v[1] for k, v in batch.items()}), tf.float32))
        )
    assert sums == (lengths >= 4).sum() > 0
    message = (
        "adversary_events: no training window has the 13 events that the adversary is shown, found 12 at most"
    )
    with pytest.raises(errors.InputError, match=message):
        real_loop(tmp_path / "b", loop={"adversary_events": 13}, train=train)


@pytest.mark.parametrize("events, strength, warned", [(4, 0.5, True), (4, 0.0, False), (2, 0.5, False)])
def test_an_adversary_that_is_shown_one_class_is_warned_of(tmp_path, caplog, events, strength, warned):
    """Windows of users with few events may all be too short for it."""
    items = np.array([[2, 3, 4, 5], [0, 0, 2, 3], [2, 2, 3, 3], [0, 2, 3, 4]])
    train = windows(range(4), HEAD, items)
    with caplog.at_level("WARNING", "footfall.progress"):
        real_loop(tmp_path, loop={"adversary_events": events, "adversary": strength}, train=train)
    found = [one.message for one in caplog.records if "nothing to tell apart" in one.message]
    assert len(found) == warned
    assert (
        not warned
        or "all 2 training windows with the 4 events that it is shown are of head users" in found[0]
    )


@pytest.mark.parametrize(
    "settings, warned",
    [
        ({"users_per_step": 1}, "loop.users_per_step: 1"),
        ({"classes": "apart"}, "loop.classes: apart"),
        ({"classes": "paired"}, "loop.classes: paired"),
        ({}, None),
        ({"users_per_step": 1, "adversary": 0.0}, None),
    ],
)
def test_an_adversary_of_mini_batches_of_one_class_is_warned_of(tmp_path, caplog, settings, warned):
    """Of one user there is one class, too."""
    with caplog.at_level("WARNING", "footfall.progress"):
        real_loop(tmp_path, loop=settings)
    found = [one.message for one in caplog.records if "of one class in each mini-batch" in one.message]
    assert len(found) == (warned is not None)
    assert warned is None or f"({warned})" in found[0]


def test_moves_ahead_weigh_windows_as_the_last_one_does(tmp_path, monkeypatch):
    """With `sum` by how many windows mini-batches have on average, here 2, whatever those of an update have."""
    strength, users = 0.8, np.array([[0, 1, 2], [3, 3, 3]])
    loop, _, weights, bias = adversarial(
        tmp_path,
        monkeypatch,
        **{"inner_steps": 2, "adversary": strength, "discriminator_steps": 2},
        **{"reduction": "sum", "users_per_step": 2},
    )
    assert loop._windows == 2
    moved = []

    def note(gradients, **_):
        moved.append([gradient.numpy() for gradient, _ in gradients])

    group = next(one for one in loop._groups if one.name == tp._DISCRIMINATOR)
    monkeypatch.setattr(group.optimizer, "apply_gradients", note)
    w, b = weights.numpy()[:, 0].astype(np.float64), float(bias.numpy()[0])
    batch = {
        names.HISTORY_ITEM_INDEX: tf.constant(names.FIRST_INDEX + users[:, :, np.newaxis]),
        names.USER_HEAD: tf.constant(HEAD[users]),
    }
    loop._move_ahead(batch, loop.discriminator)
    sign, real = 2.0 * HEAD[users.ravel()] - 1, HEAD[users.ravel()]
    error = real - 1 / (1 + np.exp(-(sign * (START @ w) + b)))
    # Downwards, as optimisers go; two mini-batches of two windows each on average.
    ((of_weights, of_bias),) = moved
    np.testing.assert_allclose(of_weights[:, 0], -strength * np.sum(error * sign) / 4 * START, rtol=1e-4)
    np.testing.assert_allclose(of_bias, [-strength * np.sum(error) / 4], rtol=1e-4)


def test_a_discriminator_moves_ahead_of_the_model(tmp_path, monkeypatch):
    """Three times in an update, each by the gradient at where it then is; embeddings stay until the last."""
    strength, users = 0.8, np.arange(4)
    found = {}
    for times in (1, 3):
        loop, theta, weights, bias = adversarial(
            tmp_path, monkeypatch, inner_steps=1, adversary=strength, discriminator_steps=times
        )
        w, b = weights.numpy()[:, 0].astype(np.float64), float(bias.numpy()[0])
        take_step(loop, names.FIRST_INDEX + users[np.newaxis, :, np.newaxis], HEAD[users][np.newaxis])
        sign = 2.0 * HEAD - 1
        for _ in range(times):
            error = HEAD - 1 / (1 + np.exp(-(sign * (START @ w) + b)))
            at_last = w
            w, b = (
                w + BETA * strength * np.mean(error * sign) * START,
                b + BETA * strength * np.mean(error),
            )
        np.testing.assert_allclose(weights.numpy()[:, 0], w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(bias.numpy()[0], b, rtol=1e-4, atol=1e-5)
        of_loss = np.mean([gradient(u, START) for u in users], axis=0)
        pushed = strength * np.mean(error * sign) * at_last
        np.testing.assert_allclose(theta.numpy(), START - BETA * (of_loss + pushed), rtol=1e-4, atol=1e-5)
        found[times] = theta.numpy()
    assert np.abs(found[1] - found[3]).max() > 1e-3


def test_a_discriminator_has_a_rate_of_its_own(tmp_path):
    loop = real_loop(tmp_path, {"schedule": "cosine"}, {"discriminator_rate": 7.0, "discriminator_steps": 3})
    model, adversary = (group.optimizer for group in loop._groups)
    assert float(loop._current_rate()) == pytest.approx(0.01)
    for done in (0.25, 0.5):
        # A schedule counts its own updates.
        one, other = (
            float(optimizer._learning_rate(tf.constant(done * 3 * loop._epoch_steps() * times)))
            for optimizer, times in ((model, 1), (adversary, 3))
        )
        assert other == pytest.approx(7 * one, rel=1e-5)


def many(rows=240, users=80, apart=True):
    """Windows of users of the head, of some items, and of the tail, of others."""
    rng = np.random.default_rng(3)
    user = np.arange(rows) % users
    head = (user < users // 2).astype(np.int64)
    low = np.where(head & apart, 0, harness.SIZE // 2)
    items = names.FIRST_INDEX + (low[:, np.newaxis] + rng.integers(0, harness.SIZE // 2, [rows, 6]))
    return windows(user, head, items)


def test_a_probe_tells_how_far_apart_head_and_tail_are(tmp_path, caplog):
    """Of disjoint items they are, and nothing but an adversary brings them together; of the same ones, they are not."""
    found = {}
    model = {"name": "sasrec", "dim": 8, "blocks": 1, "heads": 2, "dropout": 0.0}
    training = {"epochs": 5, "learning_rate": 0.01}
    for name, strength, apart in (("plain", 0.0, True), ("mixed", 20.0, True), ("alike", 0.0, False)):
        loop = {"adversary": strength, "users_per_step": 8, "discriminator_steps": 3}
        one = real_loop(
            tmp_path / name, training, loop, model, train=many(apart=apart), evaluate=test_fit.Size
        )
        found[name] = one.run()["epochs"][-1]
    assert found["plain"]["head_auc"] > 0.99 and found["alike"]["head_auc"] < 0.65
    assert found["mixed"]["head_auc"] < 0.9, found
    assert found["plain"]["head_auc_at_start"] > 0.9
    assert "discriminator_gain" not in found["plain"]
    guess = np.log(0.5)
    assert found["mixed"]["discriminator_gain"] == pytest.approx(
        found["mixed"]["discriminator_log_likelihood"] - guess, abs=1e-6
    )


def test_a_training_that_diverges_is_told_by_its_loss_and_not_by_the_probe(tmp_path):
    """The one step of an epoch has a loss, but leaves no weights to embed with."""
    training = {"learning_rate": 1e30, "optimizer": "sgd"}
    loop = real_loop(tmp_path, training, {"users_per_step": 80}, train=many(rows=80))
    assert loop._head_auc() is not None
    with pytest.raises(
        loop_lib.TrainingError, match=r"the loss is nan in epoch 2: lower training.learning_rate"
    ):
        loop.run()


@pytest.mark.parametrize("gain, warned", [(-0.01, True), (0.01, False)])
@pytest.mark.parametrize("parts", [(4,), (2, 4)], ids=["at once", "resumed between"])
def test_an_adversary_that_is_blind_to_what_separates_is_warned_of(
    tmp_path, caplog, monkeypatch, gain, warned, parts
):
    """Once, after two evaluated epochs in which a probe sees what the adversary does not."""
    # Epochs without a graph, whose adversary is so much better than who guesses: a quarter of 8 windows is of the head.
    guess = 0.25 * np.log(0.25) + 0.75 * np.log(0.75)
    sums = {"loss": 1.0, "targets": 1.0, "log_likelihood": 8 * (guess + gain), "windows": 8.0, "heads": 2.0}
    probes, done = [0.61, 0.75, 0.76, 0.77], 0
    with caplog.at_level("WARNING", "footfall.progress"):
        for epochs in parts:
            loop = real_loop(tmp_path, {"epochs": epochs, "patience": 9}, train=many())
            said = iter([0.6, *probes[done:]])
            monkeypatch.setattr(loop, "_head_auc", lambda said=said: next(said))
            loop._steps = lambda iterator, steps, loop=loop: tf.constant([sums[name] for name in loop.sums])
            history, done = loop.run(), epochs
    assert [epoch["head_auc"] for epoch in history["epochs"]] == probes
    assert history["epochs"][-1]["discriminator_gain"] == pytest.approx(gain, abs=1e-6)
    records = [each for each in caplog.records if "does not see what separates" in each.message]
    assert len(records) == warned
    assert not warned or "AUC of 0.760 (0.600 before training)" in records[0].message


def test_classes_by_chance_are_as_many_and_one_of_each_user(tmp_path):
    train = blocks()
    plain, shuffled = (
        real_loop(tmp_path / str(chance), loop={"shuffled_classes": chance}, train=train)
        for chance in (False, True)
    )
    user = np.concatenate([block[names.USER_HASH].numpy() for block in train])
    of_users = []
    for loop in (plain, shuffled):
        head = loop._columns[names.USER_HEAD].numpy()
        of_users.append({one: set(head[user == one]) for one in set(user)})
        assert all(len(found) == 1 for found in of_users[-1].values())
    assert of_users[0] != of_users[1]
    heads = [sum(found == {1} for found in each.values()) for each in of_users]
    assert heads[0] == heads[1] > 0


def test_a_probe_asks_for_the_real_classes_whatever_the_adversary_is_told(tmp_path):
    plain, shuffled = (
        real_loop(tmp_path / str(chance), loop={"shuffled_classes": chance}, train=many())
        for chance in (False, True)
    )
    (rows, heads), (same_rows, same_heads) = plain._probed, shuffled._probed
    items = names.HISTORY_ITEM_INDEX
    np.testing.assert_array_equal(rows[items], same_rows[items])
    np.testing.assert_array_equal(heads, rows[names.USER_HEAD])
    np.testing.assert_array_equal(same_heads, heads)
    assert (same_rows[names.USER_HEAD].numpy() != heads).any()


def test_the_same_mini_batch_in_all_inner_steps(tmp_path):
    loop = real_loop(tmp_path, loop={"classes": "same", "inner_steps": 3})
    batches = list(loop._batches(range(1)))
    assert len(batches) == loop._epoch_steps() == loop._users.batches
    for batch in batches:
        index = batch[names.HISTORY_ITEM_INDEX].numpy()
        assert index.shape[0] == 3 and (index == index[:1]).all()


def test_inner_steps_of_head_and_tail_in_turns(tmp_path):
    loop = real_loop(tmp_path, loop={"classes": "paired", "inner_steps": 2})
    for batch in loop._batches(range(1)):
        real = batch[names.HISTORY_ITEM_INDEX].numpy()[:, :, -1] != 0
        classes = [set(head[there]) for head, there in zip(batch[names.USER_HEAD].numpy(), real)]
        assert sorted(map(tuple, classes)) == [(0,), (1,)]
    with pytest.raises(ValueError, match="inner_steps has to be even, found 3"):
        loop_settings.TPSettings.from_values({"name": "tp", "classes": "paired", "inner_steps": 3})
