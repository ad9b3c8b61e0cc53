"""What a user of Footfall chooses apart: how examples are cut from the log, and what is learnt from them.

A *window kind* and an *objective* are independent. What each means in a room of the house (Transform, the
Trainer, a server, ...) is in that room's registry, under the same name.
"""

import dataclasses
import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import TypeVar

from schemas import errors, names

_Entry = TypeVar("_Entry")


@dataclasses.dataclass(frozen=True)
class WindowKind:
    """How examples are cut from the log.

    Attributes:
      name: as in `window.kind`.
      noun: what its examples are called, in the plural.
      user, item, time: the features that, together, tell its examples apart.
      per_place: features after Transform that have a value for each place of a window, and lose those of the
        padding where that is cut off.
    """

    name: str
    noun: str
    user: str
    item: str
    time: str
    per_place: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """The features that, together, tell its examples apart."""
        return self.user, self.item, self.time


@dataclasses.dataclass(frozen=True)
class Objective:
    """What is learnt, measured, gated and answered.

    Attributes:
      name: as models name it.
      metric: by which models are chosen and compared where none is named.
    """

    name: str
    metric: str


WINDOW_KINDS = {
    kind.name: kind
    for kind in (
        WindowKind(
            "next",
            "windows",
            names.USER_ID,
            names.TARGET_ITEM_ID,
            names.TARGET_TIMESTAMP,
            per_place=names.HISTORY_PLACES,
        ),
        WindowKind(
            "period",
            "periods",
            names.USER_ID,
            names.TARGET_ITEM_ID,
            names.MOMENT,
            per_place=(*names.HISTORY_PLACES, names.HISTORY_SECONDS),
        ),
        WindowKind(
            "exposure",
            "exposures",
            names.USER_ID,
            names.ITEM_ID,
            names.TIMESTAMP,
            per_place=(*names.HISTORY_PLACES, names.HISTORY_SAME_BEHAVIOR_INDEX),
        ),
    )
}
OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("ranking", "ndcg@10"),
        Objective("labels", "auc"),
        Objective("user_embedding", "neighbor_agreement"),
    )
}


# Of experiments and runs that name none.
DEFAULT_KIND = "next"


def window_kind(name: str) -> WindowKind:
    """The window kind of a name.

    Raises:
      errors.InputError: if there is none.

    >>> window_kind("exposure").key
    ('user_id', 'item_id', 'timestamp')
    """
    return entry(WINDOW_KINDS, "window kind", name)


def objective(name: str) -> Objective:
    """The objective of a name.

    Raises:
      errors.InputError: if there is none.
    """
    return entry(OBJECTIVES, "objective", name)


def entry(entries: Mapping[str, _Entry], what: str, name: str) -> _Entry:
    """The entry of a registry, of this module or of a room.

    Args:
      entries: by name.
      what: they are, for the message.
      name: of the wanted one.

    Raises:
      errors.InputError: naming those that there are.
    """
    if name not in entries:
        raise errors.InputError(f"no {what} is named {name!r}; there are {', '.join(entries)}")
    return entries[name]


def objective_module(modules: Mapping[str, str], name: str) -> ModuleType:
    """The module of an objective, of a room whose registry has names so that TensorFlow is imported late.

    Raises:
      errors.InputError: if there is none.
    """
    return importlib.import_module(entry(modules, "objective", name))
