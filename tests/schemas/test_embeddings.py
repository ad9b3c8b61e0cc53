"""What is told of embeddings without labels, against values by hand and plain Python."""

import numpy as np
import pytest

from schemas import embeddings


def test_spread_by_hand():
    # Two opposite directions: each dimension has mean 0, and the variances add up to 1.
    assert embeddings.spread(np.array([[3.0, 0.0], [-2.0, 0.0]])) == pytest.approx(1.0)
    assert embeddings.spread(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(np.sqrt(0.5))
    assert embeddings.spread(np.ones([5, 3]) * np.arange(1, 6)[:, None]) == pytest.approx(0.0, abs=1e-8)
    assert embeddings.spread(np.random.default_rng(0).normal(size=[4000, 32])) == pytest.approx(1.0, abs=0.01)


def test_effective_rank_by_hand():
    square = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    assert embeddings.effective_rank(5 * square) == pytest.approx(2.0)
    assert embeddings.effective_rank(square[:2]) == pytest.approx(1.0)
    assert embeddings.effective_rank(np.ones([9, 4])) == 1.0
    # Singular values sqrt(6) and sqrt(2) of which the shares are p and 1 - p.
    uneven = np.array([[1.0, 0]] * 3 + [[-1, 0]] * 3 + [[0, 1], [0, -1]])
    p = np.sqrt(6) / (np.sqrt(6) + np.sqrt(2))
    assert embeddings.effective_rank(uneven) == pytest.approx(
        np.exp(-p * np.log(p) - (1 - p) * np.log(1 - p))
    )
    assert np.isnan(embeddings.effective_rank(np.zeros([0, 3])))


def test_jaccard_is_that_of_python_sets():
    rng = np.random.default_rng(1)
    sets = [rng.integers(-5, 20, rng.integers(0, 9)) for _ in range(12)]
    found = embeddings.jaccard(sets)
    for i, a in enumerate(map(set, sets)):
        for j, b in enumerate(map(set, sets)):
            assert found[i, j] == pytest.approx(len(a & b) / len(a | b) if a | b else 1.0)
    assert embeddings.jaccard([np.zeros(0, np.int64)] * 2).tolist() == [[1, 1], [1, 1]]


def plain(vectors, users, sets):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest, of_all = [], []
    for i in range(len(vectors)):
        others = [j for j in range(len(vectors)) if users[j] != users[i]]
        likeness = {j: len(set(sets[i]) & set(sets[j])) / len(set(sets[i]) | set(sets[j])) for j in others}
        by_cosine = sorted(others, key=lambda j: -unit[i] @ unit[j])[: embeddings.NEIGHBORS]
        nearest.append(np.mean([likeness[j] for j in by_cosine]))
        of_all.append(np.mean(list(likeness.values())))
    return nearest, of_all


def test_agreements_are_those_of_plain_python():
    rng = np.random.default_rng(2)
    vectors, users = rng.normal(size=[40, 6]), rng.integers(0, 30, 40)
    sets = [rng.integers(0, 8, rng.integers(1, 5)) for _ in range(40)]
    for number in (40, 6):
        agreements = embeddings.Agreements(vectors[:number], users[:number], sets[:number])
        found = agreements.nearest, agreements.of_all
        np.testing.assert_allclose(found, plain(vectors[:number], users[:number], sets[:number]), rtol=1e-9)


def test_users_who_do_nothing_next_agree_with_each_other():
    vectors, nothing = np.eye(2)[[0] * 15 + [1] * 15], [np.zeros(0, np.int64)] * 15
    found = embeddings.Agreements(
        vectors, np.arange(30), [*nothing, *[np.array([number]) for number in range(15)]]
    )
    assert found.nearest[:15].tolist() == [1.0] * 15 and not found.nearest[15:].any()


def test_collapsed_embeddings_agree_as_any_two_users_do():
    rng = np.random.default_rng(3)
    sets = [rng.integers(0, 8, 3) for _ in range(30)]
    found = embeddings.Agreements(np.ones([30, 4]), np.arange(30), sets)
    np.testing.assert_allclose(found.nearest, found.of_all)
    found = embeddings.Agreements(np.ones([3, 4]), np.zeros(3), sets[:3])
    assert np.isnan(found.nearest).all() and np.isnan(found.of_all).all()
    found = embeddings.Agreements(np.zeros([0, 4]), np.zeros(0), [])
    assert [len(found.nearest), len(found.of_all)] == [0, 0]
    assert np.isnan([*found.nearest_means(np.zeros([0, 3])), *found.of_all_means(np.zeros([0, 3]))]).all()


def test_resampled_users_count_on_both_sides_of_a_pair():
    rng = np.random.default_rng(4)
    vectors, users = rng.normal(size=[30, 6]), rng.integers(0, 20, 30)
    sets = [rng.integers(0, 8, rng.integers(1, 5)) for _ in range(30)]
    of_user = rng.poisson(1.0, [20, 3])
    agreements = embeddings.Agreements(vectors, users, sets)
    unit, wanted = vectors / np.linalg.norm(vectors, axis=1, keepdims=True), ([], [])
    for weights in of_user.T:
        sums = np.zeros([2, 2])
        for i in range(30):
            others = [j for j in range(30) if users[j] != users[i]]
            near = sorted(others, key=lambda j: -unit[i] @ unit[j])[: embeddings.NEIGHBORS]
            for side, chosen in enumerate((near, others)):
                of = np.array([weights[users[j]] for j in chosen])
                alike = [len(set(sets[i]) & set(sets[j])) / len(set(sets[i]) | set(sets[j])) for j in chosen]
                if of.any():
                    sums[side] += weights[users[i]] * np.array([np.average(alike, weights=of), 1.0])
        for side in (0, 1):
            wanted[side].append(sums[side, 0] / sums[side, 1])
    weights = of_user[users].astype(float)
    np.testing.assert_allclose(agreements.nearest_means(weights), wanted[0])
    np.testing.assert_allclose(agreements.of_all_means(weights), wanted[1])
    # All users once: the values themselves.
    assert agreements.nearest_means(np.ones([30, 1])) == pytest.approx(agreements.nearest.mean())
    assert agreements.of_all_means(np.ones([30, 1])) == pytest.approx(agreements.of_all.mean())
