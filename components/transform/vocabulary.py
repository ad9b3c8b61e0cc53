"""The vocabularies that Transform made."""

import dataclasses

import numpy as np
import tensorflow_transform as tft

from components.transform import event_fields, ops, spec
from schemas import errors, names

# What TFT writes into a vocabulary that would be empty.
NOTHING = b"49d0cd50-04bb-48c0-bc6f-5b575dce351a"


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The catalogue: row r of it has the index `r + FIRST_INDEX`.

    Attributes:
      items: ids by falling count.
      counts: `[size]` int64, how often each is a training target.
      behaviors, scenes: the known values, by falling count; empty where the log has no such column, or an empty one.
    """

    items: list[bytes]
    counts: np.ndarray
    behaviors: list[bytes]
    scenes: list[bytes]

    @property
    def size(self) -> int:
        """N, the number of real items."""
        return len(self.items)

    @classmethod
    def load(cls, transform_output: tft.TFTransformOutput) -> "Vocabulary":
        """Reads the vocabularies of a transform graph."""
        by_id = item_counts(transform_output)
        items = _read(transform_output, names.ITEM_VOCABULARY)
        return cls(
            items=items,
            counts=np.asarray([by_id[item] for item in items], np.int64),
            behaviors=_known(transform_output, names.BEHAVIOR_VOCABULARY),
            scenes=_known(transform_output, names.SCENE_VOCABULARY),
        )


def item_counts(transform_output: tft.TFTransformOutput) -> dict[bytes, int]:
    """How often each item is a training target, those that options leave out of the catalogue included."""
    pairs = [line.split(b" ", 1) for line in _read(transform_output, ops.ITEM_COUNTS_VOCABULARY)]
    return {item: int(count) for count, item in pairs}


def _known(transform_output: tft.TFTransformOutput, name: str) -> list[bytes]:
    found = _read(transform_output, name)
    return [] if found == [NOTHING] else found


def check_left(transform_output: tft.TFTransformOutput, features: spec.FeaturesSpec) -> None:
    """Checks that options leave a value of what is predicted: an item and, where they are of scenes, a scene.

    Raises:
      errors.InputError: if they leave none.
    """
    for event in (event_fields.ITEM, event_fields.SCENE):
        option = features.of(event.event)
        if option.limited and _read(transform_output, event.vocabulary) == [NOTHING]:
            raise errors.InputError(
                f"features.options.{event.event}.min_count: no value is met so often in training; found {option.min_count}"
            )


def _read(transform_output: tft.TFTransformOutput, name: str) -> list[bytes]:
    if not transform_output.vocabulary_file_by_name(name):
        return []
    return list(transform_output.vocabulary_by_name(name))
