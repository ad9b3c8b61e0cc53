"""What the events of windows of a period have: one list for histories, futures, and the models that read them."""

import dataclasses

from components.behavior_example_gen import spec as window_spec
from components.transform import fields
from schemas import names


@dataclasses.dataclass(frozen=True)
class EventField:
    """One thing that each event has.

    Attributes:
      event: its name in an event, as `item_id`, `behavior` or `context_price`.
      table: fields with the same one share their embeddings.
      numeric: whether it is a number, of which the bucket is told.
    """

    event: str
    table: str
    numeric: bool = False

    @property
    def source(self) -> str:
        """The raw feature of a history."""
        return names.HISTORY_PREFIX + self.event

    @property
    def future_source(self) -> str:
        """The raw feature of what follows."""
        return names.FUTURE_PREFIX + self.event

    @property
    def name(self) -> str:
        """The name of the history's field; see `fields.Field`."""
        return names.HISTORY_PREFIX + self._short

    @property
    def history(self) -> str:
        """The feature of a history after Transform."""
        return self.name + names.INDEX_SUFFIX

    @property
    def future(self) -> str:
        """The feature of what follows after Transform."""
        return names.FUTURE_PREFIX + self._short + names.INDEX_SUFFIX

    @property
    def vocabulary(self) -> str:
        """Of its values, in the transform graph; a number has none of this name."""
        return fields.vocabulary_name(self.table)

    @property
    def _short(self) -> str:
        return fields.HISTORY_ITEM.removeprefix(names.HISTORY_PREFIX) if self == ITEM else self.event


ITEM = EventField(names.ITEM_ID, names.ITEM_ID)
BEHAVIOR = EventField(names.BEHAVIOR, fields.BEHAVIOR_TABLE)
SCENE = EventField(names.SCENE, names.SCENE)


def of_columns(columns: window_spec.Columns) -> tuple[EventField, ...]:
    """All that the events of a log have besides times, the item first; attributes by name, texts before numbers."""
    found = [ITEM]
    found += [BEHAVIOR] if columns.behavior else []
    found += [SCENE] if columns.scene else []
    return (*found, *attributes(columns))


def attributes(columns: window_spec.Columns) -> tuple[EventField, ...]:
    """The attributes of items and of the events themselves."""
    named = sorted(
        (attribute.type == window_spec.NUMERIC, name)
        for name, attribute in columns.attributes().items()
        if not name.startswith(names.USER_PREFIX)
    )
    return tuple(EventField(name, name, numeric) for numeric, name in named)
