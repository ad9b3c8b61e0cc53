"""The features that Transform makes of a window of a period, for models of labels; see `fields`."""

from collections.abc import Mapping

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.period import PeriodWindow
from components.transform import event_fields, fields, spec
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
    for event in events_of(features, columns):
        number = features.of(event.event).number_of_buckets if event.numeric else sizes[event.table]
        sources = _EVENTS if event.source in _EVENTS else (*_EVENTS, event.source)
        made.index(event.name, rows(number), event.table, fields.INDICES, sources)
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
        tables.update(event.table for event in events_of(features, columns) if not event.numeric)
    return tables


def events_of(
    features: spec.FeaturesSpec, columns: window_spec.Columns
) -> tuple[event_fields.EventField, ...]:
    """What of the history's events are features: all but the scene, where `features` leaves it out."""
    found = event_fields.of_columns(columns)
    return found if features.scene else tuple(event for event in found if event != event_fields.SCENE)


def has_user(features: spec.FeaturesSpec) -> bool:
    """Whether the user's id is a feature."""
    return names.USER_ID in features.ids
