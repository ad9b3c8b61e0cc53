"""Labels of a period: what has to follow a moment, declared in the experiment."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import pydantic

from components.behavior_example_gen import spec
from schemas import errors, names, settings

# What is asked of the events that follow; a label has one of these.
_KINDS: Final = ("any_of", "none_of", "next", "count", "sum")
_COUNTED: Final = ("count", "sum")
# What a match may look at besides attributes of items and of events.
_OWN = {names.ITEM_ID: "item_id", names.BEHAVIOR: "behavior", names.SCENE: "scene"}


def _several(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return (value,) if isinstance(value, (str, int)) and not isinstance(value, bool) else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_Values = Annotated[
    tuple[Annotated[spec.LogText, pydantic.BeforeValidator(_text)], ...],
    pydantic.BeforeValidator(_several),
    pydantic.Field(min_length=1),
]
# The values that an event may have, by feature: it matches if all features have one of theirs; {} is any event.
Match = dict[str, _Values]


class LabelSpec(settings.Settings):
    """When a label is 1: what of the events in [T, T + within) is asked, one of the first five settings.

    Attributes:
      any_of: one of them at least matches, as `{behavior: [buy], item_category: [toys, games]}`: an event matches
        that has one of the values of each feature; `{}` is any event.
      none_of: none of them matches; `{}`: nothing follows at all.
      next: the first of them matches.
      count: more than `over` of them match.
      sum: the name of a number (`item_price`, `context_amount`) whose total is more than `over`. An event that lacks it,
        or that of `times`, adds nothing; the run says in how many windows one does.
      where: of `sum`: which events are added up; all by default.
      times: of `sum`: another number, by which it is multiplied for each event, as a quantity.
      over: of `count` and `sum`. A total of decimals that is exactly this is not more, however binary numbers round it.
      within: how long after T, as `30d`; None is `window.future`. Where it ends after what the split may know (the
        cut that ends it; the end of the log), the label is unknown.
    """

    any_of: Match | None = None
    none_of: Match | None = None
    next: Match | None = None
    count: Match | None = None
    sum: str | None = None
    where: Match = {}
    times: str | None = None
    over: float | None = pydantic.Field(default=None, allow_inf_nan=False)
    within: spec.Duration | None = None

    @pydantic.model_validator(mode="after")
    def _check(self) -> "LabelSpec":
        asked = [name for name in _KINDS if getattr(self, name) is not None]
        if len(asked) != 1:
            raise ValueError(f"takes one of {', '.join(_KINDS)}; found {', '.join(asked) or 'none of them'}")
        if (self.kind in _COUNTED) != (self.over is not None):
            raise ValueError(
                f"{self.kind} needs over, a number"
                if self.kind in _COUNTED
                else f"over goes with {' or '.join(_COUNTED)}, found it with {self.kind}"
            )
        for name in ("where", "times"):
            if getattr(self, name) and self.kind != "sum":
                raise ValueError(f"{name} goes with sum, found it with {self.kind}")
        return self

    @property
    def kind(self) -> str:
        """Which of the five it is."""
        return next(name for name in _KINDS if getattr(self, name) is not None)

    @property
    def match(self) -> Match:
        """Which events are looked at."""
        return getattr(self, self.match_key)

    @property
    def match_key(self) -> str:
        """The setting that says so."""
        return "where" if self.kind == "sum" else self.kind

    @property
    def numbers(self) -> tuple[str, ...]:
        """The numbers that are multiplied and added up."""
        return tuple(name for name in (self.sum, self.times) if name)


def check(labels: Mapping[str, LabelSpec], columns: spec.Columns) -> None:
    """Checks that the log has what labels look at.

    Raises:
      errors.InputError: with the label, if it has not.
    """
    attributes = {
        name: attribute.type
        for name, attribute in columns.attributes().items()
        if not name.startswith(names.USER_PREFIX)
    }
    own = [_OWN[names.ITEM_ID], *(name for name in ("behavior", "scene") if getattr(columns, name))]
    texts = [*own, *(name for name, type_ in attributes.items() if type_ == spec.CATEGORICAL)]
    numbers = [name for name, type_ in attributes.items() if type_ == spec.NUMERIC]
    for label, wanted in labels.items():
        for asked, key, known, what in (
            (wanted.match, wanted.match_key, texts, "features with texts"),
            (wanted.numbers[:1], "sum", numbers, "numbers"),
            (wanted.numbers[1:], "times", numbers, "numbers"),
        ):
            unknown = [name for name in asked if name not in known]
            if unknown:
                raise errors.InputError(
                    f"window.labels.{label}.{key}: found {unknown[0]}, which is none of the {what} that log.columns has of "
                    f"an event: {', '.join(known) or 'there are none'}"
                )
