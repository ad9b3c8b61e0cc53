"""How many of the events of histories have values that a model does not know."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from components.behavior_example_gen import batches
from components.transform import event_fields, fields, vocabulary
from pipeline.batch_inference import histories
from schemas import names

_TABLES = {names.BEHAVIOR: event_fields.BEHAVIOR.table}


@dataclasses.dataclass
class Unknown:
    """What a column of events has that the model does not know; mergeable.

    Attributes:
      column: its name in an event, as `names.ITEM_ID`.
      events: how many events of histories have a value there.
      unknown: how many of them have one that the model does not know.
      example: the value of most of these in a shard; empty if there is none.
    """

    column: str
    events: int = 0
    unknown: int = 0
    example: str = ""

    @classmethod
    def merged(cls, parts: Iterable["Unknown"]) -> list["Unknown"]:
        """Of all shards, a column each, in their order."""
        found: dict[str, Unknown] = {}
        for part in parts:
            whole = found.setdefault(part.column, cls(part.column))
            whole.events += part.events
            whole.unknown += part.unknown
            whole.example = whole.example or part.example
        return list(found.values())

    def __str__(self) -> str:
        return (
            f"{self.column}: {self.unknown:,} of {self.events:,} events ({self.unknown / self.events:.1%}) have a value "
            f"that the model does not know, as {self.example!r}"
        )


def vocabularies(model_dir: str, columns: Iterable[str]) -> dict[str, pa.Array]:
    """The values that a SavedModel knows, by column; nothing of columns of which it has no vocabulary.

    Args:
      model_dir: of the SavedModel.
      columns: of texts of events.
    """
    from trainer import warm_start

    found = {}
    for column in columns:
        name = fields.vocabulary_name(_TABLES.get(column, column))
        values = warm_start.vocabulary_of(model_dir, name)
        # A column that was empty in training has TFT's word for nothing.
        if values is not None and values != [vocabulary.NOTHING]:
            found[column] = pa.array(values, pa.binary())
    return found


def count(found: histories.Histories, known: Mapping[str, pa.Array]) -> list[Unknown]:
    """What the histories of a shard have that a model does not know.

    Args:
      found: the histories; values that are missing are not counted.
      known: of `vocabularies`.
    """
    events = batches.Ranges(found.begin, found.lengths).indices()
    made = []
    for column, values in known.items():
        numbers, distinct = found.texts[column]
        texts = pa.array(distinct, pa.binary())
        counts = np.bincount(numbers[events], minlength=len(distinct))
        counts[pc.equal(texts, b"").to_numpy(zero_copy_only=False)] = 0
        unknown = np.where(pc.is_in(texts, value_set=values).to_numpy(zero_copy_only=False), 0, counts)
        example = distinct[unknown.argmax()].decode("utf-8", "replace") if unknown.any() else ""
        made.append(Unknown(column, int(counts.sum()), int(unknown.sum()), example))
    return made
