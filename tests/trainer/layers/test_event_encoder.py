"""Encoders of events one by one: what the moment and the gaps tell, and that no event sees a later one."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import event_encoder
from trainer.models import ranking

DIM, LENGTH = 8, 6


def build(kind, blocks=2, rate=0.0):
    tf.keras.utils.set_random_seed(2)
    layer = event_encoder.EventEncoder(kind, LENGTH, DIM, blocks, 2, 16, rate, ranking.random_generator(1))
    layer(*inputs())
    # Initial vectors are so small that nothing would show.
    rng = np.random.default_rng(0)
    for variable in layer.variables:
        if variable.shape.rank:
            variable.assign_add(tf.constant(rng.normal(size=variable.shape) * 0.2, tf.float32))
    return layer


def inputs(rows=4, width=LENGTH, seed=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, width + 1, [rows, 1])
    lengths[0] = width
    present = np.arange(width) >= width - lengths
    seconds = np.sort(rng.uniform(10, 1e6, [rows, width]), axis=1)[:, ::-1]
    events = rng.normal(size=[rows, width, DIM])
    return (
        tf.constant(events, tf.float32),
        tf.constant(present),
        tf.constant(np.where(present, seconds, 0), tf.float32),
        tf.constant(seconds[:, -1], tf.float32),
    )


@pytest.mark.parametrize("kind", ["causal", "gru"])
def test_a_state_is_of_what_came_until_then(kind):
    layer, (events, present, seconds, since) = build(kind), inputs()
    expected = layer(events, present, seconds, since).numpy()
    assert expected.shape == (4, LENGTH + 1, DIM)
    # The states of padding mean nothing.
    real = np.concatenate([present.numpy(), np.ones([4, 1], bool)], axis=1)
    for place in range(LENGTH):
        changed = events.numpy()
        changed[:, place] += np.random.default_rng(place).normal(size=DIM)
        found = layer(tf.constant(changed), present, seconds, since).numpy()
        moved = np.where(real, np.abs(found - expected).max(axis=2), 0)
        assert (moved[:, :place] < 1e-5).all()
        there = present.numpy()[:, place]
        assert (moved[there][:, place:] > 1e-5).all()
        # Of padding no event and no moment says anything.
        assert (moved[~there] < 1e-5).all()


@pytest.mark.parametrize("kind", ["causal", "gru"])
def test_padding_may_be_cut_off_and_gaps_are_told(kind):
    layer, (events, present, seconds, since) = build(kind), inputs()
    expected = layer(events, present, seconds, since).numpy()
    short = [value[1:, -3:] for value in (events, present, seconds)]
    rows = present.numpy()[1:, :-3].sum(axis=1) == 0
    assert rows.any()
    found = layer(*short, since[1:]).numpy()
    np.testing.assert_allclose(found[rows][:, -1], expected[1:][rows][:, -1], rtol=1e-4, atol=1e-5)
    # A time that is twice as long ago is another row of the table, for the moment alone.
    later = layer(events, present, seconds, 4 * since).numpy()
    np.testing.assert_array_equal(later[:, :-1][present], expected[:, :-1][present])
    assert np.abs(later[:, -1] - expected[:, -1]).min(axis=1).max() > 0
    gaps = layer(events, present, 4 * seconds, since).numpy()
    assert np.abs(gaps[0, 1] - expected[0, 1]).max() > 1e-4
    # The first event has none before it, however much padding there is.
    np.testing.assert_allclose(gaps[0, 0], expected[0, 0], rtol=1e-5)


def test_what_a_block_reads_by_hand():
    layer, (events, present, seconds, since) = build("gru", blocks=1), inputs()
    seen = []
    gru = layer._layers[0]
    layer._layers[0] = lambda hidden, there, unroll: (
        seen.append((hidden, there)),
        gru(hidden, there, unroll),
    )[1]
    layer(events, present, seconds, since)
    ((hidden, there),) = seen
    gaps = np.zeros([4, LENGTH + 1])
    for row in range(4):
        for place in range(1, LENGTH):
            if present.numpy()[row, place - 1]:
                gaps[row, place] = seconds[row, place - 1] - seconds[row, place]
        gaps[row, -1] = since[row]
    table = layer._gaps.numpy()[np.floor(np.log2(np.maximum(gaps, 1))).astype(int)]
    vectors = np.concatenate([events.numpy(), np.tile(layer._moment.numpy(), [4, 1, 1])], axis=1)
    real = np.concatenate([present.numpy(), np.ones([4, 1], bool)], axis=1)
    np.testing.assert_array_equal(there, real)
    np.testing.assert_allclose(hidden.numpy()[real], (vectors + table)[real], rtol=1e-5, atol=1e-6)
