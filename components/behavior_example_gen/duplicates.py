"""Events of a log that are equal to another one in all columns that are read."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen.reading import blocks
from schemas import names

_PLACES = (blocks.ROW, blocks.FILE)


def repeated(table: pa.Table, order: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Which events are equal to an earlier one of the log.

    Args:
      table: the columns of `blocks.Block`, and perhaps `blocks.FILE`: `[N]`.
      order: its rows by user and time, equal ones in the order of the log: `[N]`.
      users: a number for the user of each row: `[N]`.

    Returns:
      `[N]` bool, by the rows of the table.
    """
    found = np.zeros(table.num_rows, bool)
    moments = (names.USER_ID, names.TIMESTAMP, blocks.NANOS)
    same = np.ones(max(0, len(order) - 1), bool)
    for numbers in (users, *(table.column(name).to_numpy() for name in moments[1:])):
        ordered = numbers[order]
        same &= ordered[1:] == ordered[:-1]
    if not same.any():
        return found
    # Only events of one user at one moment may be equal.
    tied = np.append(same, False) | np.append(False, same)
    group = np.cumsum(np.append(True, ~same))[tied]
    rows = order[tied]
    rest = table.drop([name for name in (*moments, *_PLACES) if name in table.column_names]).take(
        pa.array(rows)
    )
    keys: list[np.ndarray] = [_codes(column) for column in rest.columns] + [group]
    # Stable, so that equal ones stay in the order of the log.
    by_key = np.lexsort(keys)
    equal = np.ones(len(rows) - 1, bool)
    for key in keys:
        ordered = key[by_key]
        equal &= ordered[1:] == ordered[:-1]
    found[rows[by_key[1:][equal]]] = True
    return found


def _codes(column: pa.ChunkedArray) -> np.ndarray:
    """Numbers that are equal where values are."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if pa.types.is_list(array.type):
        # A list is told by the codes of its values.
        values = pc.list_flatten(array).dictionary_encode().indices.to_numpy().astype(np.int32)
        sizes = pc.list_value_length(array).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32) * np.int32(4)
        array = pa.Array.from_buffers(
            pa.binary(), len(array), [None, pa.py_buffer(offsets), pa.py_buffer(values)]
        )
    if pa.types.is_binary(array.type):
        return array.dictionary_encode().indices.to_numpy()
    numbers = array.to_numpy(zero_copy_only=False)
    if numbers.dtype.kind == "f":
        # Nothing is equal to nothing, and 0 to -0.
        return np.where(np.isnan(numbers), np.nan, numbers.astype(np.float64) + 0.0).view(np.int64)
    return numbers
