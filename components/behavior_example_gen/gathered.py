"""What workers bring back, as bytes: JSON, and Arrow for arrays and tables. Nothing that is read can run code.

Python's pickle would be shorter, but who can write into the folder of a run, a shared bucket perhaps, could
then run code in the next process that reads it.
"""

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

_VALUE = "value.json"


def dumps(value: Any, classes: Sequence[type[Any]] = ()) -> bytes:
    """Packs plain values, lists, tuples, dicts, sets, arrays of numbers, Arrow tables, and dataclasses of these.

    Args:
      classes: the dataclasses that may be among them.

    Raises:
      TypeError: for anything else.
    """
    known = {cls: cls.__name__ for cls in classes}
    tables: list[pa.Table] = []

    def plain(item: Any) -> Any:
        if item is None or isinstance(item, (bool, int, float, str)):
            return item
        if isinstance(item, np.generic):
            return plain(item.item())
        if isinstance(item, (list, tuple, set)):
            return [type(item).__name__, *map(plain, item)]
        if isinstance(item, dict):
            return ["dict", *([plain(key), plain(entry)] for key, entry in item.items())]
        if type(item) in known:
            fields = {field.name: plain(getattr(item, field.name)) for field in dataclasses.fields(item)}
            return [known[type(item)], fields]
        if isinstance(item, np.ndarray) and item.ndim == 1:
            tables.append(pa.table({"values": pa.array(item)}))
            return ["array", len(tables) - 1]
        if isinstance(item, pa.Table):
            tables.append(item)
            return ["table", len(tables) - 1]
        raise TypeError(f"not to be brought back from a worker: {type(item).__name__}")

    text = json.dumps(plain(value))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_VALUE, text)
        for number, table in enumerate(tables):
            sink = io.BytesIO()
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            archive.writestr(f"{number}.arrow", sink.getvalue())
    return packed.getvalue()


def loads(data: bytes, classes: Sequence[type[Any]] = ()) -> Any:
    """Unpacks what `dumps` packed.

    Raises:
      KeyError: for a dataclass that is not among `classes`.
    """
    known = {cls.__name__: cls for cls in classes}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:

        def table(number: int) -> pa.Table:
            return pa.ipc.open_file(pa.BufferReader(archive.read(f"{number}.arrow"))).read_all()

        readers: dict[str, Callable[..., Any]] = {
            "list": lambda *items: [whole(item) for item in items],
            "tuple": lambda *items: tuple(whole(item) for item in items),
            "set": lambda *items: {whole(item) for item in items},
            "dict": lambda *pairs: {whole(key): whole(entry) for key, entry in pairs},
            "array": lambda number: table(number).column(0).to_numpy(),
            "table": table,
        }

        def whole(item: Any) -> Any:
            if not isinstance(item, list):
                return item
            kind, *rest = item
            if kind in readers:
                return readers[kind](*rest)
            return known[kind](**{name: whole(entry) for name, entry in rest[0].items()})

        return whole(json.loads(archive.read(_VALUE)))
