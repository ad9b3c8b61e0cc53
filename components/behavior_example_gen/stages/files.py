"""Files between the stages: Arrow, with a batch of events for each shard of users."""

import dataclasses
from collections.abc import Iterable

import pyarrow as pa
from apache_beam.io import filesystems
from tfx.dsl.io import fileio

from components.behavior_example_gen import batches


@dataclasses.dataclass(frozen=True)
class Shards:
    """Where the events of each shard are: a batch of every file, or (`apart`) all of a file of its own."""

    paths: tuple[str, ...]
    apart: bool = False

    def read(self, shard: int) -> pa.Table:
        """All events of a shard."""
        if self.apart:
            return read_batch(self.paths[shard], 0)
        return pa.concat_tables([read_batch(path, shard) for path in self.paths])


def write(path: str, text: str) -> None:
    """Writes a text file."""
    with fileio.open(path, "w") as stream:
        stream.write(text)


def write_batches(path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Writes a batch for each table, empty ones too."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with filesystems.FileSystems.create(path) as stream:
        with pa.ipc.new_file(stream, schema, options=options) as writer:
            for table in tables:
                found = table.combine_chunks().to_batches() or [
                    pa.RecordBatch.from_arrays([pa.array([], f.type) for f in schema], schema=schema)
                ]
                writer.write_batch(batches.one(found))


def read_batch(path: str, index: int) -> pa.Table:
    """The batch of a number, as `write_batches` wrote it."""
    with filesystems.FileSystems.open(path) as stream:
        return pa.Table.from_batches([pa.ipc.open_file(stream).get_batch(index)])
