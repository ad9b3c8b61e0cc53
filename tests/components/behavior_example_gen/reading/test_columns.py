"""What is said where a file lacks a column."""

import pytest

from components.behavior_example_gen import readers, spec
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
def test_a_missing_column(tmp_path, found, words):
    path = str(tmp_path / "log.csv")
    row = ",".join(str(n) for n in range(len(found)))
    (tmp_path / "log.csv").write_text(f"{','.join(found)}\n" + f"{row}\n" * 3)
    with pytest.raises(errors.InputError, match=words):
        columns.check(found, spec.LogSpec(path=path), path)


@pytest.mark.parametrize(
    "column,there,misspelt",
    [
        ("event", "evnt", True),
        ("event", "evemt", True),
        ("event", "evvent", True),
        ("coupon", "cuopon", True),
        ("couponId", "Coupon_ID", True),
        ("coupon_id_2", "cupon_id_2", True),
        ("coupon_id_2", "coupon_id_1", False),
        ("coupon_12", "coupon_21", False),
        ("coupon_id_2", "coupon_id", False),
        ("subcategory", "category", False),
        ("item", "items", False),
        ("billing_address_city", "shipping_address_city", False),
        ("customer_segment_name", "customer_segment_type", False),
        ("start_time", "stop_time", False),
        ("item_colour", "itemColuor", True),
        ("itemColour", "item_color", True),
        ("item.catgory", "item/category", True),
        ("couponCode", "cuoponCode", True),
        ("coupon_a", "coupon_b", False),
        ("couponA", "couponB", False),
        ("groupACode", "groupBCode", False),
        ("coupon_a_code", "coupon_b_code", False),
        ("price_uk", "price_us", False),
        ("price-uk-net", "price-us-net", False),
        ("size_s", "size_m", False),
        ("start_at", "start_ad", False),
        ("first_name", "first_fame", False),
        ("price_to_day", "price_ot_day", False),
        ("price_a1_net", "price_b1_net", False),
        ("price_1a1_net", "price_1b1_net", False),
    ],
)
def test_a_key_that_is_in_no_record_is_misspelt_by_a_slip_alone(column, there, misspelt):
    """Of keys that are only related, one may well be in no record of a day."""
    log = spec.LogSpec.from_values({"path": "log.jsonl", "columns": {"item": {"a": column}}})
    found = ["user_id", "item_id", "timestamp", there]
    if misspelt:
        with pytest.raises(errors.InputError, match=f"did you mean log.columns.item.a: {there}[?]"):
            columns.check_all([found], {}, 9, log)
    else:
        columns.check_all([found], {}, 9, log)


def test_what_the_file_looks_like_is_said_once(tmp_path):
    """By whatever reads it: a run's first look, the reader itself."""
    path = tmp_path / "log.csv"
    path.write_text("user_id;item_id;timestamp\n" + "u;i;1600000000\n" * 3)
    log = spec.LogSpec(path=str(path))
    for check in (
        lambda: list(readers.read_all([str(path)], log)),
        lambda: columns.check(readers.header(str(path), log), log, str(path)),
    ):
        with pytest.raises(errors.InputError) as caught:
            check()
        assert str(caught.value).count('log.delimiter: ";"') == 1
