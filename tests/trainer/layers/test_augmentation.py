"""Views of histories: what is drawn how often, and what never happens."""

import numpy as np
import pytest
import tensorflow as tf

from trainer.layers import augmentation
from trainer.models import ranking

ROWS, WIDTH = 20_000, 7


def lengths_of(present):
    return present.sum(1)


@pytest.fixture(scope="module")
def drawn():
    """Histories of 0 to 7 events, and their views."""
    lengths = np.random.default_rng(0).integers(0, WIDTH + 1, [ROWS, 1])
    present = np.arange(WIDTH) >= WIDTH - lengths
    view = augmentation.draw(tf.constant(present), ranking.random_generator(1))
    return present, view.places.numpy(), view.masked.numpy()


def test_nothing_leaves_its_history_and_padding_stays(drawn):
    present, places, masked = drawn
    np.testing.assert_array_equal(np.sort(places, axis=1), np.tile(np.arange(WIDTH), [ROWS, 1]))
    np.testing.assert_array_equal(places[~present], np.tile(np.arange(WIDTH), [ROWS, 1])[~present])
    np.testing.assert_array_equal(np.take_along_axis(present, places, 1), present)
    assert not (masked & ~present).any()
    moved = (places != np.arange(WIDTH)).any(1)
    # One or the other, and never all of a history.
    assert not (moved & masked.any(1)).any()
    assert (masked.sum(1) < np.maximum(lengths_of(present), 1)).all()
    alone = lengths_of(present) <= 1
    assert alone.any() and not (moved | masked.any(1))[alone].any()


def test_a_half_is_masked_by_a_share_that_is_beta(drawn):
    present, _, masked = drawn
    long = lengths_of(present) == WIDTH
    number = masked[long].sum(1)
    # The distribution of Beta(3, 3) is 10 x^3 - 15 x^4 + 6 x^5; rounded down, 7 shares.
    steps = np.arange(WIDTH + 1) / WIDTH
    below = 10 * steps**3 - 15 * steps**4 + 6 * steps**5
    expected = np.diff(below) / 2
    expected[0] += 0.5
    found = np.bincount(number, minlength=WIDTH) / long.sum()
    np.testing.assert_allclose(found, expected, atol=4 * np.sqrt(0.25 / long.sum()))
    # Each event as often as any other.
    each = masked[long].mean(0)
    np.testing.assert_allclose(each, each.mean(), atol=4 * np.sqrt(0.25 / long.sum()))


def test_neighbours_are_shuffled_of_any_size_and_anywhere(drawn):
    """The chances that no event moves and that only one pair does, by counting all that can be drawn."""
    present, places, _ = drawn
    for number in (2, 3, 4):
        rows = lengths_of(present) == number
        order = places[rows][:, WIDTH - number :] - (WIDTH - number)
        expected = dict.fromkeys(_orders(range(number)), 0.0)
        expected[tuple(range(number))] += 0.5
        for size in range(2, number + 1):
            starts = number - size + 1
            for start in range(starts):
                shuffles = _orders(range(start, start + size))
                for shuffle in shuffles:
                    whole = (*range(start), *shuffle, *range(start + size, number))
                    expected[whole] += 0.5 / (number - 1) / starts / len(shuffles)
        found = dict.fromkeys(expected, 0.0)
        for row in order:
            found[tuple(row.tolist())] += 1 / len(order)
        assert sum(expected.values()) == pytest.approx(1)
        for one, chance in expected.items():
            assert found[one] == pytest.approx(chance, abs=4 * np.sqrt(0.25 / len(order))), one


def _orders(values):
    values = list(values)
    if len(values) <= 1:
        return [tuple(values)]
    return [(one, *rest) for n, one in enumerate(values) for rest in _orders(values[:n] + values[n + 1 :])]


def test_values_are_seen_in_the_order_of_the_view():
    view = augmentation.View(tf.constant([[0, 2, 1], [2, 0, 1]]), tf.zeros([2, 3], tf.bool))
    assert view.of(tf.constant([[5, 6, 7], [8, 9, 10]])).numpy().tolist() == [[5, 7, 6], [10, 8, 9]]
    assert view.of(tf.reshape(tf.range(6), [2, 3, 1])).shape == (2, 3, 1)


def test_draws_come_from_the_generator_and_compile():
    present, generator = tf.ones([50, WIDTH], tf.bool), ranking.random_generator(3)
    state = generator.state.numpy()
    first = augmentation.draw(present, generator)
    second = augmentation.draw(present, generator)
    assert not np.array_equal(first.places, second.places) and not np.array_equal(first.masked, second.masked)
    generator.state.assign(state)
    for one, two in zip(augmentation.draw(present, generator), first):
        np.testing.assert_array_equal(one, two)
    # What XLA draws is its own.
    compiled = tf.function(augmentation.draw, jit_compile=True, autograph=False)
    places, masked = (value.numpy() for value in compiled(present, generator))
    np.testing.assert_array_equal(np.sort(places, axis=1), np.tile(np.arange(WIDTH), [50, 1]))
    moved = (places != np.arange(WIDTH)).any(1)
    assert moved.any() and masked.any() and not (moved & masked.any(1)).any()
