"""Metrics of probabilities against exact NumPy, pair by pair and threshold by threshold."""

import numpy as np
import pytest
from scipy import stats

from components.evaluator import conversion

ONE = np.ones((1, 1))


def pairwise_auc(scores, labels):
    """Over all pairs of a positive and a negative; a tie is half a win."""
    difference = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return np.mean((difference > 0) + 0.5 * (difference == 0))


def threshold_average_precision(scores, labels):
    """A threshold at each score that occurs, highest first."""
    result, found = 0.0, 0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        now = labels[taken].sum()
        result += (now - found) / labels.sum() * labels[taken].mean()
        found = now
    return result


def binary_entropy(rate):
    return -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))


def counted(scores, labels, units=None, cells=None):
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    return conversion.count(
        units=np.zeros(len(labels), np.int64) if units is None else units,
        cells=np.unique(scores, return_inverse=True)[1] if cells is None else cells,
        labels=labels,
        predicted=scores,
        loss=conversion.log_losses(scores, labels),
    )


def measured(scores, labels):
    return {
        name: value[0] for name, value in conversion.measure(counted(scores, labels), ONE).metrics.items()
    }


@pytest.fixture
def scored():
    """300 scores on a grid, so that a tenth of the pairs tie, and labels that go with them."""
    rng = np.random.default_rng(0)
    scores = np.round(rng.beta(2, 5, 300), 1).clip(0.05, 0.95)
    return scores, (rng.random(300) < scores).astype(np.int64)


def test_values_equal_exact_ones(scored):
    scores, labels = scored
    found = measured(scores, labels)
    assert found["auc"] == pytest.approx(pairwise_auc(scores, labels))
    assert found["auc_pr"] == pytest.approx(threshold_average_precision(scores, labels))
    # Its statistic of this side is the largest of F_negative - F_positive.
    theirs = stats.ks_2samp(scores[labels == 1], scores[labels == 0], alternative="less")
    assert found["ks"] == pytest.approx(theirs.statistic)
    loss = -np.mean(np.where(labels, np.log(scores), np.log(1 - scores)))
    assert found["log_loss"] == pytest.approx(loss)
    assert found["positive_rate"] == pytest.approx(labels.mean())
    assert found["calibration"] == pytest.approx(scores.mean() / labels.mean())
    assert found["lift"] == pytest.approx(binary_entropy(labels.mean()) - loss)
    assert set(found) == set(conversion.METRICS)


def test_by_hand():
    """Scores .8 (1), .6 (0), .6 (1), .2 (0): 3.5 of 4 pairs; precision 1 at half of the recall, 2/3 at all."""
    found = measured([0.8, 0.6, 0.6, 0.2], [1, 0, 1, 0])
    assert found["auc"] == pytest.approx(3.5 / 4)
    assert found["auc_pr"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    # From .8 on: TPR 1/2, FPR 0; from .6: 1 and 1/2; from .2: 1 and 1.
    assert found["ks"] == pytest.approx(0.5)
    assert measured([0.1, 0.2], [0, 1])["auc"] == 1 and measured([0.1, 0.2], [1, 0])["auc"] == 0
    constant = measured([0.25] * 4, [1, 0, 0, 0])
    assert (constant["auc"], constant["auc_pr"], constant["ks"]) == (0.5, 0.25, 0.0)
    assert constant["ece"] == 0 and constant["calibration"] == 1 and constant["lift"] == pytest.approx(0)


def test_kolmogorov_smirnov_is_of_resamples_and_has_a_side(scored):
    """Users that weigh twice are there twice; scores that are turned around tell nothing apart, or less than nothing."""
    scores, labels = scored
    rng = np.random.default_rng(1)
    units = rng.integers(0, 40, len(scores))
    weights = rng.integers(0, 3, (5, 40))
    found = conversion.measure(counted(scores, labels, units), weights).metrics["ks"]
    for row, value in zip(weights, found):
        s, y = np.repeat(scores, row[units]), np.repeat(labels, row[units])
        assert value == pytest.approx(stats.ks_2samp(s[y == 1], s[y == 0], alternative="less").statistic)
    assert measured([0.9, 0.1, 0.2], [1, 0, 0])["ks"] == 1 and measured([0.1, 0.9], [1, 0])["ks"] == 0
    turned = measured(1 - scores, labels)["ks"]
    assert turned == pytest.approx(
        stats.ks_2samp(1 - scores[labels == 1], 1 - scores[labels == 0], alternative="less").statistic
    )
    assert turned < 0.1 < measured(scores, labels)["ks"]


def test_calibration_error_by_hand():
    """20 scores with 5 examples each are the 20 bins; one of them is off by 0.2, another by 0.4."""
    scores = np.repeat(np.arange(20) / 20, 5)
    labels = np.zeros(100, np.int64)
    expected = scores.mean()  # without positives each bin is off by its score
    assert measured(scores, labels)["ece"] == pytest.approx(expected)
    labels[(scores == 0.4).nonzero()[0][:3]] = 1  # a share of 0.6
    assert measured(scores, labels)["ece"] == pytest.approx(expected - 0.4 / 20 + 0.2 / 20)


def test_bins_have_equal_mass_and_keep_ties_together():
    bins = conversion.calibration_bins(np.full(1000, 3))
    assert np.bincount(bins).tolist() == [50] * 20
    # A cell with most of the mass is in one bin, whatever it is.
    assert conversion.calibration_bins(np.array([10, 80, 10]), bins=10).tolist() == [0, 5, 9]
    assert conversion.calibration_bins(np.array([7])).tolist() == [10]


def test_single_class_and_nothing():
    for labels in ([0, 0, 0], [1, 1, 1]):
        found = measured([0.1, 0.5, 0.9], labels)
        assert all(np.isnan(found[name]) for name in ("auc", "auc_pr", "ks", "lift"))
        assert np.isfinite(found["log_loss"]) and np.isfinite(found["ece"])
    nothing = measured(np.zeros(0), np.zeros(0, np.int64))
    assert all(np.isnan(value) for value in nothing.values())


def test_certain_predictions_have_a_finite_loss():
    assert conversion.log_losses(np.array([0.0, 1.0]), np.array([1, 0])) == pytest.approx(
        -np.log(1e-7), rel=1e-6
    )
    assert conversion.log_losses(np.array([0.0, 1.0]), np.array([0, 1])) == pytest.approx(0, abs=2e-7)


def test_weights_are_repetitions(scored):
    """A unit taken three times counts as three copies of it."""
    scores, labels = scored
    units = np.arange(300) % 7
    weights = np.random.default_rng(1).integers(0, 4, (5, 7))
    found = conversion.measure(counted(scores, labels, units), weights.astype(np.float64))
    for index, row in enumerate(weights):
        times = row[units]
        expected = measured(np.repeat(scores, times), np.repeat(labels, times))
        for name in ("auc", "auc_pr", "log_loss", "calibration", "positive_rate", "lift"):
            assert found.metrics[name][index] == pytest.approx(expected[name]), name


def test_rows_may_stand_for_several_examples(scored):
    scores, labels = scored
    unique, inverse = np.unique(np.stack([scores, labels]), axis=1, return_inverse=True)
    inverse = inverse.reshape(-1)
    times = np.bincount(inverse).astype(np.float64)
    merged = conversion.count(
        units=np.zeros(len(times), np.int64),
        cells=np.unique(unique[0], return_inverse=True)[1],
        labels=unique[1],
        predicted=unique[0] * times,
        loss=conversion.log_losses(unique[0], unique[1]) * times,
        examples=times,
    )
    expected = measured(scores, labels)
    for name, value in conversion.measure(merged, ONE).metrics.items():
        assert value[0] == pytest.approx(expected[name]), name


def test_chain():
    chains = np.array([[0.5, 0.4, 0.1], [0.5, 0.1, 0.2], [0.5, 0.5, 0.5], [0.3, 0.2, 0.4], [0.1, 0.2, 0.0]])
    assert conversion.chain_violated(chains).tolist() == [False, True, False, True, True]
    rounded = np.float32(0.1) * np.array([[1, 1 + 1e-7]], np.float32)
    assert not conversion.chain_violated(rounded).any()
    assert not conversion.chain_violated(chains[:, :1]).any()


def test_relative_improvement_of_the_papers_table():
    """BPCM, table 2: AITM's purchase AUC 0.6506 over the MLP's 0.5841 is +0.7907."""
    assert conversion.relative_improvement(0.6506, 0.5841) == pytest.approx(0.7907, abs=1e-4)
    found = conversion.relative_improvement(np.array([0.7, 0.7]), np.array([0.5, 0.4]))
    assert np.isnan(found).all()
