"""What a value is as text: one rule for ids, behaviours, scenes and categorical attributes of every format.

- Text is itself, without the blanks around it (of any script; a byte order mark and a zero-width space are
  blanks). Quotes that a format does not take away, capitals and accents are kept: `007`, `"u1"`, `1.50`.
- A whole number is its digits, as many as there are: no integer passes through a float. One that is written or
  kept as a float is the same number: `17.0` is `17`, since that is what an id column with gaps is in pandas,
  `1e+05` is `100000`, `-0.0` is `0`. So it is for numbers (JSON, Parquet) and for text that looks so (CSV, JSON
  strings).
- A whole float of 2^53 or more (2^24 in 32 bits) may have lost digits, and an infinite one has: it is no exact
  id.
- A number with a fraction is the shortest decimal that reads back as the same float; a decimal is exact: `1.50`
  is `1.5`.
- A truth value is `true` or `false`, a date `2024-01-31`, a moment `2024-01-31 08:30:00`, with a `Z` behind it
  where it has a zone (in UTC).
- An object or a list is no text.
"""

import dataclasses
import decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# What Python, Arrow and Unicode call white space, a byte order mark, and the zero-width space.
BLANKS = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u200b\u2028\u2029\u202f\u205f\u3000\ufeff"
)
# Whole numbers as floats are written: with zeros after the point, or with an exponent. `1e3` alone may be part
# of a hash.
_FLOAT = r"^-?((0|[1-9][0-9]*)[.]0+|[0-9]([.][0-9]+[eE][+]?|[eE][+])[0-9]+)$"
_EXACT = {np.dtype(np.float16): 2**11, np.dtype(np.float32): 2**24, np.dtype(np.float64): 2**53}
_MOST_DIGITS = 16  # of a float that is exact


class NoText(TypeError):
    """Values of a type that has no text."""


@dataclasses.dataclass
class Texts:
    """The texts of a column.

    Attributes:
      values: binary, `[N]`; null where there is nothing, an empty text, too.
      inexact: which values are floats that may have lost digits, `[N]` bool.
      trimmed, floats, quoted: how many values had blanks around them, were whole numbers as floats, and still
        have quotes around them.
    """

    values: pa.Array
    inexact: np.ndarray
    trimmed: int = 0
    floats: int = 0
    quoted: int = 0


def of(array: pa.Array) -> Texts:
    """The texts of values of any type.

    Args:
      array: `[N]`, without a dictionary; bytes that are not UTF-8 are left as they are.

    Raises:
      NoText: if values of its type have no text.
    """
    kind = array.type
    if pa.types.is_floating(kind):
        return _of_floats(array)
    if pa.types.is_decimal(kind):
        return Texts(_of_decimals(array), np.zeros(len(array), bool))
    if pa.types.is_timestamp(kind):
        return Texts(_of_moments(array).cast(pa.binary()), np.zeros(len(array), bool))
    if (
        pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_date(kind)
        or pa.types.is_time(kind)
        or pa.types.is_null(kind)
    ):
        return Texts(array.cast(pa.string()).cast(pa.binary()), np.zeros(len(array), bool))
    if (
        pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    ):
        return _of_texts(array.cast(pa.binary()))
    raise NoText(f"values of type {kind} have no text")


def valid_utf8(array: pa.Array) -> np.ndarray:
    """Which texts are UTF-8, `[N]` bool; nothing is."""
    if _is_ascii(array):
        return np.ones(len(array), bool)
    try:
        array.cast(pa.string())
        return np.ones(len(array), bool)
    except pa.ArrowInvalid:
        pass
    # Only a block with a bad value comes here, and only its distinct values are tried.
    encoded = array.dictionary_encode()
    fine = np.ones(len(encoded.dictionary) + 1, bool)
    for index, value in enumerate(encoded.dictionary):
        try:
            value.as_py().decode("utf-8")
        except UnicodeDecodeError:
            fine[index] = False
    return fine[encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)]


def is_in(array: pa.Array, words: tuple[str, ...]) -> np.ndarray:
    """Which binary values are one of the words, none of which is empty: `[N]` bool."""
    found = np.zeros(len(array), bool)
    if array.null_count == len(array) or not words:
        return found
    encoded = [word.encode() for word in words]
    # Most values begin and end as no word does, which is a look at two bytes and no hash of all.
    ends = np.zeros((256, 256), bool)
    ends[[word[0] for word in encoded], [word[-1] for word in encoded]] = True
    first, last, _ = _ends(array)
    may = ends[first, last]
    if may.any():
        some = array.filter(pa.array(may))
        found[may] = pc.is_in(some, value_set=pa.array(encoded, pa.binary())).to_numpy(zero_copy_only=False)
    return found


def holds(array: pa.Array, characters: str) -> bool:
    """Whether any of the ASCII characters is in any of the binary values."""
    data = _bytes(array)
    if not len(data) or data.min() > ord(max(characters)):
        return False
    return any(bool((data == ord(character)).any()) for character in characters)


def as_strings(array: pa.Array) -> pa.Array:
    """Binary values as strings.

    Raises:
      pa.ArrowInvalid: if one is not UTF-8.
    """
    # A cast looks at value after value.
    return (
        array.view(pa.string())
        if pa.types.is_binary(array.type) and _is_ascii(array)
        else array.cast(pa.string())
    )


def without(array: pa.Array, mask: np.ndarray) -> pa.Array:
    """An array with nothing where the mask says so."""
    # Not by `if_else`, which gives other bytes for a part of a longer array (Arrow 18, a scalar of nothing).
    return pc.replace_with_mask(array, pa.array(mask), pa.scalar(None, array.type)) if mask.any() else array


def _of_floats(array: pa.Array) -> Texts:
    if pa.types.is_float16(array.type):
        values = array.to_numpy(zero_copy_only=False)
        limit, array = _EXACT[values.dtype], pa.array(values.astype(np.float32), from_pandas=True)
    else:
        limit = _EXACT[np.dtype(array.type.to_pandas_dtype())]
    values = array.to_numpy(zero_copy_only=False)
    nothing = np.isnan(values)
    whole = ~nothing & (values == np.floor(values))
    inexact = whole & (np.abs(values) >= limit)
    whole &= ~inexact
    digits = pa.array(np.where(whole, values, 0).astype(np.int64), mask=~whole).cast(pa.string())
    if not whole.all():
        # Python shows a large float as one; Arrow as if all its digits were known.
        fractions = pa.array(values, mask=nothing).cast(pa.string())
        if inexact.any():
            large = pa.array([repr(float(value)) for value in values[inexact]], pa.string())
            fractions = pc.replace_with_mask(fractions, pa.array(inexact), large)
        digits = pc.coalesce(digits, fractions)
    return Texts(digits.cast(pa.binary()), inexact, floats=int(whole.sum()))


def _of_decimals(array: pa.Array) -> pa.Array:
    encoded = array.dictionary_encode()
    texts: list[bytes] = []
    for value in encoded.dictionary:
        digits = format(value.as_py(), "f")
        digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
        texts.append(b"0" if digits == "-0" else digits.encode())
    return pa.array(texts, pa.binary()).take(encoded.indices)


def _of_moments(array: pa.Array) -> pa.Array:
    text = array.cast(pa.timestamp(array.type.unit)).cast(pa.string())
    text = pc.replace_substring_regex(text, r"[.]0+$", "")
    text = pc.replace_substring_regex(text, r"([.][0-9]*[1-9])0+$", r"\1")
    return pc.binary_join_element_wise(text, "Z", "") if array.type.tz else text


def _of_texts(array: pa.Array) -> Texts:
    if _is_bare(array):
        return Texts(without(array, _sizes(array) == 0), np.zeros(len(array), bool))
    first, last, sizes = _ends(array)
    trimmed = 0
    may = _MAY_BEGIN[first] | _MAY_END[last]
    if may.any():
        array, trimmed = _trimmed(array, may)
        first, last, sizes = _ends(array) if trimmed else (first, last, sizes)
    quoted = int((_QUOTE[first] & (first == last) & (sizes > 1)).sum())
    found = Texts(without(array, sizes == 0), np.zeros(len(array), bool), trimmed, quoted=quoted)
    # A text with an exponent has a point or a plus.
    if holds(array, ".+"):
        _read_floats(found)
    return found


def _trimmed(array: pa.Array, may: np.ndarray) -> tuple[pa.Array, int]:
    """Texts without blanks around them, which those of `may` may have, and how many had some."""
    some = array.filter(pa.array(may))
    fine = valid_utf8(some)
    may[np.flatnonzero(may)[~fine]] = False
    some = some.filter(pa.array(fine)).cast(pa.string())
    bare = pc.utf8_trim(some, characters=BLANKS)
    changed = pc.not_equal(some, bare).fill_null(False).to_numpy(zero_copy_only=False)
    if not changed.any():
        return array, 0
    may[np.flatnonzero(may)[~changed]] = False
    bare = bare.filter(pa.array(changed)).cast(pa.binary())
    return pc.replace_with_mask(array, pa.array(may), bare), int(changed.sum())


def _read_floats(found: Texts) -> None:
    """Gives whole numbers that are written as floats their digits."""
    mask = pc.match_substring_regex(found.values, _FLOAT).fill_null(False).to_numpy(zero_copy_only=False)
    if not mask.any():
        return
    written = found.values.filter(pa.array(mask))
    digits = pc.replace_substring_regex(written.cast(pa.string()), r"[.]0+$", "")
    odd = pc.or_(
        pc.greater_equal(pc.binary_length(digits), _MOST_DIGITS),
        pc.or_(pc.match_substring_regex(digits, "[eE]"), pc.equal(digits, "-0")),
    ).to_numpy(zero_copy_only=False)
    digits = digits.cast(pa.binary())
    lost, fractions = np.zeros(len(digits), bool), 0
    if odd.any():
        encoded = written.filter(pa.array(odd)).dictionary_encode()
        read = [_number(value.as_py()) for value in encoded.dictionary]
        indices = encoded.indices.to_numpy()
        written_so = encoded.dictionary.to_pylist()
        lost[odd] = np.array([got is None for got in read])[indices]
        fractions = int(np.array([got == text for got, text in zip(read, written_so)])[indices].sum())
        texts = [text if got is None else got for got, text in zip(read, written_so)]
        digits = pc.replace_with_mask(
            digits, pa.array(odd), pa.array(texts, pa.binary()).take(encoded.indices)
        )
    found.values = pc.replace_with_mask(found.values, pa.array(mask), digits)
    found.inexact[mask] = lost
    found.floats = int((~lost).sum()) - fractions


def _number(written: bytes) -> bytes | None:
    """The digits of a whole number written as a float, other numbers as they are; None: some are lost."""
    value = decimal.Decimal(written.decode())
    if value.adjusted() >= _MOST_DIGITS or abs(value) >= 2**53:
        return None
    return str(int(value)).encode() if value == int(value) else written


def _ends(array: pa.Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first and last byte of each binary value (0 if it is empty or nothing) and its size, `[N]` each."""
    offsets, sizes = _offsets(array), _sizes(array)
    if not sizes.any():
        return np.zeros(len(array), np.uint8), np.zeros(len(array), np.uint8), sizes
    data = np.frombuffer(array.buffers()[2], np.uint8)
    if sizes.all():
        return data[offsets[:-1]], data[offsets[1:] - 1], sizes
    first = np.where(sizes > 0, data[np.minimum(offsets[:-1], len(data) - 1)], 0)
    return first, np.where(sizes > 0, data[np.maximum(offsets[1:] - 1, 0)], 0), sizes


def _offsets(array: pa.Array) -> np.ndarray:
    return np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]


def _sizes(array: pa.Array) -> np.ndarray:
    """Of each value, 0 of nothing: `[N]`."""
    sizes = np.diff(_offsets(array))
    return np.where(array.is_valid().to_numpy(zero_copy_only=False), sizes, 0) if array.null_count else sizes


def _is_ascii(array: pa.Array) -> bool:
    data = _bytes(array)
    return not len(data) or data.max() < 128


def _is_bare(array: pa.Array) -> bool:
    """Whether no value can have blanks or quotes around it, or be a float: all is ASCII from the digits on."""
    data = _bytes(array)
    return bool(len(data)) and data.min() >= ord("0") and data.max() < 127


def _bytes(array: pa.Array) -> np.ndarray:
    """All bytes of the values."""
    if not len(array) or array.buffers()[2] is None:
        return np.empty(0, np.uint8)
    offsets = _offsets(array)
    return np.frombuffer(array.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]


def _table_of(characters: str, place: int) -> np.ndarray:
    """Which bytes are the first (0) or the last one (-1) of one of the characters: `[256]` bool."""
    table = np.zeros(256, bool)
    table[[character.encode("utf-8")[place] for character in characters]] = True
    return table


_MAY_BEGIN, _MAY_END, _QUOTE = _table_of(BLANKS, 0), _table_of(BLANKS, -1), _table_of("\"'", 0)
