"""What is said where a file lacks a column."""

import pytest

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import columns
from schemas import errors


@pytest.mark.parametrize(
    "found,words",
    [
        (
            ["196", "242", "3", "881250949"],
            "these look like values: .*log: {column_names: \\[user_id, item_id, timestamp, ...\\]}",
        ),
        (["u1", "i1", "2024-01-31T10:00:00"], "these look like values"),
        (["userId", "itemId", "at"], "column 'user_id' .* did you mean log.columns.user_id: userId\\?"),
        (["a", "b"], "the file has a, b$"),
        ([f"c{n}x" for n in range(300)], "c49x and 250 more"),
    ],
)
def test_a_missing_column(found, words):
    with pytest.raises(errors.InputError, match=words):
        columns.check(found, spec.LogSpec(path="log.csv"), "log.csv")
