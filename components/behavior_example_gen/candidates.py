"""The candidate sets of moments, as a file of the examples: which items could be seen shortly before each."""

import posixpath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tfx.dsl.io import fileio

from schemas import errors, names

# In the folder of the Examples artifact, beside its splits; only where `evaluation.candidates_within` is set.
FILE = "candidates.parquet"


def write(examples_uri: str, pairs: pa.Table) -> None:
    """Writes pairs of `moment` (int64, ms) and `item_id` (binary), each once, by moment and item."""
    # TensorFlow's files are none that Arrow writes to.
    packed = pa.BufferOutputStream()
    pq.write_table(pairs, packed)
    with fileio.open(posixpath.join(examples_uri, FILE), "wb") as stream:
        stream.write(packed.getvalue().to_pybytes())


def check(examples_uri: str) -> None:
    """Checks that examples have them.

    Raises:
      errors.InputError: if they have none.
    """
    path = posixpath.join(examples_uri, FILE)
    if not fileio.exists(path):
        raise errors.InputError(
            f"evaluation.candidates_within: {path}: no such file; the windows were cut without this setting"
        )


def read(examples_uri: str) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """The pairs of an Examples artifact.

    Returns:
      Moments `[P]` int64 (ms), rising; the places of their items in the third, `[P]`; and distinct ids, binary.

    Raises:
      errors.InputError: if the examples have none.
    """
    check(examples_uri)
    path = posixpath.join(examples_uri, FILE)
    with fileio.open(path, "rb") as stream:
        pairs = pq.read_table(pa.BufferReader(stream.read()), read_dictionary=[names.ITEM_ID])
    items = pairs.column(names.ITEM_ID).unify_dictionaries().combine_chunks()
    if isinstance(items, pa.ChunkedArray):
        items = items.chunk(0) if items.num_chunks else pa.array([], pa.binary()).dictionary_encode()
    return pairs.column(names.MOMENT).to_numpy(), items.indices.to_numpy(), items.dictionary
