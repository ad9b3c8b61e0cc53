"""How many of the events of histories, and of their users, have values that a model does not know."""

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
    """What a column has that the model does not know; mergeable.

    Attributes:
      column: its name in an event, as `names.ITEM_ID`, or of a user.
      events: how many events of histories have a value there; of a column of users, how many of these.
      unknown: how many of them the model does not know.
      example: the value of most of these in a shard; empty if there is none.
      noun: what was counted, in the plural.
    """

    column: str
    events: int = 0
    unknown: int = 0
    example: str = ""
    noun: str = "events"

    @classmethod
    def merged(cls, parts: Iterable["Unknown"]) -> list["Unknown"]:
        """Of all shards, a column each, in their order."""
        found: dict[str, Unknown] = {}
        for part in parts:
            whole = found.setdefault(part.column, cls(part.column, noun=part.noun))
            whole.events += part.events
            whole.unknown += part.unknown
            whole.example = whole.example or part.example
        return list(found.values())

    def __str__(self) -> str:
        return (
            f"{self.column}: {self.unknown:,} of {self.events:,} {self.noun} ({self.unknown / self.events:.1%}) have a value "
            f"that the model does not know, as {self.example!r}"
        )


def vocabularies(model_dir: str, columns: Iterable[str]) -> dict[str, pa.Array]:
    """The values that a SavedModel knows, by column; nothing of columns of which it has no vocabulary.

    Args:
      model_dir: of the SavedModel.
      columns: of texts of events or users.
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
    """What the histories of a shard and their users have that a model does not know.

    Args:
      found: the histories; values that are missing are not counted.
      known: of `vocabularies`.
    """
    events = batches.Ranges(found.begin, found.lengths).indices()
    made = []
    for column, values in known.items():
        if column in found.texts:
            numbers, distinct = found.texts[column]
            made.append(
                _counted(column, np.bincount(numbers[events], minlength=len(distinct)), distinct, values)
            )
            continue
        counted = pc.value_counts(found.of_users[column].drop_null())
        distinct = counted.field("values").to_numpy(zero_copy_only=False)
        made.append(_counted(column, counted.field("counts").to_numpy(), distinct, values, "users"))
    return made


def _counted(
    column: str, counts: np.ndarray, distinct: np.ndarray, known: pa.Array, noun: str = "events"
) -> Unknown:
    """Of the values `distinct`, as often as `counts`; the empty one is none."""
    texts = pa.array(distinct, pa.binary())
    counts = np.where(pc.equal(texts, b"").to_numpy(zero_copy_only=False), 0, counts)
    unknown = np.where(pc.is_in(texts, value_set=known).to_numpy(zero_copy_only=False), 0, counts)
    example = distinct[unknown.argmax()].decode("utf-8", "replace") if unknown.any() else ""
    return Unknown(column, int(counts.sum()), int(unknown.sum()), example, noun)
