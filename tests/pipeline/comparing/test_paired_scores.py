"""Paired differences of probabilities: against exact values, a brute-force bootstrap, and by simulation."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from components.evaluator import conversion
from pipeline.comparing import paired_scores
from tests.components.evaluator import test_conversion as exact

STEPS = ("cart", "buy")


def chains(count, seed=0, users=40, noise_a=1.5, noise_b=0.5):
    """Labels `[N, 2]`, users `[N]` and both sides' probabilities `[1, N, 2]`; some labels are unknown."""
    rng = np.random.default_rng(seed)
    user = np.unique(rng.integers(0, users, count), return_inverse=True)[1]
    logit = -1 + rng.normal(0, 1, count) + rng.normal(0, 0.7, users)[user]
    labels = np.zeros((count, 2), np.int64)
    labels[:, 0] = rng.random(count) < 1 / (1 + np.exp(-logit))
    labels[:, 1] = labels[:, 0] * (rng.random(count) < 0.5)
    labels[rng.random(count) < 0.1, 1] = -1
    sides = []
    for noise in (noise_a, noise_b):
        score = 1 / (1 + np.exp(-(logit + noise * rng.normal(0, 1, count))))
        sides.append(np.stack([score, 0.5 * score], axis=1)[None])
    return labels, user, sides[0], sides[1]


def test_values_are_exact():
    labels, users, a, b = chains(400)
    found = paired_scores.compare(a, b, labels, users, STEPS, resamples=50)
    for t, step in enumerate(STEPS):
        known = labels[:, t] >= 0
        sides = [exact.measured(side[0, known, t], labels[known, t]) for side in (a, b)]
        areas = [exact.pairwise_auc(side[0, known, t], labels[known, t]) for side in (a, b)]
        for metric in ("auc", "auc_pr", "ks", "log_loss", "ece"):
            one = found[f"{metric}/{step}"]
            assert (one.a[0], one.b[0]) == pytest.approx([side[metric] for side in sides], abs=1e-9), metric
            assert one.difference == pytest.approx(one.b[0] - one.a[0])
        assert found[f"auc/{step}"].b[0] == pytest.approx(areas[1])
        improved = found[f"relaimpr/{step}"]
        assert improved.difference == pytest.approx((areas[1] - 0.5) / (areas[0] - 0.5) - 1)
        assert len(improved.a) == 0 and improved.p == found[f"auc/{step}"].p
        assert improved.low < improved.difference < improved.high
    assert found["auc"].difference == pytest.approx(np.mean([found[f"auc/{s}"].difference for s in STEPS]))
    assert found["chain_violations"].difference == 0


def test_groups_of_steps_have_means_of_their_own():
    labels, users, a, b = chains(200)
    found = paired_scores.compare(
        a, b, labels, users, STEPS, resamples=20, groups={"both": STEPS, "late": ["buy"]}
    )
    for metric in ("auc", "log_loss", "ks"):
        for group, like in (("both", metric), ("late", f"{metric}/buy")):
            one, other = found[f"{metric}/{group}"], found[like]
            assert dataclasses.astuple(one)[2:] == dataclasses.astuple(other)[2:], (metric, group)
            assert one.a.tolist() == other.a.tolist() and one.b.tolist() == other.b.tolist()
    assert "chain_violations/both" not in found and "relaimpr/both" not in found


@pytest.mark.parametrize("value", [1, 0])
def test_a_label_of_few_users_has_no_interval(value):
    """All resamples that have the one positive agree, so that a bootstrap is sure of what it cannot know."""
    labels, users, a, b = chains(400)
    rare = labels[:, 1].copy()
    few = np.unique(users)[: conversion.MIN_USERS]
    rare[:] = 1 - value
    rare[[np.flatnonzero(users == user)[0] for user in few]] = value
    labels[:, 1] = rare
    enough = paired_scores.compare(a, b, labels, users, STEPS, resamples=50)
    assert paired_scores.scarce(labels, users, STEPS) == () and np.isfinite(enough["auc/buy"].low)
    # One has most of them: (20 + 9)^2 / (20^2 + 9) = 2.1.
    heavy = np.append(users, np.full(19, few[0])), np.concatenate([labels, np.full((19, 2), value)])
    assert paired_scores.scarce(heavy[1], heavy[0], STEPS) == ("buy",)
    # Two of them are one user's.
    labels[users == few[0], 1] = 1 - value
    labels[np.flatnonzero(users == few[1])[:2], 1] = value
    assert paired_scores.scarce(labels, users, STEPS) == ("buy",)
    groups = {"early": ["cart"], "all": STEPS}
    found = paired_scores.compare(a, b, labels, users, STEPS, resamples=50, groups=groups)
    for metric in ("auc", "auc_pr", "ks"):
        for part in ("", "/buy", "/all"):
            one = found[metric + part] if metric + part in found else found[f"{metric}/buy"]
            assert np.isfinite(one.difference) and np.isnan([one.low, one.high, one.p]).all(), metric + part
        for part in ("/cart", "/early"):
            if metric + part in found:
                assert np.isfinite(found[metric + part].low), metric + part
    assert np.isnan(found["relaimpr/buy"].low)
    assert np.isfinite(found["relaimpr/cart"].low)
    assert all(np.isfinite(found[f"{metric}/buy"].low) for metric in ("log_loss", "ece"))


def test_labels_that_are_no_chain():
    labels, users, a, b = chains(200)
    a = a[..., ::-1]
    of_chain = paired_scores.compare(a, b, labels, users, STEPS, resamples=20)
    found = paired_scores.compare(a, b, labels, users, STEPS, resamples=20, chain=False)
    assert of_chain.pop("chain_violations").a == [1.0]
    assert list(found) == list(of_chain)
    assert all(found[name].difference == one.difference for name, one in of_chain.items())


def test_interval_is_that_of_a_brute_force_bootstrap():
    """Users drawn one by one, their exposures repeated, every pair looked at."""
    labels, users, a, b = chains(250, users=30)
    found = paired_scores.compare(a, b, labels, users, STEPS)
    rng = np.random.default_rng(5)
    of_user = [np.flatnonzero(users == user) for user in range(users.max() + 1)]
    differences = {"auc/cart": [], "auc_pr/buy": [], "log_loss/buy": [], "ece/cart": [], "relaimpr/cart": []}
    for _ in range(600):
        drawn = np.concatenate([of_user[u] for u in rng.integers(0, len(of_user), len(of_user))])
        for name, values in differences.items():
            metric, step = name.split("/")
            t = STEPS.index(step)
            rows = drawn[labels[drawn, t] >= 0]
            sides = [
                exact.measured(side[0, rows, t], labels[rows, t])["auc" if metric == "relaimpr" else metric]
                for side in (a, b)
            ]
            values.append(
                (sides[1] - 0.5) / (sides[0] - 0.5) - 1 if metric == "relaimpr" else sides[1] - sides[0]
            )
    for name, values in differences.items():
        low, high = np.quantile(values, [0.025, 0.975])
        one = found[name]
        # Calibration bins are drawn anew for each brute-force sample.
        slack = (0.35 if name.startswith("ece") else 0.15) * (high - low)
        assert one.low == pytest.approx(low, abs=slack) and one.high == pytest.approx(high, abs=slack), name


def test_unknown_labels_have_no_influence():
    labels, users, a, b = chains(200)
    other = b.copy()
    unknown = labels[:, 1] < 0
    other[0, unknown, 1] *= 0.3
    first = paired_scores.compare(a, b, labels, users, STEPS, resamples=100)
    second = paired_scores.compare(a, other, labels, users, STEPS, resamples=100)
    assert unknown.any()
    for name, one in first.items():
        assert (one.low, one.high, one.difference) == (
            second[name].low,
            second[name].high,
            second[name].difference,
        )


def test_a_step_with_one_class_has_no_value():
    labels, users, a, b = chains(100)
    labels[:, 1] = np.minimum(labels[:, 1], 0)
    found = paired_scores.compare(a, b, labels, users, STEPS, resamples=100)
    for name in ("auc/buy", "auc_pr/buy", "auc", "relaimpr/buy"):
        assert np.isnan([found[name].difference, found[name].low, found[name].p]).all(), name
    assert found["auc/cart"].low < found["auc/cart"].high and np.isfinite(found["log_loss/buy"].difference)


def test_sides_are_means_of_their_runs():
    labels, users, a, b = chains(150)
    found = paired_scores.compare(np.concatenate([a, b]), b, labels, users, STEPS, resamples=200)
    alone = paired_scores.compare(a, b, labels, users, STEPS, resamples=200)
    for name in ("auc/buy", "log_loss", "ece/cart"):
        assert found[name].a.shape == (2,) and found[name].b.shape == (1,)
        assert found[name].difference == pytest.approx(alone[name].difference / 2)
        assert found[name].low == pytest.approx(alone[name].low / 2)


def test_a_model_against_itself_and_mirrored():
    labels, users, a, b = chains(150)
    same = paired_scores.compare(a, a, labels, users, STEPS, resamples=100)
    assert all(one.difference == one.low == one.high == 0 and one.p == 1 for one in same.values())
    forth = paired_scores.compare(a, b, labels, users, STEPS, resamples=100)
    back = paired_scores.compare(b, a, labels, users, STEPS, resamples=100)
    for name in ("auc", "log_loss/buy", "ece/cart"):
        assert (forth[name].low, forth[name].high) == pytest.approx((-back[name].high, -back[name].low))
        assert forth[name].p == back[name].p


def test_p_is_uniform_when_the_models_are_equal_and_small_when_not():
    equal, different = [], []
    for seed in range(120):
        labels, users, a, b = chains(240, seed, users=60, noise_a=1.0, noise_b=1.0)
        equal.append(paired_scores.compare(a, b, labels, users, STEPS, resamples=300)["auc/cart"].p)
    for seed in range(20):
        labels, users, a, b = chains(400, seed, users=60, noise_a=3.0, noise_b=0.0)
        different.append(paired_scores.compare(a, b, labels, users, STEPS, resamples=300)["auc/cart"].p)
    assert scipy.stats.kstest(equal, "uniform").pvalue > 0.01
    assert np.mean(np.array(equal) < 0.05) < 0.12
    assert np.mean(np.array(different) < 0.05) > 0.9


def test_exposures_of_a_user_do_not_count_as_independent():
    """Each exposure four times: the interval stays; as other users' it halves."""
    labels, users, a, b = chains(120, users=120)
    once = paired_scores.compare(a, b, labels, users, STEPS)
    four = [np.tile(part, (1, 4, 1)) for part in (a, b)]
    same = paired_scores.compare(*four, np.tile(labels, (4, 1)), np.tile(users, 4), STEPS)
    spread = np.concatenate([users + n * (users.max() + 1) for n in range(4)])
    other = paired_scores.compare(*four, np.tile(labels, (4, 1)), spread, STEPS)
    for name in ("auc/cart", "log_loss/cart"):
        width = once[name].high - once[name].low
        assert same[name].high - same[name].low == pytest.approx(width, rel=0.02)
        assert other[name].high - other[name].low == pytest.approx(width / 2, rel=0.2)


def test_many_users_are_grouped_and_one_has_no_interval(monkeypatch):
    labels, users, a, b = chains(600, users=300)
    whole = paired_scores.compare(a, b, labels, users, STEPS)["auc/cart"]
    monkeypatch.setattr(paired_scores, "MAX_UNITS", 100)
    grouped = paired_scores.compare(a, b, labels, users, STEPS)["auc/cart"]
    assert grouped.difference == whole.difference
    assert grouped.high - grouped.low == pytest.approx(whole.high - whole.low, rel=0.25)
    alone = paired_scores.compare(a, b, labels, np.zeros(600, np.int64), STEPS)["auc/cart"]
    assert np.isnan([alone.low, alone.high, alone.p]).all()
    with pytest.raises(ValueError, match="no exposure"):
        paired_scores.compare(a[:, :0], b[:, :0], labels[:0], users[:0], STEPS)
