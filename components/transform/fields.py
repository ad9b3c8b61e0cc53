"""The features that Transform makes of an example for models of labels, as these have to know them."""

import dataclasses
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_transform as tft

from components.behavior_example_gen import spec as window_spec
from components.transform import spec
from schemas import kinds, names

INDEX, INDICES, VALUE = "index", "indices", "value"

# Of the history; each is a feature with INDEX_SUFFIX after Transform. The first two and the last have an index
# for each place, as `schemas.names` says.
HISTORY_ITEM = names.HISTORY_ITEM_INDEX.removesuffix(names.INDEX_SUFFIX)
HISTORY_BEHAVIOR = names.HISTORY_BEHAVIOR_INDEX.removesuffix(names.INDEX_SUFFIX)
HISTORY_SIZE = "history_size"
HISTORY_GAP = "history_gap"
HISTORY_SAME = "history_same"
HISTORY_SAME_BEHAVIOR = names.HISTORY_SAME_BEHAVIOR_INDEX.removesuffix(names.INDEX_SUFFIX)

HISTORY_SCENE = names.HISTORY_SCENE_INDEX.removesuffix(names.INDEX_SUFFIX)

BEHAVIOR_TABLE = "behavior"
# A vocabulary has the name of its table but where it has one already.
_VOCABULARIES = {
    names.ITEM_ID: names.ITEM_VOCABULARY,
    names.SCENE: names.SCENE_VOCABULARY,
    BEHAVIOR_TABLE: names.BEHAVIOR_VOCABULARY,
}

HOURS, WEEKDAYS = 24, 7
# A bucket for each power of two: events of the history up to 512, and seconds since the last one up to a
# little more than a year. The first bucket is for less than 1.
SIZE_BOUNDARIES = tuple(2**power for power in range(10))
GAP_BOUNDARIES = tuple(2**power for power in range(26))

# Where the features of each window kind are listed: modules with `fields_of` and `vocabulary_tables`.
_KINDS = {
    "exposure": "components.transform.exposure_fields",
    "period": "components.transform.period_fields",
}


@dataclasses.dataclass(frozen=True)
class Field:
    """A feature after Transform.

    Attributes:
      name: as `item_price`.
      key: of the feature: the name with INDEX_SUFFIX or VALUE_SUFFIX.
      kind: `index` is int64 `[B]`, `indices` int64 `[B, M]` with PADDING_INDEX in free places, `value`
        float32 `[B]`. PADDING_INDEX of an `index` is a missing value.
      size: rows of the embedding table with the reserved ones; 0 of a `value`.
      table: fields with the same one share their embeddings.
      sources: the raw features that it is computed from; none is one of its name.
    """

    name: str
    key: str
    kind: str
    size: int
    table: str
    sources: tuple[str, ...] = ()


class Fields:
    """Makes a list of fields, one after the other."""

    def __init__(self) -> None:
        self.made: list[Field] = []

    def index(
        self, name: str, size: int, table: str = "", kind: str = INDEX, sources: tuple[str, ...] = ()
    ) -> None:
        """Adds an `index` or `indices` with a table of so many rows, the reserved ones included."""
        self.made.append(Field(name, name + names.INDEX_SUFFIX, kind, size, table or name, sources))

    def value(self, name: str) -> None:
        """Adds a `value`."""
        self.made.append(Field(name, name + names.VALUE_SUFFIX, VALUE, 0, name))

    def attribute(
        self,
        name: str,
        attribute: window_spec.AttributeSpec,
        options: spec.FeatureSpec,
        sizes: Mapping[str, int],
    ) -> None:
        """Adds an attribute of which an example has one value, or a list where it is `multi`."""
        if attribute.type == window_spec.MULTI:
            self.index(name, rows(sizes[name]), kind=INDICES)
        elif attribute.type == window_spec.CATEGORICAL:
            self.index(name, rows(sizes[name]))
        elif options.encode == "buckets":
            self.index(name, rows(options.number_of_buckets))
        else:
            self.value(name)


def rows(values: int) -> int:
    """The rows of a table of so many values."""
    return values + names.FIRST_INDEX


def fields_of(
    window: Any, features: spec.FeaturesSpec, columns: window_spec.Columns, sizes: Mapping[str, int]
) -> tuple[Field, ...]:
    """The features of an example in an order that the settings alone decide.

    Args:
      window, features, columns: settings of the experiment.
      sizes: how many values the vocabulary of each table of `vocabulary_tables` has.
    """
    return _of_kind(window).fields_of(window, features, columns, sizes)


def vocabulary_tables(window: Any, features: spec.FeaturesSpec, columns: window_spec.Columns) -> set[str]:
    """The tables whose rows are a vocabulary."""
    return _of_kind(window).vocabulary_tables(window, features, columns)


def load_fields(
    transform_output: tft.TFTransformOutput,
    window: Any,
    features: spec.FeaturesSpec,
    columns: window_spec.Columns,
) -> tuple[Field, ...]:
    """`fields_of` with the sizes of the vocabularies of a transform graph."""
    sizes = {
        table: transform_output.vocabulary_size_by_name(vocabulary_name(table))
        for table in vocabulary_tables(window, features, columns)
    }
    return fields_of(window, features, columns, sizes)


def _of_kind(window: Any) -> Any:
    return importlib.import_module(kinds.entry(_KINDS, "window kind with fields", window.kind))


def vocabulary_name(table: str) -> str:
    """The name of a table's vocabulary in the transform graph."""
    return _VOCABULARIES.get(table, table)


def raw_inputs(fields: Iterable[Field]) -> tuple[str, ...]:
    """The raw features that fields are computed from, sorted."""
    return tuple(sorted({source for field in fields for source in field.sources or (field.name,)}))
