"""Text made safe to show."""

import io
import json
import unicodedata

import pytest

from schemas import text
from tests import hostile


def acting(shown):
    return [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def test_what_acts_is_written_out_and_the_rest_stays():
    assert text.visible("plain, ünï 漢 – 🙂 | <b> \\") == "plain, ünï 漢 – 🙂 | <b> \\"
    assert text.visible("a\x1b[31mb\u202ec\x00") == "a\\u001b[31mb\\u202ec\\u0000"
    assert text.visible("\U000e0041") == "\\udb40\\udc41"  # a tag character, as JSON has it
    assert text.visible("a\nb\tc\r", keep="\n\t") == "a\nb\tc\\u000d"
    assert text.visible("a\nb") == "a\\u000ab"
    assert acting(hostile.ACTING) and not acting(text.visible(hostile.ACTING))


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_stays_the_same_json(ascii_only):
    values = {"ids": [*hostile.IDS, hostile.ACTING], hostile.ACTING: "\\u202e"}
    shown = text.visible(json.dumps(values, ensure_ascii=ascii_only))
    assert not acting(shown) and json.loads(shown) == values


def test_a_stream_passes_lines_and_nothing_that_acts():
    below = io.StringIO()
    stream = text.Stream(below)
    print("bad \x1b[2J\u202e\udc80", "next", sep="\n", file=stream, flush=True)
    assert below.getvalue() == "bad \\u001b[2J\\u202e\\udc80\nnext\n"
    assert stream.isatty() is False and stream.write("12\x1b") == 3


def test_long_texts_say_how_long_they_are():
    assert (
        text.clipped("x" * 10_000, 5) == "xxxxx… (10,000 characters)" and text.clipped("xxxxx", 5) == "xxxxx"
    )
