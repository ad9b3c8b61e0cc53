"""What is read from a log: blocks of good rows as columns, and bad rows with their reason."""

import collections
import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from components.behavior_example_gen.reading import files

# Rows are counted from 1 within a file, a header not counted; NO_ROW where it cannot be known.
ROW = "row"
FILE = "file"
NANOS = "nanos"  # of the time, beyond its ms, for sorting
NO_ROW = -1
COLUMN_COUNT = "wrong column count"

# What is noted of the values of a feature; see `Block.notes`.
BLANKS, FLOATS, QUOTES, INEXACT = "blanks", "floats", "quotes", "inexact"
ZEROS, MINUS_ONES = "zeros", "minus_ones"
COLUMN, VALUES = "column", "values"

_SAMPLE_CHARACTERS = 120


@dataclasses.dataclass(frozen=True)
class Reject:
    """A bad row: where it stands, what is wrong with it, and how it starts."""

    file: str
    row: int
    reason: str
    value: str

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


@dataclasses.dataclass
class Block:
    """A piece of a log: the good rows as columns, and the bad ones.

    `batch` has `user_id item_id` (and behaviour, scene, categorical attributes) as binary, multi-valued
    attributes as lists of binary, numeric ones as float64 (NaN is missing), labels as int8 (1, 0 or
    `names.UNKNOWN_LABEL`), `timestamp` in ms, `nanos` and `row` as int64. `rows` counts good and bad rows.
    `notes` has how many values of a feature (in good and bad rows) had BLANKS around them, were whole numbers
    written as FLOATS, have QUOTES around them, are numbers that may have lost digits (INEXACT); of a label,
    are ZEROS and MINUS_ONES; and, of what a log may be without, are VALUES at all, and whether there is the COLUMN:
    by feature and one of these.
    """

    source: files.Source
    batch: pa.RecordBatch
    rejects: list[Reject]
    rows: int
    notes: Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)


# What a reader of one format gives: a piece of a file as text or typed columns, the number of each row, and bad rows.
Piece = tuple[pa.Table, np.ndarray, list[Reject]]
Pieces = Iterator[Piece]


def kind(reason: str) -> str:
    """What rows that are bad for one reason have in common, to count them."""
    # How many columns a row has would make a reason of each number.
    return reason.split(":")[0] if reason.startswith(COLUMN_COUNT) else reason


def sample(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return str(value)[:_SAMPLE_CHARACTERS]
