"""Which slices of the test windows are measured."""

import pandas as pd

from benchmarks import measures
from schemas import names


def test_user_groups_are_slices():
    """Of windows of an earlier time, which have none, there is no such slice."""
    groups = ["low", "high", "low", ""]
    table = pd.DataFrame({name: ["same"] * 4 for name in names.SLICES} | {names.USER_GROUP: groups})
    found = {label: chosen.tolist() for label, chosen in measures._chosen(table)}
    assert found["user_group=low"] == [True, False, True, False]
    assert found["user_group=high"] == [False, True, False, False]
    assert not [label for label in found if label.endswith("=")]
