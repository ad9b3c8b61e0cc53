"""Which points a search proposes."""

import math

import pytest
import yaml

from pipeline.sweeping import proposals
from pipeline.sweeping import space as spaces

SPACE = ["model.dim=4..64:log:step=2", "training.learning_rate=1e-4..1e-1:log"]


def searched(kind, trials, score, seed=1):
    points = []
    for values, answer in proposals.Search(kind, spaces.parse_space(SPACE), trials, seed):
        points.append(values)
        answer(score(values))
    return points


def valley(values):
    """Best at a learning rate of 0.01, whatever the width."""
    return -abs(math.log10(values["training.learning_rate"]) + 2)


@pytest.mark.parametrize("kind", ["random", "bayesian"])
def test_a_search_asks_for_the_same_points_again(kind):
    """This is what makes it resumable: what is finished comes from the cache."""
    first = searched(kind, 9, valley)
    assert first == searched(kind, 9, valley) and first != searched(kind, 9, valley, seed=2)
    assert len(first) == 9
    for point in first:
        assert point["model.dim"] in (4, 8, 16, 32, 64) and isinstance(point["model.dim"], int)
        assert 1e-4 <= point["training.learning_rate"] <= 1e-1
        yaml.safe_dump(point)  # plain values, not NumPy's


def test_a_bayesian_search_listens():
    """Other answers, other points, once its random start is over; a random search asks on as it would."""
    other = lambda values: -valley(values)  # noqa: E731
    first, second = searched("bayesian", 8, valley), searched("bayesian", 8, other)
    assert first[:6] == second[:6] and first[6:] != second[6:]
    assert searched("random", 8, valley) == searched("random", 8, other)


def test_failed_points_do_not_end_a_search():
    assert len(searched("random", 6, lambda values: -math.inf)) == 6
    assert len(searched("bayesian", 6, lambda values: -math.inf)) == 6
