"""Mini-batches of users: whose windows are together, and in what order."""

import numpy as np
import pytest

from schemas import errors
from trainer import grouping


def users(seed=0, count=400, of=60):
    """Windows of users with few and with many of them, in no order; the frequent ones are the head."""
    rng = np.random.default_rng(seed)
    user = (of * rng.random(count) ** 2).astype(np.int64) * 7_919 + 2**61
    counts = {one: (user == one).sum() for one in set(user)}
    return user, np.array([counts[one] > 10 for one in user], np.int64)


@pytest.mark.parametrize("per_user,together", [(1, 1), (4, 1), (8, 5), (3, 1000)])
def test_every_window_is_once_in_an_epoch(per_user, together):
    user, head = users()
    batches = grouping.UserBatches(user, head, per_user, together)
    for epoch in range(3):
        order = batches.order(1, epoch)
        assert order.shape == (batches.batches, per_user * together)
        assert sorted(order[order != grouping.NOTHING]) == list(range(len(user)))
        real = order != grouping.NOTHING
        assert real.any(axis=1).all()
        # Windows stand at the left.
        assert (np.sort(~real, axis=1) == ~real).all()


def test_a_mini_batch_is_one_users_and_a_user_has_as_few_as_can_be():
    user, head = users()
    order = grouping.UserBatches(user, head, 4, 1).order(1, 0)
    owners = [set(user[row[row != grouping.NOTHING]]) for row in order]
    assert all(len(owner) == 1 for owner in owners)
    for one in set(user):
        assert owners.count({one}) == -(-(user == one).sum() // 4)


def test_parts_of_one_user_may_meet_in_a_mini_batch():
    user = np.repeat(np.arange(6), 40)
    order = grouping.UserBatches(user, 0 * user, 8, 4).order(1, 0)
    of_one = [np.bincount(user[row[row != grouping.NOTHING]]).max() for row in order]
    assert 8 < max(of_one) <= 32 and not set(of_one) - {8, 16, 24, 32}


def test_a_mini_batch_of_several_users_is_of_one_class():
    user, head = users()
    together = 5
    order = grouping.UserBatches(user, head, 4, together, "apart").order(1, 0)
    parts = {1: 0, 0: 0}
    for one in set(user):
        parts[head[user == one][0]] += -(-(user == one).sum() // 4)
    classes = [set(head[row[row != grouping.NOTHING]]) for row in order]
    assert all(len(found) == 1 for found in classes)
    for kind, number in parts.items():
        assert classes.count({kind}) == -(-number // together)
    # They are mixed with each other in time: a run of one class is what chance makes of it.
    changes = sum(one != two for one, two in zip(classes, classes[1:]))
    assert changes > len(classes) / 8


def test_classes_are_mixed_or_follow_each_other_in_turns():
    user, head = users()

    def classes(order):
        return [set(head[row[row != grouping.NOTHING]]) for row in order]

    mixed = grouping.UserBatches(user, head, 4, 5)
    assert sum(len(found) == 2 for found in classes(mixed.order(1, 0))) > mixed.batches / 2
    paired = grouping.UserBatches(user, head, 4, 5, "paired")
    order = paired.order(1, 0)
    assert len(order) == paired.batches
    found = classes(order)
    pairs = list(zip(found[::2], found[1::2]))
    assert all(sorted(map(tuple, pair)) == [(0,), (1,)] for pair in pairs)
    # Which comes first is left to chance.
    assert 0 < sum(one == {1} for one, _ in pairs) < len(pairs)
    # Every window is there, those of the class with fewer mini-batches oftener, by at most one.
    times = np.bincount(order[order != grouping.NOTHING], minlength=len(user))
    apart = grouping.UserBatches(user, head, 4, 5, "apart")
    more, fewer = sorted((sum(f == {c} for f in classes(apart.order(1, 0))) for c in (0, 1)), reverse=True)
    assert times.min() == 1 and times.max() <= -(-more // fewer)
    for one, word in ((0, "tail"), (1, "head")):
        with pytest.raises(
            errors.InputError, match=f"loop.classes: paired .* found those of {word} users alone"
        ):
            grouping.UserBatches(user, 0 * head + one, 4, 5, "paired")


@pytest.mark.parametrize("classes", ["mixed", "apart", "paired"])
def test_the_average_is_that_of_an_epochs_mini_batches(classes):
    """Of pairs, too, where the windows of one class come again."""
    user, head = users()
    batches = grouping.UserBatches(user, head, 4, 5, classes)
    values = np.random.default_rng(1).random(len(user)) + 9.0 * head
    sums = []
    for epoch in range(40):
        order = batches.order(1, epoch)
        sums.append(np.where(order == grouping.NOTHING, 0.0, values[order]).sum(axis=1).mean())
    assert batches.average(values) == pytest.approx(np.mean(sums), rel=0.02)
    assert batches.average(np.ones(len(user), bool)) <= batches.capacity


def test_seed_and_epoch_alone_decide_the_order():
    user, head = users()
    order = grouping.UserBatches(user, head, 4, 2).order(3, 2)
    np.testing.assert_array_equal(grouping.UserBatches(user, head, 4, 2).order(3, 2), order)
    for seed, epoch in ((3, 3), (2, 3), (2, 2)):
        assert (grouping.UserBatches(user, head, 4, 2).order(seed, epoch) != order).any()


def test_users_meet_in_all_places():
    """No user is first more often than others: eq. (8) weighs the order."""
    user, head = np.arange(6), np.zeros(6)
    batches = grouping.UserBatches(user, head, 1, 1)
    first = [batches.order(0, epoch)[0, 0] for epoch in range(600)]
    # Of 600 draws of 6 with a standard deviation of 9.1.
    assert np.abs(np.bincount(first, minlength=6) - 100).max() < 40


def test_no_windows():
    with pytest.raises(ValueError, match="no window"):
        grouping.UserBatches(np.zeros(0, np.int64), np.zeros(0), 1, 1)
