"""Which words of a log stand for no value."""

import math
from typing import Annotated, Any

import pydantic

from schemas import settings


def _word(value: Any) -> Any:
    """A word as YAML may have read it: without quotes, `null` is nothing, and `0` or `7.0` a number.

    Of `no`, which YAML takes for false, and 1.50 it is not known any more how they were written: these are refused.
    """
    if value is None:
        return "null"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value % 1 == 0:
        return str(int(value))
    return value.strip() if isinstance(value, str) else value


def _words(value: Any) -> Any:
    """One word is a list of one. Behind a validator, strict validation takes no list for a tuple."""
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, str) else value


Words = Annotated[
    tuple[Annotated[str, pydantic.BeforeValidator(_word)], ...], pydantic.BeforeValidator(_words)
]


class MissingSpec(settings.Settings):
    """Words that stand for no value, as an empty field, `null` of JSON and NaN always do.

    Words are compared without blanks around them, as they are written here, in lower case and in upper
    case. A list is `ids`, with no other word in any column.

    Attributes:
      everywhere: words in any column.
      ids: words in the columns of user and item. They also make a number or a label missing, but for those
        that are numbers or labels themselves.
      user_id, item_id: further words in this one column.
    """

    everywhere: Words = ("NaN", "NULL", "<NA>", "\\N")
    ids: Words = ("NA", "N/A", "#N/A", "None", "nil", "undefined", "(null)", "(not set)", "-")
    user_id: Words = ("-1", "anonymous", "guest", "unknown")
    item_id: Words = ("-1",)

    def of_column(self, feature: str, everywhere_only: bool = False) -> tuple[str, ...]:
        """The words for a column, for those of user and item with `ids` unless told otherwise."""
        own = feature in ("user_id", "item_id") and not everywhere_only
        return spellings((*self.everywhere, *((*self.ids, *getattr(self, feature)) if own else ())))

    def of_values(self) -> tuple[str, ...]:
        """The words for columns of numbers and labels."""
        return spellings((*self.everywhere, *self.ids))


def spellings(words: tuple[str, ...]) -> tuple[str, ...]:
    """Words as they are, in lower case and in upper case; no empty one, none twice."""
    found: dict[str, None] = {}
    for word in words:
        found.update(dict.fromkeys((word, word.lower(), word.upper())))
    return tuple(word for word in found if word)


def read(value: Any) -> Any:
    """For a validator: a list is that of `ids`, alone."""
    if isinstance(value, (list, tuple, str)):
        return {"everywhere": (), "ids": value, "user_id": (), "item_id": ()}
    return value


Missing = Annotated[MissingSpec, pydantic.BeforeValidator(read)]
