"""HSTU."""

import numpy as np
import pytest
import tensorflow as tf

from schemas import names
from tests.trainer.models import harness
from trainer import config
from trainer.layers import attention, hstu
from trainer.models import ranking

SMALL = {"name": "hstu", "dim": 8, "blocks": 2, "heads": 2, "dropout": 0.1}


@pytest.mark.parametrize("timed", [True, False])
def test_hstu(tmp_path, timed):
    harness.run_model_test({**SMALL, "time_bias": timed}, tmp_path, graphs=timed)


def test_two_replicas():
    harness.check_replicas({**SMALL, "blocks": 1})


def _silu(values):
    return values / (1 + np.exp(-values))


def _normed(values):
    return (values - values.mean(-1, keepdims=True)) / np.sqrt(values.var(-1, keepdims=True) + 1e-6)


def test_a_block_by_numpy():
    """Equations (1) to (3), place by place, with a history that the layer has the last four of six places of."""
    dim, heads, longest = 6, 2, 6
    tf.keras.utils.set_random_seed(3)
    layer = hstu.HSTUBlock(dim, heads, 0.0, ranking.random_generator(1), longest, timed=True)
    rng = np.random.default_rng(0)
    given = rng.normal(size=(2, 4, dim))
    present = np.array([[False, True, True, True], [True] * 4])
    times = np.array([[0, 100, 100, 5000], [7, 8, 90_000_000, 90_000_003]])
    gaps = np.log1p(np.diff(times, axis=1, prepend=times[:, :1]))
    arguments = (
        tf.constant(given, tf.float32),
        attention.causal(tf.constant(present)),
        hstu.time_buckets(hstu.seconds_apart(tf.constant(gaps, tf.float32))),
    )
    layer(*arguments)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    places, of_times = (variable.numpy() for variable in layer._bias.trainable_variables)
    parts = np.split(_silu(_normed(given) @ layer._project.kernel.numpy()), 4, axis=-1)
    gate, value, query, key = parts
    mixed = np.zeros([2, 4, dim])
    for row in range(2):
        for at in range(4):
            for head in range(heads):
                own = slice(3 * head, 3 * head + 3)
                for seen in range(at + 1):
                    if present[row, seen]:
                        apart = times[row, at] - times[row, seen]
                        bucket = int(np.log(max(1, apart)) / 0.301)
                        logit = (
                            query[row, at, own] @ key[row, seen, own] + places[at - seen] + of_times[bucket]
                        )
                        mixed[row, at, own] += _silu(logit) / longest * value[row, seen, own]
    output = layer._output
    expected = given + (_normed(mixed) * gate) @ output.kernel.numpy() + output.bias.numpy()
    np.testing.assert_allclose(layer(*arguments).numpy()[present], expected[present], rtol=1e-3, atol=1e-3)


def test_seconds_are_not_lost_beside_years():
    times = np.array([0, 400_000_000, 400_000_003, 400_000_003])
    gaps = np.log1p(np.diff(times, prepend=times[:1]))[np.newaxis]
    apart = hstu.seconds_apart(tf.constant(gaps, tf.float32)).numpy()[0]
    # A gap of 13 years is off by as much as a float32 of its logarithm is.
    np.testing.assert_allclose(apart[1, 0], 400_000_000, rtol=1e-5)
    assert apart[2, 1] == apart[3, 1] == 3 and apart[3, 2] == 0
    assert not np.triu(apart).any()


@pytest.mark.parametrize(
    "years", [(0, 1970, 1970.5, 2020), (1900, 1960, 2010, 2015)], ids=["one gap", "several"]
)
def test_times_further_apart_than_32_bits_hold_are_the_furthest(years):
    times = np.array(years) * 31_556_952.0
    gaps = np.log1p(np.diff(times, prepend=times[:1]))[np.newaxis]
    apart = hstu.seconds_apart(tf.constant(gaps, tf.float32))
    expected = np.minimum(np.tril(times[:, np.newaxis] - times), 2**31 - 1)
    np.testing.assert_allclose(apart[0], expected, rtol=1e-5)
    assert hstu.time_buckets(apart).numpy()[0, 3, 0] == 71


def test_the_time_between_events_matters_only_with_a_bias_of_it():
    features = harness.batch(5)
    later = {**features, names.HISTORY_LOG_GAP: 2.0 * features[names.HISTORY_LOG_GAP]}
    for timed in (True, False):
        model = harness.build({**SMALL, "time_bias": timed})
        same = np.allclose(model.encode(features), model.encode(later), atol=1e-6)
        assert same == (not timed)


def test_mixed_precision_rounds_no_times(monkeypatch):
    """Also where the model is called, as TP does for its adversary and its probe."""
    found, buckets = [], hstu.time_buckets

    def remembered(apart):
        found.append(buckets(apart).numpy())
        return buckets(apart)

    monkeypatch.setattr(hstu, "time_buckets", remembered)
    gaps = np.random.default_rng(0).uniform(0, 20, [64, harness.LENGTH])
    features = {**harness.batch(5, 64), names.HISTORY_LOG_GAP: tf.constant(gaps, tf.float32)}
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = harness.build(SMALL)
        called, encoded = model(features), model.encode(features)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert called.dtype == encoded.dtype == tf.bfloat16
    np.testing.assert_array_equal(found[-2], found[-1])


def test_widths_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match=r"multiple of heads \(3\), found 8"):
        config.TrainerSettings.from_values({"model": {**SMALL, "heads": 3}})
