"""Windows by length: which widths there are, and which windows are together in what order."""

import itertools

import numpy as np
import pytest

from schemas import names
from trainer import bucketing, grouping


def skewed(count=500, length=200, seed=0):
    """Lengths with a long tail."""
    drawn = np.random.default_rng(seed).lognormal(np.log(12), 1.0, count)
    return np.clip(drawn.astype(np.int64), 1, length)


def test_lengths_count_from_the_first_event():
    padding, item, unknown = names.PADDING_INDEX, names.FIRST_INDEX, names.OOV_INDEX
    index = [[padding, padding, item], [item, unknown, item], [padding] * 3, [padding, unknown, padding]]
    np.testing.assert_array_equal(bucketing.lengths(np.array(index)), [1, 3, 0, 2])


@pytest.mark.parametrize("buckets", [2, 3, 4])
def test_no_other_widths_have_fewer_places(buckets):
    """Against all sets of multiples of 8 up to the longest."""
    needed = skewed(length=75)
    needed[0] = 75
    found = bucketing.widths(needed, 75, buckets)
    assert len(found) == buckets and found[-1] == 75

    def places(choice):
        choice = np.array(choice)
        return choice[np.searchsorted(choice, needed)].sum()

    others = itertools.combinations(range(8, 75, 8), buckets - 1)
    assert places(found) == min(places([*chosen, 75]) for chosen in others)


@pytest.mark.parametrize(
    "needed, length, buckets, expected",
    [
        ([3, 9, 50], 50, 1, [50]),
        # As many as there are lengths, and no more.
        ([3, 9, 50], 50, 9, [8, 16, 50]),
        ([3, 9, 12], 50, 9, [8, 16]),
        ([50] * 95 + [3] * 4, 50, None, [50]),
        ([50] * 50 + [3] * 50, 50, None, [8, 50]),
        ([20] * 100, 50, None, [24]),
        ([0, 0], 50, None, [8]),
        ([4, 5, 6], 6, None, [6]),
        ([], 50, None, [50]),
    ],
)
def test_widths(needed, length, buckets, expected):
    assert bucketing.widths(np.array(needed, np.int64), length, buckets) == expected


def test_widths_that_are_worth_it():
    needed = skewed(5000)
    found = bucketing.widths(needed, 200)
    assert 3 <= len(found) <= 6 and found == sorted(set(found))
    places = np.array(found)[np.searchsorted(found, needed)].sum()
    assert needed.sum() < places < 0.15 * 200 * len(needed)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_every_window_is_once_in_an_epoch(batch_size):
    needed = skewed()
    choice = bucketing.widths(needed, 200)
    batches = bucketing.LengthBatches(needed, choice, batch_size)
    assert batches.batches == -(-len(needed) // batch_size)
    for epoch in range(3):
        rows, widths = batches.order(1, epoch)
        real = rows != grouping.NOTHING
        assert rows.shape == (batches.batches, batch_size) and widths.shape == (batches.batches,)
        assert sorted(rows[real]) == list(range(len(needed)))
        # Windows stand at the left, and only one batch is not full.
        assert (np.sort(~real, axis=1) == ~real).all() and (~real.all(axis=1)).sum() <= 1
        longest = np.where(real, needed[rows], 0).max(axis=1)
        # The least width that all its windows fit in.
        np.testing.assert_array_equal(widths, np.array(choice)[np.searchsorted(choice, longest)])


def test_seed_and_epoch_decide():
    needed = skewed()
    orders = [
        bucketing.LengthBatches(needed, [16, 200], 32).order(seed, epoch)
        for seed, epoch in ((1, 0), (1, 0), (1, 1), (2, 0))
    ]
    for one, two in zip(orders[0], orders[1]):
        np.testing.assert_array_equal(one, two)
    assert not any((orders[0][0] == other[0]).all() for other in orders[2:])


def test_windows_meet_and_batches_follow_one_another_by_chance():
    needed = np.repeat([5, 30, 100], 320)
    batches = bucketing.LengthBatches(needed, [8, 32, 104], 16)
    met, first, short = np.zeros(320), [], []
    for epoch in range(400):
        rows, widths = batches.order(3, epoch)
        narrow = rows[widths == 8]
        assert narrow.shape == (20, 16) and (narrow < 320).all()
        met[narrow[(narrow == 0).any(axis=1)]] += 1
        first.append(widths[0])
        short.append(np.flatnonzero(widths == 8).mean())
    # Window 0 is with each of the others in 15 of 319 epochs.
    assert met[0] == 400 and abs(met[1:].mean() - 400 * 15 / 319) < 1e-9
    assert met[1:].max() < 400 * 15 / 319 + 6 * np.sqrt(400 * 15 / 319)
    counts = np.unique(first, return_counts=True)[1]
    assert (abs(counts - 400 / 3) < 5 * np.sqrt(400 * 2 / 9)).all()
    assert abs(np.mean(short) - 29.5) < 1


def test_the_batch_that_is_not_full_may_be_any():
    batches = bucketing.LengthBatches(np.repeat([5, 100], 50), [8, 104], 16)
    sizes = [(rows != grouping.NOTHING).sum(axis=1) for rows, _ in (batches.order(1, e) for e in range(60))]
    of_width = {batches.order(1, epoch)[1][size.argmin()] for epoch, size in enumerate(sizes)}
    assert all(min(size) == 4 for size in sizes) and of_width == {8, 104}


def test_nothing_to_train_on():
    with pytest.raises(ValueError, match="no window to train on, found 0"):
        bucketing.LengthBatches(np.zeros([0], np.int64), [8], 4)
