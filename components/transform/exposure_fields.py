"""The features that Transform makes of an exposure; see `fields`."""

from collections.abc import Mapping

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.transform import fields, spec
from components.transform.fields import rows
from schemas import names

# How often the exposed item is in the history; the last bucket is for so often and more.
SAME_MOST = 3


def fields_of(
    window: ExposureWindow,
    features: spec.FeaturesSpec,
    columns: window_spec.Columns,
    sizes: Mapping[str, int],
) -> tuple[fields.Field, ...]:
    """See `fields.fields_of`."""
    made = fields.Fields()
    for id_name in features.ids:
        made.index(id_name, rows(sizes[id_name]))
    if has_scene(features, columns):
        made.index(names.SCENE, rows(sizes[names.SCENE]))
    for name, attribute in sorted(columns.attributes().items()):
        made.attribute(name, attribute, features.of(name), sizes)
    if features.time:
        made.index(names.HOUR_OF_DAY, rows(fields.HOURS), sources=(names.TIMESTAMP,))
        made.index(names.DAY_OF_WEEK, rows(fields.WEEKDAYS), sources=(names.TIMESTAMP,))
    if has_history(window, features):
        # Of the history, since it is what lies before the exposure.
        events: tuple[str, ...] = (names.HISTORY_ITEM_ID, names.HISTORY_TIMESTAMP, names.TIMESTAMP)
        made.index(fields.HISTORY_ITEM, rows(sizes[names.ITEM_ID]), names.ITEM_ID, fields.INDICES, events)
        made.index(fields.HISTORY_SIZE, rows(len(fields.SIZE_BOUNDARIES) + 1), sources=events)
        made.index(fields.HISTORY_GAP, rows(len(fields.GAP_BOUNDARIES) + 1), sources=events)
        made.index(fields.HISTORY_SAME, rows(SAME_MOST + 1), sources=(names.ITEM_ID, *events))
        if columns.behavior:
            events = (*events, names.HISTORY_BEHAVIOR)
            for table, sources in (
                (fields.HISTORY_BEHAVIOR, events),
                (fields.HISTORY_SAME_BEHAVIOR, (names.ITEM_ID, *events)),
            ):
                size = rows(sizes[fields.BEHAVIOR_TABLE])
                made.index(table, size, fields.BEHAVIOR_TABLE, fields.INDICES, sources)
    return tuple(made.made)


def vocabulary_tables(
    window: ExposureWindow, features: spec.FeaturesSpec, columns: window_spec.Columns
) -> set[str]:
    """See `fields.vocabulary_tables`."""
    tables: set[str] = set(features.ids)
    tables.update(n for n, a in columns.attributes().items() if a.type != window_spec.NUMERIC)
    if has_scene(features, columns):
        tables.add(names.SCENE)
    if has_history(window, features):
        tables.add(names.ITEM_ID)
        if columns.behavior:
            tables.add(fields.BEHAVIOR_TABLE)
    return tables


def has_scene(features: spec.FeaturesSpec, columns: window_spec.Columns) -> bool:
    """Whether the scene is a feature."""
    return features.scene and columns.scene is not None


def has_history(window: ExposureWindow, features: spec.FeaturesSpec) -> bool:
    """Whether the history is one."""
    return features.history and window.history > 0
