"""What is said of a log that can be read."""

import pytest

from components.behavior_example_gen import notices, spec
from schemas import errors

LOG = spec.LogSpec.from_values({"path": "x.csv", "columns": {"scene": "page", "label": {"buy": "bought"}}})


@pytest.mark.parametrize(
    "user, events, histogram, implausible",
    [
        ("u", 500, {10: 100, 500: 1}, True),
        ("u", 90, {10: 100, 90: 1}, False),  # 9 times a busy one
        ("0", 90, {10: 100, 90: 1}, True),  # but a word for nobody
        ("0", 29, {10: 100, 29: 1}, False),
        ("u", 500, {10: 6000, 500: 1}, False),  # under 1 % of the events
        ("u", 500, {10: 4, 500: 1}, False),  # too few others to tell
        ("u", 500, {10: 95, 50: 5, 500: 1}, True),
        ("u", 500, {10: 95, 60: 5, 500: 1}, False),
        ("u", 10, {10: 100}, False),
        ("u", 10, {10: 1}, False),
    ],
)
def test_a_user_with_an_implausible_share(user, events, histogram, implausible):
    found = notices.implausible_user(user, events, histogram)
    assert (found is not None) == implausible
    if found:
        total = sum(size * count for size, count in histogram.items())
        assert found["share"] == pytest.approx(events / total)
        (said,) = notices.of_user(found, LOG)
        assert said.startswith(f"user '{user}' has ") and f"guest', 'unknown', '{user}']" in said
    else:
        assert notices.of_user(found, LOG) == []


def test_columns_without_a_value():
    page, bought = "'page' (log.columns.scene)", "'bought' (log.columns.label.buy)"
    assert notices.of_columns({}, LOG) == [f"columns {page}, {bought} have no value in any row"]
    found = {("scene", "values"): 3}
    assert notices.of_columns(found, LOG, 5_000_123) == [
        f"column {bought} has no value in the first 5,000,123 rows"
    ]
    assert notices.of_columns({**found, ("label_buy", "values"): 1}, LOG) == []


def test_how_values_are_written():
    said = notices.of_values(
        {
            ("user_id", "blanks"): 1200,
            ("scene", "blanks"): 3,
            ("item_id", "quotes"): 2,
            ("scene", "quotes"): 5,
            ("item_id", "floats"): 7,
            ("user_id", "inexact"): 1,
            ("scene", "inexact"): 1,
            ("label_buy", "minus_ones"): 4,
        },
        LOG,
    )
    assert said == [
        "values with blanks around them: they are read without (1,200 in column 'user_id', 3 in column 'page')",
        "values of whole numbers written as 17.0: they are read as 17 (7 in column 'item_id')",
        "values with quotes that belong to them, so that \"a\" and a are two (2 in column 'item_id')",
        "values of floats of 2^53 or more, which have lost digits: different values may have become one "
        "(1 in column 'page')",
        "-1 is read as no in column 'bought', which has no 0; log.label_minus_one: unknown if it is not known",
    ]
    assert notices.of_values({}, LOG) == [] and notices.of_duplicates(0, 9, LOG) == []


def test_minus_one_beside_zero_is_asked_for():
    notes = {("label_buy", "zeros"): 3, ("label_buy", "minus_ones"): 2}
    with pytest.raises(
        errors.InputError, match=r"'bought' \(log.columns.label.buy\) has 3 x 0 and 2 x -1: set"
    ):
        notices.check_labels(notes, LOG)
    notices.check_labels(notes, LOG.model_copy(update={"label_minus_one": "no"}))
    notices.check_labels({("label_buy", "minus_ones"): 2}, LOG)
