"""One rule of a value's text, whatever a value is kept as. Values are worked out by hand."""

import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest

from components.behavior_example_gen.reading import text


def texts(array):
    found = text.of(array)
    return [None if value is None else value.decode() for value in found.values.to_pylist()]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
def test_text_is_itself_but_for_blanks_around_it(kind):
    written = {
        "a": "a",
        " b": "b",
        "c\t\r\n": "c",
        "\u3000d e\xa0": "d e",
        "\ufefff": "f",
        "g\u200b": "g",
        "x\xa0y\ufeffz": "x\xa0y\ufeffz",
        "": None,
        " \xa0": None,
        "007": "007",
        "007.0": "007.0",
        "1.50": "1.50",
        "7.": "7.",
        "1e3": "1e3",
        "12e45678": "12e45678",
        '"u"': '"u"',
        "Ünï 中文": "Ünï 中文",
        "A": "A",
    }
    array = pa.array([word.encode() for word in written], pa.binary())
    array = array if kind == pa.binary() else array.cast(pa.string()).cast(kind)
    assert texts(array) == list(written.values())
    found = text.of(array)
    assert (found.trimmed, found.floats, found.quoted) == (6, 0, 1) and not found.inexact.any()
    # A part of a longer array.
    assert texts(array.slice(1, 3)) == list(written.values())[1:4]


def test_whole_numbers_are_their_digits_whatever_they_are_kept_as():
    for array in (
        pa.array(["17.0", "17", "-0.0", "17.000", None, "1e+05", "1.2345e+03", "9007199254740991.0"]),
        pa.array([17.0, 17, -0.0, 17, None, 1e5, 1234.5, 2.0**53 - 1]),
        pa.array(
            [decimal.Decimal(d) for d in ("17.0", "17", "-0.0", "17.000")]
            + [None]
            + [decimal.Decimal(d) for d in ("100000", "1234.50", "9007199254740991.0")]
        ),
    ):
        found = texts(array)
        assert found[:6] == ["17", "17", "0", "17", None, "100000"] and found[7] == "9007199254740991"
    assert texts(pa.array([17.0, float("nan"), 2.5], pa.float32())) == ["17", None, "2.5"]
    assert texts(pa.array(np.array([17, np.nan, 0.5], np.float16))) == ["17", None, "0.5"]
    assert texts(pa.array([2**64 - 1], pa.uint64())) == ["18446744073709551615"]
    assert texts(pa.array([-(2**63)])) == ["-9223372036854775808"]
    assert texts(pa.array([decimal.Decimal("12345678901234567890123456789012345.00")])) == [
        "12345678901234567890123456789012345"
    ]


def test_floats_that_may_have_lost_digits_are_told():
    for array in (
        pa.array([2.0**53, 2.0**53 - 1, 1.5159156255193882e18, float("inf"), -(2.0**53), 2.5, None]),
        pa.array(
            [
                "9007199254740992.0",
                "9007199254740991.0",
                "1.5159156255193882e+18",
                "1e+999",
                "-9.1e15",
                "2.5",
                None,
            ]
        ),
    ):
        assert text.of(array).inexact.tolist() == [True, False, True, True, True, False, False]
    assert text.of(pa.array([2.0**24, 2.0**24 - 1], pa.float32())).inexact.tolist() == [True, False]
    # Integers and decimals are exact, however large; so is text that is no float.
    assert not text.of(pa.array(["1515915625519388267", "1515915625519388267e18"])).inexact.any()
    assert not text.of(pa.array([2**63 - 1])).inexact.any()


def test_other_types():
    day = datetime.datetime(2024, 1, 31, 8, 30)
    assert texts(pa.array([True, False, None])) == ["true", "false", None]
    assert texts(pa.array([day.date()])) == ["2024-01-31"]
    for unit in ("s", "ms", "us", "ns"):
        assert texts(pa.array([day], pa.timestamp(unit))) == ["2024-01-31 08:30:00"]
    assert texts(pa.array([day.replace(microsecond=120_000)], pa.timestamp("ns"))) == [
        "2024-01-31 08:30:00.12"
    ]
    assert texts(pa.array([day], pa.timestamp("ms", "UTC"))) == ["2024-01-31 08:30:00Z"]
    assert texts(pa.array([b"ab"], pa.binary(2))) == ["ab"] and texts(pa.nulls(2)) == [None, None]
    for kind in (pa.struct([("id", pa.int64())]), pa.list_(pa.int64()), pa.duration("s")):
        with pytest.raises(text.NoText, match="have no text"):
            text.of(pa.array([None], kind))


def test_bytes_that_are_no_utf8_are_left_alone():
    found = text.of(pa.array([b" \xff ", b" a ", b"\xff7.0"]))
    assert found.values.to_pylist() == [b" \xff ", b"a", b"\xff7.0"]
    assert text.valid_utf8(found.values).tolist() == [False, True, False]


def test_looks_at_bytes_give_what_each_value_gives():
    """Words, ASCII characters, UTF-8, blanks and floats, in columns that have and lack what a look at all bytes finds."""
    rng = np.random.default_rng(0)
    words = ("NA", "null", "-1", "é", "unknown")
    parts = ["NA", "null", "-1", "é", "unknown", "u", "n", "1", "17.0", " x", '"q"', "\n", "1e+05", ""]
    for _ in range(300):
        few = rng.choice(parts, rng.integers(1, 4), replace=False)
        values = ["".join(rng.choice(few, rng.integers(0, 3))) for _ in range(rng.integers(0, 8))]
        values = [None if rng.random() < 0.2 else value for value in values]
        encoded = [None if value is None else value.encode() for value in values]
        # A part of a longer array, too, whose other values do not count.
        array = pa.array([b"\xff\n.", *encoded, b"NA \xff"], pa.binary()).slice(1, len(encoded))
        assert text.is_in(array, words).tolist() == [value in words for value in values]
        assert text.valid_utf8(array).all()
        assert text.as_strings(array).to_pylist() == values
        for characters in ("\r\n", ".+"):
            assert text.holds(array, characters) == any(c in (v or "") for v in values for c in characters)
        # With a value that every look finds something in, each other value is looked at for itself.
        odd = pa.array([*encoded, b" 1.0 ", b'"\xc3\xa9"'], pa.binary())
        assert texts(array) == texts(odd)[:-2]


def test_nothing_in_place_of_some_values_of_a_part_of_a_longer_array_leaves_the_others():
    for kind, values in (
        (pa.binary(), [b"-1", b"", b"-1-1", None]),
        (pa.string(), ["u", "", "unknown", None]),
    ):
        part = pa.array([values[2], *values, values[2]], kind).slice(1, 4)
        found = text.without(part, np.array([False, True, False, False]))
        assert found.to_pylist() == [values[0], None, values[2], None]


def test_invalid_utf8_is_no_string():
    array = pa.array([b"a", b"\xff", None], pa.binary())
    assert text.valid_utf8(array).tolist() == [True, False, True]
    with pytest.raises(pa.ArrowInvalid):
        text.as_strings(array)
