"""From the fields of a log, as text or typed, to columns of numbers, labels and lists; ids are in `text`."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen.reading import text as text_lib
from schemas import names

_NUMBER = r"^-?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"
# Of a float32 at 0.01 or above, which has 9 digits at most.
_MOST_PLACES = 10
_YES, _NO, _MINUS_ONE = ("1", "true", "yes", "y", "t", "on"), ("0", "false", "no", "n", "f", "off"), ("-1",)


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, without a dictionary."""
    # Bringing chunks together copies them, one alone, too.
    if column.num_chunks == 1 and not column.chunk(0).offset:
        array = column.chunk(0)
    else:
        array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of lists, of any kind."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def valid_utf8(array: pa.Array) -> np.ndarray:
    """Which fields are UTF-8, a list with all its values: `[N]` bool."""
    if is_list(array.type):
        fine = np.ones(len(array), bool)
        fine[_parents(array)[~valid_utf8(whole_values(array))]] = False
        return fine
    if pa.types.is_binary(array.type) or pa.types.is_string(array.type):
        # Parquet says of any bytes that they are text.
        return text_lib.valid_utf8(array.cast(pa.binary()))
    if pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type):
        return text_lib.valid_utf8(array.cast(pa.large_binary()).cast(pa.binary()))
    if pa.types.is_fixed_size_binary(array.type):
        return text_lib.valid_utf8(array.cast(pa.binary()))
    return np.ones(len(array), bool)


def whole_values(array: pa.Array) -> pa.Array:
    """The values of all lists, one after the other, without a dictionary."""
    values = pc.list_flatten(array)
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def numbers(array: pa.Array, missing: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as `[N]` float64, NaN where there is none, and which fields are valid.

    Text that is no number is not, and neither is what float32 takes for infinite. A float32 is the decimal that it
    was written from.

    Args:
      missing: words that stand for no value; those that are numbers do not count.

    Raises:
      text.NoText: if values of its type are nothing like numbers.
    """
    kind = array.type
    valid = np.ones(len(array), bool)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        text = pc.replace_substring_regex(_text(array, missing), r"^[+]", "")
        fits = pc.match_substring_regex(text, _NUMBER)
        valid = fits.fill_null(True).to_numpy(zero_copy_only=False)
        # Words that are no number are missing; the rest is bad.
        array = text_lib.without(text, ~fits.fill_null(False).to_numpy(zero_copy_only=False))
    if pa.types.is_float16(kind):
        array = pa.array(array.to_numpy(zero_copy_only=False).astype(np.float32), from_pandas=True)
    if pa.types.is_float32(array.type):
        values = _decimals(array.to_numpy(zero_copy_only=False))
    else:
        values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        infinite = np.isinf(values.astype(np.float32))
    return values, valid & ~infinite


def _decimals(numbers: np.ndarray) -> np.ndarray:
    """The decimals with the fewest places that round to numbers, `[N]` float32 to float64: 0.85, not 0.8500000238."""
    found = numbers.astype(np.float64)
    rest = np.flatnonzero(np.isfinite(numbers))
    for places in range(_MOST_PLACES + 1):
        decimals = np.round(found[rest] * 10.0**places) / 10.0**places
        same = decimals.astype(np.float32) == numbers[rest]
        found[rest[same]] = decimals[same]
        rest = rest[~same]
    return found


@dataclasses.dataclass
class Labels:
    """A column of labels.

    Attributes:
      values: 1, 0, or UNKNOWN_LABEL where a field is empty: int8 `[N]`.
      valid: which fields are labels, `[N]` bool.
      zeros, minus_ones: how many fields are no because they are 0 (or false, ...), and how many are -1.
    """

    values: np.ndarray
    valid: np.ndarray
    zeros: int
    minus_ones: int


def labels(array: pa.Array, missing: Sequence[str] = (), minus_one: int = 0) -> Labels:
    """Labels: 1, true, yes, y, t and on are yes; 0, false, no, n, f, off and -1 are no, in any case.

    Args:
      missing: words that stand for no value; those that are labels do not count.
      minus_one: what -1 is: 0 or UNKNOWN_LABEL.

    Raises:
      text.NoText: if values of its type are nothing like labels.
    """
    if pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        numeric = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        unknown, yes, no, minus = np.isnan(numeric), numeric == 1, numeric == 0, numeric == -1
    else:
        unknown, yes, no, minus = _label_words(array, missing)
    values = np.full(len(array), names.UNKNOWN_LABEL, np.int8)
    values[yes], values[no], values[minus] = 1, 0, minus_one
    return Labels(values, unknown | yes | no | minus, int(no.sum()), int(minus.sum()))


def _label_words(array: pa.Array, missing: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Which labels are unknown, yes, no and -1, `[N]` bool each."""
    text = pc.utf8_lower(
        _text(array, [word for word in missing if word.lower() not in _YES + _NO + _MINUS_ONE])
    )
    return text.is_null().to_numpy(zero_copy_only=False), *(
        pc.is_in(text, value_set=pa.array(words)).to_numpy(zero_copy_only=False)
        for words in (_YES, _NO, _MINUS_ONE)
    )


def lists(array: pa.Array, separator: str, missing: Sequence[str] = ()) -> pa.Array:
    """The values of each field as a list of binary: the text of each, without empty ones.

    Args:
      array: text with values between separators, or lists already.
      separator: of text.
      missing: words that stand for no value.

    Raises:
      text.NoText: if values of its type have no text.
    """
    if not is_list(array.type):
        array = pc.split_pattern(_text(array, missing).fill_null(""), separator)
    values = text_lib.of(whole_values(array)).values
    kept = values.is_valid().to_numpy(zero_copy_only=False) & ~text_lib.is_in(values, tuple(missing))
    sizes = np.bincount(_parents(array)[kept], minlength=len(array))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.filter(pa.array(kept)))


def _parents(array: pa.Array) -> np.ndarray:
    """Which list each value of the flattened lists is from."""
    return pc.list_parent_indices(array).to_numpy(zero_copy_only=False)


def _text(array: pa.Array, missing: Sequence[str]) -> pa.Array:
    """The text of each field; null where nothing or a word for it is said, and where bytes are no UTF-8."""
    values = text_lib.of(array).values
    nothing = text_lib.is_in(values, tuple(missing)) | ~text_lib.valid_utf8(values)
    return text_lib.without(values, nothing).cast(pa.string())
