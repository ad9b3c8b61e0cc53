"""Which folders are versions."""

import pytest

from schemas import versions


@pytest.mark.parametrize(
    "name, version", [("1", 1), ("1700000000/", 1_700_000_000), (str(2**63 - 1), 2**63 - 1)]
)
def test_a_positive_int64_is_a_version(name, version):
    assert versions.parse(name) == version


@pytest.mark.parametrize(
    "name",
    [
        "",
        "0",
        "-1",
        "+1",
        "007",
        "1.5",
        "1e3",
        "1_0",
        " 1",
        "1 ",
        "1\n",
        "²",
        "１",
        "٣",
        "Ⅷ",
        "x",
        str(2**63),
        str(10**20),
        "9" * 5000,
    ],
)
def test_nothing_else_is(name):
    assert versions.parse(name) is None


def test_versions_are_in_the_order_of_numbers():
    assert versions.found(["10", "9", "x", "²", "10/", ".pushing-1", "007"]) == [9, 10]
