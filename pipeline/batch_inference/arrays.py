"""Embeddings as two NumPy files, half as large as floats: the form in which the RecSys Challenge 2025 takes them."""

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io import filesystems

from pipeline.batch_inference import questions, shard

# Ids `[U]`, int64 where all are whole numbers, else text; and embeddings `[U, D]` float16.
IDS, EMBEDDINGS = "client_ids.npy", "embeddings.npy"
_LARGEST = float(np.finfo(np.float16).max)


def write(paths: Sequence[str], folder: str, users: int) -> None:
    """Writes both files into a folder that is there, a group of rows at a time.

    Values that are too large for float16 become the largest ones it has.

    Args:
      paths: of Parquet files of `shard.rows` with embeddings, with as many users in all.
      folder: where they go.
      users: U.
    """
    with filesystems.FileSystems.open(paths[0]) as part:
        width = pq.read_schema(part).field(questions.EMBEDDING).type.list_size
    numbers = all(_whole_numbers(group.column(shard.USER_ID)) for group in _groups(paths, shard.USER_ID))
    longest = 1
    if not numbers:
        groups = (group.column(shard.USER_ID) for group in _groups(paths, shard.USER_ID))
        longest = max(pc.max(pc.utf8_length(ids)).as_py() or 1 for ids in groups)
    kind = np.dtype(np.int64) if numbers else np.dtype(f"<U{longest}")
    with (
        filesystems.FileSystems.create(posixpath.join(folder, IDS)) as ids,
        filesystems.FileSystems.create(posixpath.join(folder, EMBEDDINGS)) as embeddings,
    ):
        _header(ids, kind, [users])
        _header(embeddings, np.dtype(np.float16), [users, width])
        for group in _groups(paths, shard.USER_ID, questions.EMBEDDING):
            ids.write(np.array(group.column(shard.USER_ID).to_pylist()).astype(kind).tobytes())
            vectors = group.column(questions.EMBEDDING).combine_chunks()
            if isinstance(vectors, pa.ChunkedArray):
                vectors = pa.concat_arrays(vectors.chunks)
            flat = np.clip(vectors.flatten().to_numpy(), -_LARGEST, _LARGEST)
            embeddings.write(flat.astype(np.float16).tobytes())


def _whole_numbers(ids: Any) -> bool:
    """Whether ids are whole numbers that say the same as text: without a sign or zeros in front."""
    plain = pc.match_substring_regex(ids, r"^(0|[1-9][0-9]{0,17})$")
    return bool(pc.all(plain).as_py())


def _groups(paths: Sequence[str], *columns: str) -> Iterator[pa.Table]:
    for path in paths:
        with filesystems.FileSystems.open(path) as part:
            file = pq.ParquetFile(part)
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, list(columns))


def _header(stream: Any, kind: np.dtype, shape: Sequence[int]) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(stream, described)
