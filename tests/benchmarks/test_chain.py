"""The log of `benchmarks.chain` has the chances that it says."""

import numpy as np

from benchmarks import chain


def test_labels_have_their_chances() -> None:
    log, chances = chain.draw(50_000, seed=3)
    labels = log[list(chain.STEPS)].to_numpy()
    np.testing.assert_allclose(chances.mean(axis=0), chain.RATES, rtol=1e-6)
    # The number of positives has the variance of independent draws; five deviations are allowed.
    deviation = np.sqrt((chances * (1 - chances)).sum(axis=0))
    assert (np.abs(labels.sum(axis=0) - chances.sum(axis=0)) < 5 * deviation).all()
    # So it is among the likely ones and among the others.
    for number in range(len(chain.STEPS)):
        likely = chances[:, number] > np.quantile(chances[:, number], 0.9)
        expected = chances[likely, number]
        found = labels[likely, number].sum()
        assert abs(found - expected.sum()) < 5 * np.sqrt((expected * (1 - expected)).sum())


def test_no_step_without_the_one_before() -> None:
    log, chances = chain.draw(20_000, seed=4)
    labels = log[list(chain.STEPS)].to_numpy()
    assert (labels[:, 1:] <= labels[:, :-1]).all()
    assert (chances[:, 1:] <= chances[:, :-1]).all()


def test_equal_seeds_give_equal_logs() -> None:
    first, second = chain.draw(1_000, seed=5)[0], chain.draw(1_000, seed=5)[0]
    assert first.equals(second)
    assert not first.equals(chain.draw(1_000, seed=6)[0])


def test_other_rates() -> None:
    rates = (0.04, 0.004, 0.0002)
    _, chances = chain.draw(20_000, seed=3, rates=rates)
    np.testing.assert_allclose(chances.mean(axis=0), rates, rtol=1e-6)


def test_steps_correlate_as_asked_for_whatever_is_drawn() -> None:
    for correlation in (0.0, 0.5, 0.9):
        shape = chain.Shape(300, 100, (1.0, 1.0, 1.0), correlation)
        for seed in (3, 4):
            _, chances = chain.draw(50_000, seed, shape=shape)
            np.testing.assert_allclose(chances.mean(axis=0), chain.RATES, rtol=1e-6)
            given = chances / np.column_stack([np.ones(len(chances)), chances[:, :-1]])
            logits = np.log(given) - np.log1p(-given)
            wanted = np.full([3, 3], correlation) + (1 - correlation) * np.eye(3)
            np.testing.assert_allclose(np.corrcoef(logits.T), wanted, atol=1e-6)
            np.testing.assert_allclose(logits.std(axis=0), 1.0, rtol=1e-6)
