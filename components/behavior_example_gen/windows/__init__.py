"""The window kinds, by name. A kind can be added before the type of an experiment is made from them."""

import json
from typing import Annotated, Any, Union

import pydantic

from components.behavior_example_gen.windows import exposure, kind, next, period
from schemas import kinds

KINDS: dict[str, kind.Kind[Any]] = {
    "next": next.Next(),
    "period": period.Period(),
    "exposure": exposure.Exposure(),
}


def get(name: str) -> kind.Kind[Any]:
    """The window kind of a name.

    Raises:
      errors.InputError: if there is none.
    """
    return kinds.entry(KINDS, "window kind", name)


def read(text: str) -> Any:
    """The settings of a window from the JSON text that their `to_json` gives."""
    return get(json.loads(text)["kind"]).settings.from_json(text)


def any_window() -> Any:
    """The type of the settings of any kind, for pydantic: as many as there are now."""
    tagged = tuple(Annotated[entry.settings, pydantic.Tag(name)] for name, entry in KINDS.items())
    return Annotated[Union[tagged], pydantic.Discriminator(_kind)]  # noqa: UP007  of as many as there are


def _kind(value: object) -> object:
    if isinstance(value, dict):
        return value.get("kind", kinds.DEFAULT_KIND)
    return getattr(value, "kind", None)
