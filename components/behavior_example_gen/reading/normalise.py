"""From a piece of a file, as text or typed columns, to a block: good rows as columns, and bad rows with why."""

import collections
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import spec
from components.behavior_example_gen.reading import (
    blocks,
    failures,
    files,
    text,
    times,
)
from components.behavior_example_gen.reading import (
    columns as columns_lib,
)
from components.behavior_example_gen.reading import (
    values as values_lib,
)
from schemas import errors, names

_IDS = (names.USER_ID, names.ITEM_ID)
_NO_LABEL = "no label, which is 1 or 0, true or false, yes or no, y or n, t or f, on or off, or empty"


class _Reasons:
    """Why rows are bad: the first reason of each counts."""

    def __init__(self, rows: int):
        self._texts = [""]
        self._of = np.zeros(rows, np.int16)

    def mark(self, bad: np.ndarray, reason: str) -> None:
        """Gives the rows of `bad`, `[N]` bool, a reason where they have none."""
        if bad.any():
            self._texts.append(reason)
            self._of[bad & (self._of == 0)] = len(self._texts) - 1

    def good(self) -> np.ndarray:
        """Which rows have none, `[N]` bool."""
        return self._of == 0

    def bad(self) -> list[tuple[int, str]]:
        """The rows that have one, with it."""
        return [(int(row), self._texts[self._of[row]]) for row in np.flatnonzero(self._of)]


class _Piece:
    """The columns of a piece of a file, on their way to those of a block."""

    def __init__(self, source: files.Source, table: pa.Table, log: spec.LogSpec):
        self.table, self._source, self._log = table, source, log
        self.columns = log.columns.wanted()
        self.reasons = _Reasons(table.num_rows)
        self.notes: Counter[tuple[str, str]] = collections.Counter()
        self.arrays: dict[str, pa.Array] = {}
        self._attributes = log.columns.attributes()
        self._raw = {feature: values_lib.whole(self._column(name)) for feature, name in self.columns.items()}

    def _column(self, name: str) -> pa.ChunkedArray:
        # A JSON file may lack a column in one block only: its values are missing there.
        if name in self.table.column_names:
            return self.table.column(name)
        return pa.chunked_array([pa.nulls(self.table.num_rows, pa.string())])

    def kind(self, feature: str) -> str:
        return columns_lib.kind(feature, self._attributes)

    def refused(self, feature: str, what: str) -> errors.InputError:
        """That the type of a column does not suit its feature."""
        return errors.InputError(
            f"{self._source.path}: column {self.columns[feature]!r} "
            f"(log.columns.{columns_lib.key(feature, self._log)}) holds {self._raw[feature].type}; {what}"
        )

    def read(self) -> None:
        """Makes `arrays`, `reasons` and `notes`.

        Raises:
          errors.InputError: if values of a column's type can never be what the column is for.
        """
        features = [feature for feature in self.columns if feature != names.TIMESTAMP]
        for feature in features:
            nested = pa.types.is_nested(self._raw[feature].type)
            if nested and not (
                self.kind(feature) == spec.MULTI and values_lib.is_list(self._raw[feature].type)
            ):
                raise self.refused(feature, "lists are for attributes of type multi")
        # Ids first: a row without one is called so, whatever else is wrong with it.
        for feature in (*_IDS, *(feature for feature in features if feature not in _IDS)):
            try:
                self._read(feature)
                if feature not in _IDS:
                    self.notes[feature, blocks.COLUMN] += self.columns[feature] in self.table.column_names
                    self.notes[feature, blocks.VALUES] += self._values(feature)
            except text.NoText as error:
                raise self.refused(feature, "which has no text") from error
            except pa.ArrowException as error:
                raise self.refused(
                    feature, f"which cannot be read as {self.kind(feature)} ({failures.reason(error)})"
                ) from error

    def _read(self, feature: str) -> None:
        raw, kind, column = self._raw[feature], self.kind(feature), self.columns[feature]
        missing = self._log.missing.of_column(feature)
        if feature in _IDS:
            # Before its text is looked at.
            found = text.of(raw)
            self._note(feature, found)
            self._id(feature, found)
            self.reasons.mark(~text.valid_utf8(found.values), f"invalid UTF-8 in column {column!r}")
            return
        self.reasons.mark(~values_lib.valid_utf8(raw), f"invalid UTF-8 in column {column!r}")
        if kind == spec.CATEGORICAL:
            found = text.of(raw)
            self._note(feature, found)
            self.arrays[feature] = text.without(found.values, text.is_in(found.values, missing))
        elif kind == spec.NUMERIC:
            values, valid = values_lib.numbers(raw, self._log.missing.of_values())
            self.reasons.mark(~valid, f"not a finite number (column {column!r})")
            self.arrays[feature] = pa.array(values)
        elif kind == spec.MULTI:
            self.arrays[feature] = values_lib.lists(raw, self._attributes[feature].separator, missing)
        else:
            minus_one = names.UNKNOWN_LABEL if self._log.label_minus_one == "unknown" else 0
            labels = values_lib.labels(raw, self._log.missing.of_values(), minus_one)
            self.reasons.mark(~labels.valid, f"{_NO_LABEL} (column {column!r})")
            self.notes[feature, blocks.ZEROS] += labels.zeros
            self.notes[feature, blocks.MINUS_ONES] += labels.minus_ones
            self.arrays[feature] = pa.array(labels.values)

    def _values(self, feature: str) -> int:
        """How many values there are of a feature that has been read."""
        array, kind = self.arrays[feature], self.kind(feature)
        if kind == spec.CATEGORICAL:
            return int(pc.sum(pc.greater(pc.binary_length(array), 0)).as_py() or 0)
        if kind == spec.MULTI:
            return len(array.flatten())
        values = array.to_numpy()
        return int(
            np.count_nonzero(~np.isnan(values) if kind == spec.NUMERIC else values != names.UNKNOWN_LABEL)
        )

    def _id(self, feature: str, found: text.Texts) -> None:
        ids, column = found.values, self.columns[feature]
        nothing = ~ids.is_valid().to_numpy(zero_copy_only=False)
        said = text.is_in(ids, self._log.missing.of_column(feature))
        if said.any():
            nothing |= text.is_in(ids, self._log.missing.of_column(feature, everywhere_only=True))
            said &= ~nothing
        self.reasons.mark(nothing, f"missing {feature} (column {column!r})")
        if said.any():
            for word in pc.unique(ids.filter(pa.array(said))):
                self.reasons.mark(
                    said & text.is_in(ids, (word.as_py().decode(),)),
                    f"missing {feature} (column {column!r} holds {word.as_py().decode()!r}, a word of log.missing)",
                )
        self.reasons.mark(
            found.inexact,
            f"{feature} is a float of 2^53 or more, which has lost digits (column {column!r}); keep ids as "
            f"integers or text",
        )
        length = pc.binary_length(ids).fill_null(0).to_numpy(zero_copy_only=False)
        self.reasons.mark(
            length > self._log.max_id_bytes, f"{feature} longer than {self._log.max_id_bytes} bytes"
        )
        # Vocabulary files hold one value per line.
        if text.holds(ids, "\r\n"):
            broken = pc.match_substring_regex(ids, r"[\r\n]").fill_null(False)
            self.reasons.mark(broken.to_numpy(zero_copy_only=False), f"line break in {feature}")
        self.arrays[feature] = ids

    def _note(self, feature: str, found: text.Texts) -> None:
        for what, count in (
            (blocks.BLANKS, found.trimmed),
            (blocks.FLOATS, found.floats),
            (blocks.QUOTES, found.quoted),
            (blocks.INEXACT, int(found.inexact.sum())),
        ):
            self.notes[feature, what] += count

    def read_times(self) -> times.Times:
        """The times, and `reasons` of those that are none or implausible.

        Raises:
          errors.InputError: if values of the column's type can never be times.
        """
        try:
            found, problems = times.read(pa.chunked_array([self._raw[names.TIMESTAMP]]), self._log)
        except times.NoTimes as error:
            raise self.refused(names.TIMESTAMP, str(error)) from error
        except pa.ArrowException as error:
            raise self.refused(
                names.TIMESTAMP, f"not readable as times ({failures.reason(error)})"
            ) from error
        for bad, reason in problems:
            self.reasons.mark(bad, reason)
        return found


def _shown(value: pa.Scalar) -> object:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        # Text that is none.
        return value.as_buffer().to_pybytes()


def block(
    source: files.Source, table: pa.Table, rows: np.ndarray, rejects: list[blocks.Reject], log: spec.LogSpec
) -> blocks.Block:
    """The block of a piece.

    Args:
      table: the columns that the log's spec names; a column may lack.
      rows: the number of each row in its file, `[N]`.
      rejects: rows that are bad already.

    Raises:
      errors.InputError: if the type of a column does not suit what it is for.
    """
    piece = _Piece(source, table, log)
    piece.read()
    found = piece.read_times()
    bad = piece.reasons.bad()
    for index, reason in bad:
        sample = ",".join(
            blocks.sample(_shown(table.column(name)[index]))
            for name in piece.columns.values()
            if name in table.column_names
        )
        rejects.append(blocks.Reject(source.path, int(rows[index]), reason, blocks.sample(sample)))
    batch = {
        feature: (array.fill_null(b"") if array.null_count else array)
        for feature, array in piece.arrays.items()
    }
    batch[names.TIMESTAMP] = pa.array(found.ms)
    batch[blocks.NANOS] = pa.array(found.nanos)
    batch[blocks.ROW] = pa.array(rows)
    record_batch = pa.RecordBatch.from_arrays(list(batch.values()), list(batch))
    if bad:
        record_batch = record_batch.filter(pa.array(piece.reasons.good()))
    return blocks.Block(source, record_batch, rejects, record_batch.num_rows + len(rejects), +piece.notes)
