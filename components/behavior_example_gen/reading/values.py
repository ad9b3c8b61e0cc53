"""From the fields of a log, as text or typed, to columns: ids, numbers, labels and lists of values."""

from typing import Tuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import names

# Fields that say: nothing here.
MISSING = ("", "NaN", "nan", "NULL", "null")
_NUMBER = r"^-?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$"
_YES, _NO = ("1", "1.0", "true"), ("0", "0.0", "false")


def whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, without a dictionary."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def is_list(kind: pa.DataType) -> bool:
    """Whether a type is one of lists, of any kind."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def as_binary(array: pa.Array) -> pa.Array:
    """Any array as bytes; numbers become their decimal text, as they would stand in a CSV file."""
    if pa.types.is_binary(array.type):
        return array
    if pa.types.is_floating(array.type):
        # An id column with gaps is float in pandas: 17.0 stands for 17.
        values = array.to_numpy(zero_copy_only=False)
        finite = np.isfinite(values)
        if np.all(values[finite] == np.floor(values[finite])) and np.all(np.abs(values[finite]) < 2**53):
            array = pa.array(np.where(finite, values, 0).astype(np.int64), mask=~finite)
        else:
            array = pa.array(values, mask=~finite)
    if not pa.types.is_string(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.binary())


def valid_utf8(array: pa.Array) -> np.ndarray:
    """Which fields are UTF-8, a list with all its values: `[N]` bool."""
    if is_list(array.type):
        fine = np.ones(len(array), bool)
        fine[_parents(array)[~valid_utf8(pc.list_flatten(array))]] = False
        return fine
    if not pa.types.is_binary(array.type):
        return np.ones(len(array), bool)
    try:
        array.cast(pa.string())
        return np.ones(len(array), bool)
    except pa.ArrowInvalid:
        pass
    # Only a block with a bad value comes here, and only its distinct values are tried.
    encoded = array.dictionary_encode()
    fine = np.empty(len(encoded.dictionary) + 1, bool)
    for index, value in enumerate(encoded.dictionary):
        try:
            value.as_py().decode("utf-8")
            fine[index] = True
        except UnicodeDecodeError:
            fine[index] = False
    fine[-1] = True
    return fine[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)]


def numbers(array: pa.Array) -> Tuple[np.ndarray, np.ndarray]:
    """Numbers as `[N]` float32, NaN where there is none, and which fields are valid.

    Text that is no number is not, and neither is what float32 takes for infinite.
    """
    kind = array.type
    valid = np.ones(len(array), bool)
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind)):
        text = pc.replace_substring_regex(_text(array), r"^[+]", "")
        fits = pc.match_substring_regex(text, _NUMBER)
        valid = fits.fill_null(True).to_numpy(zero_copy_only=False)
        array = pc.if_else(fits, text, pa.scalar(None, pa.string()))
    exact = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        values = exact.astype(np.float32)
    return values, valid & ~np.isinf(values)


def labels(array: pa.Array) -> Tuple[np.ndarray, np.ndarray]:
    """Labels as `[N]` int8, unknown where a field is empty, and which fields are valid.

    1 and true are yes, 0 and false are no, in any case.
    """
    kind = array.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        unknown, yes, no = np.isnan(values), values == 1, values == 0
    else:
        text = pc.utf8_lower(_text(array))
        unknown = text.is_null().to_numpy(zero_copy_only=False)
        yes, no = (
            pc.is_in(text, value_set=pa.array(words)).to_numpy(zero_copy_only=False) for words in (_YES, _NO)
        )
    return np.where(yes, 1, np.where(no, 0, names.UNKNOWN_LABEL)).astype(np.int8), unknown | yes | no


def lists(array: pa.Array, separator: str) -> pa.Array:
    """The values of each field as a list of binary, without blanks around them and without empty ones.

    Args:
      array: text with values between separators, or lists already.
      separator: of text.
    """
    if not is_list(array.type):
        array = pc.split_pattern(_text(array).fill_null(""), separator)
    values = pc.list_flatten(array)
    values = pc.utf8_trim_whitespace(_utf8(values)).fill_null("")
    kept = pc.not_equal(values, "")
    sizes = np.bincount(_parents(array)[kept.to_numpy(zero_copy_only=False)], minlength=len(array))
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values.filter(kept).cast(pa.binary()))


def _parents(array: pa.Array) -> np.ndarray:
    """Which list each value of the flattened lists is from."""
    return pc.list_parent_indices(array).to_numpy(zero_copy_only=False)


def _utf8(array: pa.Array) -> pa.Array:
    """Any array as text; null where bytes are no UTF-8."""
    binary = as_binary(array)
    fine = valid_utf8(binary)
    if not fine.all():
        binary = pc.if_else(pa.array(fine), binary, pa.scalar(None, pa.binary()))
    return binary.cast(pa.string())


def _text(array: pa.Array) -> pa.Array:
    """Text without blanks around it; null where nothing is said."""
    text = pc.utf8_trim_whitespace(_utf8(array))
    missing = pc.is_in(text, value_set=pa.array(MISSING))
    return pc.if_else(missing, pa.scalar(None, pa.string()), text)
