"""Shares of an endpoint's traffic."""

import itertools

import pytest

from components.vertex_deployer import traffic

_ORDER = ["1", "2", "3"]


@pytest.mark.parametrize(
    "before, share, wanted",
    [
        ({}, 10, {"0": 100}),
        ({"1": 100}, 100, {"0": 100}),
        ({"1": 100}, 1, {"0": 1, "1": 99}),
        ({"1": 10, "2": 90}, 20, {"0": 20, "2": 80}),
        # Of equal ones the older stays; what has no traffic does not count.
        ({"2": 50, "1": 50}, 20, {"0": 20, "1": 80}),
        ({"1": 0, "3": 100}, 20, {"0": 20, "3": 80}),
    ],
)
def test_the_rest_stays_with_what_answered_most(before, share, wanted):
    assert traffic.split(before, traffic.NEW, share, _ORDER) == wanted


def test_all_of_it_goes_to_two_at_most():
    for first, share in itertools.product(range(101), range(1, 101)):
        found = traffic.split({"1": first, "2": 100 - first}, "3", share, _ORDER)
        assert sum(found.values()) == 100 and found["3"] == share and len(found) <= 2
        assert all(found.values())
