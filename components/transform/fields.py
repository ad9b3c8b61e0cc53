"""The features that Transform makes of an exposure, as a model has to know them."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

import tensorflow_transform as tft

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.transform import spec
from schemas import names

INDEX, INDICES, VALUE = "index", "indices", "value"

# Of the history; each is a feature with INDEX_SUFFIX after Transform. The first two and the last have an index
# for each place, as `schemas.names` says.
HISTORY_ITEM = names.HISTORY_ITEM_INDEX.removesuffix(names.INDEX_SUFFIX)
HISTORY_BEHAVIOR = names.HISTORY_BEHAVIOR_INDEX.removesuffix(names.INDEX_SUFFIX)
HISTORY_SIZE = "history_size"
HISTORY_GAP = "history_gap"
HISTORY_SAME = "history_same"
HISTORY_SAME_BEHAVIOR = names.HISTORY_SAME_BEHAVIOR_INDEX.removesuffix(names.INDEX_SUFFIX)

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
# How often the exposed item is in the history; the last bucket is for so often and more.
SAME_MOST = 3

# What derived features are computed from.
_SOURCES = {
    names.HOUR_OF_DAY: (names.TIMESTAMP,),
    names.DAY_OF_WEEK: (names.TIMESTAMP,),
    HISTORY_ITEM: (names.HISTORY_ITEM_ID,),
    HISTORY_BEHAVIOR: (names.HISTORY_ITEM_ID, names.HISTORY_BEHAVIOR),
    HISTORY_SIZE: (names.HISTORY_ITEM_ID,),
    HISTORY_GAP: (names.TIMESTAMP, names.HISTORY_ITEM_ID, names.HISTORY_TIMESTAMP),
    HISTORY_SAME: (names.ITEM_ID, names.HISTORY_ITEM_ID),
    HISTORY_SAME_BEHAVIOR: (names.ITEM_ID, names.HISTORY_ITEM_ID, names.HISTORY_BEHAVIOR),
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
    """

    name: str
    key: str
    kind: str
    size: int
    table: str


def fields_of(
    window: ExposureWindow,
    features: spec.FeaturesSpec,
    columns: window_spec.Columns,
    sizes: Mapping[str, int],
) -> tuple[Field, ...]:
    """The features of an exposure in an order that the settings alone decide.

    Args:
      window, features, columns: settings of the experiment.
      sizes: how many values the vocabulary of each table of `vocabulary_tables` has.
    """

    def rows(values: int) -> int:
        return values + names.FIRST_INDEX

    fields: list[Field] = []

    def index(name: str, size: int, table: str = "", kind: str = INDEX) -> None:
        fields.append(Field(name, name + names.INDEX_SUFFIX, kind, size, table or name))

    for id_name in features.ids:
        index(id_name, rows(sizes[id_name]))
    if has_scene(features, columns):
        index(names.SCENE, rows(sizes[names.SCENE]))
    for name, attribute in sorted(columns.attributes().items()):
        options = features.of(name)
        if attribute.type == window_spec.MULTI:
            index(name, rows(sizes[name]), kind=INDICES)
        elif attribute.type == window_spec.CATEGORICAL:
            index(name, rows(sizes[name]))
        elif options.encode == "buckets":
            index(name, rows(options.buckets))
        else:
            fields.append(Field(name, name + names.VALUE_SUFFIX, VALUE, 0, name))
    if features.time:
        index(names.HOUR_OF_DAY, rows(HOURS))
        index(names.DAY_OF_WEEK, rows(WEEKDAYS))
    if has_history(window, features):
        index(HISTORY_ITEM, rows(sizes[names.ITEM_ID]), names.ITEM_ID, INDICES)
        index(HISTORY_SIZE, rows(len(SIZE_BOUNDARIES) + 1))
        index(HISTORY_GAP, rows(len(GAP_BOUNDARIES) + 1))
        index(HISTORY_SAME, rows(SAME_MOST + 1))
        if columns.behavior:
            for table in (HISTORY_BEHAVIOR, HISTORY_SAME_BEHAVIOR):
                index(table, rows(sizes[BEHAVIOR_TABLE]), BEHAVIOR_TABLE, INDICES)
    return tuple(fields)


def load_fields(
    transform_output: tft.TFTransformOutput,
    window: ExposureWindow,
    features: spec.FeaturesSpec,
    columns: window_spec.Columns,
) -> tuple[Field, ...]:
    """`fields_of` with the sizes of the vocabularies of a transform graph."""
    sizes = {
        table: transform_output.vocabulary_size_by_name(vocabulary_name(table))
        for table in vocabulary_tables(window, features, columns)
    }
    return fields_of(window, features, columns, sizes)


def vocabulary_tables(
    window: ExposureWindow, features: spec.FeaturesSpec, columns: window_spec.Columns
) -> set[str]:
    """The tables whose rows are a vocabulary."""
    tables: set[str] = set(features.ids)
    tables.update(n for n, a in columns.attributes().items() if a.type != window_spec.NUMERIC)
    if has_scene(features, columns):
        tables.add(names.SCENE)
    if has_history(window, features):
        tables.add(names.ITEM_ID)
        if columns.behavior:
            tables.add(BEHAVIOR_TABLE)
    return tables


def vocabulary_name(table: str) -> str:
    """The name of a table's vocabulary in the transform graph."""
    return _VOCABULARIES.get(table, table)


def has_scene(features: spec.FeaturesSpec, columns: window_spec.Columns) -> bool:
    """Whether the scene is a feature."""
    return features.scene and columns.scene is not None


def has_history(window: ExposureWindow, features: spec.FeaturesSpec) -> bool:
    """Whether the history is one."""
    return features.history and window.history > 0


def raw_inputs(keys: Iterable[str]) -> tuple[str, ...]:
    """The raw features that transformed ones are computed from, sorted.

    Args:
      keys: of fields.
    """
    suffix = re.compile(f"({names.INDEX_SUFFIX}|{names.VALUE_SUFFIX})$")
    bare = [suffix.sub("", key) for key in keys]
    return tuple(sorted({source for name in bare for source in _SOURCES.get(name, (name,))}))
