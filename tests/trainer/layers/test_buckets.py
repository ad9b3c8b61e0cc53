"""Events pooled by their distance from a moment, against plain Python."""

import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import behavior_encoder, bucket_encoder, buckets, powers

HOUR, DAY = 3600.0, 86_400.0


def plain(seconds, present, values, width, most, most_events=None):
    """The mean of each bucket of a row, nearest first: a list of (age, mean)."""
    events = sorted((s, n) for n, s in enumerate(seconds) if present[n])
    found = {}
    for s, n in events:
        key = math.floor(s / (width or DAY))
        found.setdefault((key, n) if width is None else (key,), []).append(values[n])
    kept = sorted(found.items(), key=lambda one: one[0][0])[:most]
    return [(key[0], np.mean(each[:most_events], axis=0)) for key, each in kept]


def random_events(rows=6, places=12, seed=0):
    rng = np.random.default_rng(seed)
    seconds = rng.uniform(0, 5 * DAY, [rows, places]).astype(np.float32)
    present = rng.random([rows, places]) < 0.7
    present[0], present[1] = True, False
    return seconds, present, rng.normal(size=[rows, places, 3]).astype(np.float32)


def assigned(seconds, present, *given, **named):
    return buckets.assign(tf.constant(seconds), tf.constant(present), *given, **named)


@pytest.mark.parametrize("width", [HOUR, DAY, 7 * DAY, None])
@pytest.mark.parametrize("most, most_events", [(12, None), (3, None), (12, 2), (3, 1)])
@pytest.mark.parametrize("static", [False, True])
def test_means_are_those_of_plain_python(width, most, most_events, static):
    seconds, present, values = random_events()
    found = assigned(seconds, present, width, most, most_events, static)
    means = found.mean(tf.constant(values)).numpy()
    longest = 1
    for row in range(len(seconds)):
        wanted = plain(seconds[row], present[row], values[row], width, most, most_events)
        longest = max(longest, len(wanted))
        assert found.present.numpy()[row].sum() == len(wanted)
        assert found.age.numpy()[row, : len(wanted)].tolist() == [age for age, _ in wanted]
        for place, (_, mean) in enumerate(wanted):
            np.testing.assert_allclose(means[row, place], mean, rtol=1e-5, atol=1e-6)
        assert not means[row, len(wanted) :].any()
    assert means.shape[1] == (min(12, most) if static else longest)


def test_a_mean_of_many_events_is_none_of_half_precision():
    """Of 1,000 equal terms added up one by one in bfloat16 half would be lost."""
    found = assigned(np.zeros([1, 1000], np.float32), np.ones([1, 1000], bool), HOUR, 2)
    mean = found.mean(tf.ones([1, 1000, 3], tf.bfloat16))
    assert mean.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(mean[0, 0], tf.float32), 1.0, rtol=1e-2)


def test_by_hand():
    # Ages in hours 0, 0, 2 and 1; the fourth place is none.
    found = assigned([[10.0, 3599.0, 7200.0, 5.0, 3600.0]], [[True, True, True, False, True]], HOUR, 2)
    assert found.age.numpy().tolist() == [[0, 1]]
    assert found.slot.numpy().tolist() == [[0, 0, 2, 2, 1]]
    assert found.share.numpy().tolist() == [[0.5, 0.5, 0.0, 0.0, 1.0]]
    means = found.mean(tf.constant([[[2.0], [4.0], [100.0], [50.0], [7.0]]]))
    assert means.numpy().tolist() == [[[3.0], [7.0]]]


def test_of_events_at_one_distance_the_first_count():
    found = assigned([[5.0, 5.0, 5.0]], [[True] * 3], HOUR, 4, 2)
    assert found.share.numpy().tolist() == [[0.5, 0.5, 0.0]]


def encoder(activity=True):
    tf.keras.utils.set_random_seed(1)
    generator = tf.random.Generator.from_seed(1)
    return bucket_encoder.BucketEncoder(4, 8, 2, 2, 16, 0.1, generator, activity)


def encoded(layer, seconds, present, values, width, most=20, **named):
    found = assigned(seconds, present, width, most, **named)
    # How long ago the last event was, as a model of users has it.
    last = np.where(present, seconds, np.inf).min(axis=1)
    since = tf.constant(np.where(np.isfinite(last), last, 0), tf.float32)
    return layer(found.mean(tf.constant(values)), found, since).numpy()


def test_pooled_is_unpooled_where_each_bucket_has_one_event():
    rng = np.random.default_rng(2)
    seconds = (np.stack([rng.permutation(12) for _ in range(4)]) + 0.5).astype(np.float32) * np.float32(DAY)
    present, values = rng.random([4, 12]) < 0.6, rng.normal(size=[4, 12, 8]).astype(np.float32)
    layer = encoder()
    pooled, bare = (encoded(layer, seconds, present, values, width) for width in (DAY, None))
    np.testing.assert_allclose(pooled, bare, rtol=1e-4, atol=1e-5)
    assert np.abs(pooled - pooled[:1])[1:].max() > 1e-2


@pytest.mark.parametrize("width", [DAY, None])
def test_the_order_of_events_and_padding_change_nothing(width):
    rng = np.random.default_rng(3)
    seconds, present, _ = random_events(seed=3)
    values = rng.normal(size=[6, 12, 8]).astype(np.float32)
    layer, order = encoder(), rng.permutation(12)
    expected = encoded(layer, seconds, present, values, width)
    shuffled = encoded(layer, seconds[:, order], present[:, order], values[:, order], width)
    np.testing.assert_allclose(shuffled, expected, rtol=1e-4, atol=1e-5)
    noisy = np.where(present[:, :, None], values, np.float32(1e3))
    seconds = np.where(present, seconds, np.float32(7.0))
    wider = [
        np.pad(value, [[0, 0], [3, 2]] + [[0, 0]] * (value.ndim - 2)) for value in (seconds, present, noisy)
    ]
    np.testing.assert_allclose(encoded(layer, *wider, width), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(encoded(layer, *wider, width, static=True), expected, rtol=1e-4, atol=1e-5)


def test_buckets_older_than_the_positions_share_the_last():
    layer, values = encoder(activity=False), np.ones([1, 1, 8], np.float32)
    ages = [encoded(layer, [[age * DAY + 1]], [[True]], values, DAY)[0] for age in (2, 3, 4, 90)]
    np.testing.assert_array_equal(ages[1], ages[2])
    np.testing.assert_array_equal(ages[1], ages[3])
    assert np.abs(ages[0] - ages[1]).max() > 1e-4


def test_how_much_a_user_does_is_told_by_powers_of_two():
    values = np.ones([1, 9, 8], np.float32)
    seconds = np.linspace(1, 1.9, 9, dtype=np.float32)[None]
    for activity in (True, False):
        layer = encoder(activity)
        of_number = [
            encoded(layer, seconds, [[place < n for place in range(9)]], values, DAY)[0] for n in range(1, 10)
        ]
        # 1 | 2, 3 | 4 to 7 | 8, 9; the mean is the same.
        alike = {(2, 3), (4, 7), (8, 9)}
        for one, two in ((1, 2), (2, 3), (3, 4), (4, 7), (7, 8), (8, 9)):
            differ = np.abs(of_number[one - 1] - of_number[two - 1]).max()
            assert differ < 1e-5 if not activity or (one, two) in alike else differ > 1e-4
        # One event in the first day: 2 and 3 hours before the moment are in one power of two of seconds, 5 in another.
        of_gap = [
            encoded(layer, [[hours * HOUR]], [[True]], values[:, :1], DAY)[0] for hours in (2.5, 4.5, 5)
        ]
        assert np.abs(of_gap[0] - of_gap[1]).max() < 1e-5
        assert (np.abs(of_gap[0] - of_gap[2]).max() > 1e-4) == activity


def test_powers_of_two():
    values = tf.constant([0.0, 1.0, 1.9, 2.0, 3.99, 4.0, 8.0, 2.0**20, 1e12])
    assert powers.of_two(values, 26).numpy().tolist() == [0, 0, 0, 1, 1, 2, 3, 20, 25]
    assert powers.of_two(values, 12).numpy().tolist() == [0, 0, 0, 1, 1, 2, 3, 11, 11]


def test_a_behaviour_is_the_weighted_sum_of_its_attributes():
    tf.keras.utils.set_random_seed(4)
    layer = behavior_encoder.BehaviorEncoder({"items": 5, "scenes": 3}, 4)
    first, second, weights = layer.variables_in_order
    assert tuple(first.shape) == (7, 4) and tuple(second.shape) == (5, 4)
    indices = [tf.constant([[2, 6, 0]], tf.int64), tf.constant([[4, 1, 0]], tf.int64)]
    tables = first.numpy(), second.numpy()
    uniform = (tables[0][[2, 6]] + tables[1][[4, 1]]) / 2
    np.testing.assert_allclose(layer(indices)[0, :2], uniform, rtol=1e-5)
    assert not layer(indices).numpy()[0, 2].any()
    weights.assign([0.0, math.log(3.0)])
    np.testing.assert_allclose(
        layer(indices)[0, :2], tables[0][[2, 6]] / 4 + 3 * tables[1][[4, 1]] / 4, rtol=1e-5
    )


def test_attention_to_buckets_is_that_of_the_users_vector():
    """Of one block by NumPy: the softmax of the products of the first place's query with all keys, the mean of heads."""
    tf.keras.utils.set_random_seed(1)
    layer = bucket_encoder.BucketEncoder(4, 8, 1, 2, 16, 0.1, tf.random.Generator.from_seed(1), True)
    seconds, present, _ = random_events(seed=4)
    values = np.random.default_rng(4).normal(size=[6, 12, 8]).astype(np.float32)
    found = assigned(seconds, present, DAY, 20)
    pooled = found.mean(tf.constant(values))
    since = tf.zeros([6])
    layer(pooled, found, since)
    project = layer._blocks[0]._attention._project
    project.kernel.assign(project.kernel * 4)
    hidden, _ = layer._placed(pooled, found, since)
    kernel, bias = project.kernel.numpy(), project.bias.numpy()
    qkv = (hidden.numpy() @ kernel + bias).reshape(6, -1, 3, 2, 4)
    logits = np.einsum("bhd,blhd->bhl", qkv[:, 0, 0], qkv[:, :, 1]) / 2
    there = np.pad(found.present.numpy(), [[0, 0], [1, 0]], constant_values=True)
    weights = np.where(there[:, None], np.exp(logits), 0)
    expected = (weights / weights.sum(axis=2, keepdims=True)).mean(axis=1)[:, 1:]
    np.testing.assert_allclose(layer.attention(pooled, found, since), expected, rtol=1e-4, atol=1e-6)
    assert not layer.attention(pooled, found, since).numpy()[~found.present.numpy()].any()
    # Of several blocks it is their mean; nothing tells places apart where all keys are alike.
    deep = encoder()
    deep(pooled, found, since)
    for block in deep._blocks:
        block._attention._project.kernel.assign(tf.zeros([8, 24]))
    number = there.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(deep.attention(pooled, found, since), there[:, 1:] / number, rtol=1e-5)
