"""The features that Transform makes of a window of a period, for models of labels; see `fields`."""

from collections.abc import Mapping

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.period import PeriodWindow
from components.transform import fields, spec
from components.transform.fields import rows
from schemas import names

# Of the history, since it is what lies before the moment, with which event so ever.
_EVENTS = (names.HISTORY_ITEM_ID, names.HISTORY_TIMESTAMP, names.MOMENT)


def fields_of(
    window: PeriodWindow,
    features: spec.FeaturesSpec,
    columns: window_spec.Columns,
    sizes: Mapping[str, int],
) -> tuple[fields.Field, ...]:
    """See `fields.fields_of`: the user, the moment, and the history, each attribute of its events a list."""
    made = fields.Fields()
    if has_user(features):
        made.index(names.USER_ID, rows(sizes[names.USER_ID]))
    for name, attribute in sorted(columns.attributes().items()):
        if name.startswith(names.USER_PREFIX):
            made.attribute(name, attribute, features.of(name), sizes)
    if features.time:
        # Without a moment it is that of the last event.
        for name, number in ((names.HOUR_OF_DAY, fields.HOURS), (names.DAY_OF_WEEK, fields.WEEKDAYS)):
            made.index(name, rows(number), sources=_EVENTS)
    if not features.history:
        return tuple(made.made)
    made.index(fields.HISTORY_ITEM, rows(sizes[names.ITEM_ID]), names.ITEM_ID, fields.INDICES, _EVENTS)
    for raw, name, table in history_texts(columns):
        made.index(name, rows(sizes[table]), table, fields.INDICES, (*_EVENTS, raw))
    for raw, name in history_numbers(columns):
        made.index(
            name, rows(features.of(name_of_event(name)).buckets), kind=fields.INDICES, sources=(*_EVENTS, raw)
        )
    made.index(fields.HISTORY_SIZE, rows(len(fields.SIZE_BOUNDARIES) + 1), sources=_EVENTS)
    made.index(fields.HISTORY_GAP, rows(len(fields.GAP_BOUNDARIES) + 1), sources=_EVENTS)
    return tuple(made.made)


def vocabulary_tables(
    window: PeriodWindow, features: spec.FeaturesSpec, columns: window_spec.Columns
) -> set[str]:
    """See `fields.vocabulary_tables`."""
    tables = {names.USER_ID} if has_user(features) else set()
    tables.update(
        name
        for name, attribute in columns.attributes().items()
        if name.startswith(names.USER_PREFIX) and attribute.type == window_spec.CATEGORICAL
    )
    if features.history:
        tables.update((names.ITEM_ID, *(table for _, _, table in history_texts(columns))))
    return tables


def has_user(features: spec.FeaturesSpec) -> bool:
    """Whether the user's id is a feature."""
    return names.USER_ID in features.ids


def history_texts(columns: window_spec.Columns) -> list[tuple[str, str, str]]:
    """The raw feature, the field and the table of what events have besides items: behaviours, scenes, attributes."""
    found = []
    if columns.behavior:
        found.append((names.HISTORY_BEHAVIOR, fields.HISTORY_BEHAVIOR, fields.BEHAVIOR_TABLE))
    if columns.scene:
        found.append((names.HISTORY_SCENE, fields.HISTORY_SCENE, names.SCENE))
    return found + [
        (name, name, name_of_event(name)) for name in _of_events(columns, window_spec.CATEGORICAL)
    ]


def history_numbers(columns: window_spec.Columns) -> list[tuple[str, str]]:
    """The raw feature and the field of the numbers of events."""
    return [(name, name) for name in _of_events(columns, window_spec.NUMERIC)]


def name_of_event(name: str) -> str:
    """What an attribute of an event is called in the experiment: its feature without `history_`."""
    return name.removeprefix(names.HISTORY_PREFIX)


def _of_events(columns: window_spec.Columns, type_: str) -> list[str]:
    return sorted(
        names.HISTORY_PREFIX + name
        for name, attribute in columns.attributes().items()
        if attribute.type == type_ and not name.startswith(names.USER_PREFIX)
    )
