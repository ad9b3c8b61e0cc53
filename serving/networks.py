"""What a model's network of users is, as a file beside its SavedModel tells, and how it differs from another one."""

import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from schemas import errors, figures
from serving import export

# Beside a SavedModel: the settings of its model, and of what its network of users is, which its weights do not tell.
SETTINGS = posixpath.join(export.EXTRA, "model.json")
# What of the data the network is of, beside the settings.
NETWORK = "network"
_COLUMNS, _NUMBERS, _PAST, _LENGTH = "columns", "numbers", "past_seconds", "length"


def told(saved: str) -> dict[str, Any]:
    """What is written beside a SavedModel; nothing of a version before there was such a file."""
    path = posixpath.join(saved, SETTINGS)
    if not tf.io.gfile.exists(path):
        return {}
    with tf.io.gfile.GFile(path) as stream:
        return json.loads(stream.read())


def described(
    columns: Sequence[str], numbers: Mapping[str, Mapping[str, Any]], past_seconds: float, length: int | None
) -> dict[str, Any]:
    """What a network is of, as JSON: of other events, or of more or less of the past, it is another one.

    The vocabularies are not in it: these may have changed.

    Args:
      columns: what an event has.
      numbers: of `buckets`, of those that are numbers.
      past_seconds: how far a history reaches back.
      length: of a window, where weights are of it.
    """
    return {
        _COLUMNS: list(columns),
        _NUMBERS: {name: dict(of) for name, of in numbers.items()},
        _PAST: past_seconds,
        _LENGTH: length,
    }


def buckets(number: int, boundaries: Sequence[float] | None) -> dict[str, Any]:
    """Which buckets a number has: as many, or, where a setting says them, those with these boundaries."""
    return {"buckets": number} if boundaries is None else {"boundaries": list(boundaries)}


def differences(asked: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """What of a pretrained network is otherwise than a training asks, each with the setting.

    Args:
      asked: the settings that have to be the same and, as `NETWORK`, what `described` gives.
      before: of `told`; what it does not tell is not known, and no difference.
    """
    found = [
        f"model.{name} {_shown(before[name])}, found {_shown(own)}"
        for name, own in asked.items()
        if name != NETWORK and name in before and before[name] != own
    ]
    theirs, now = before.get(NETWORK), asked[NETWORK]
    if theirs is None:
        # Of a version that did not tell.
        return found
    if theirs[_COLUMNS] != now[_COLUMNS]:
        have, wanted = (", ".join(of[_COLUMNS]) for of in (theirs, now))
        found.append(f"log.columns whose events have {have}, found {wanted}")
    for name in theirs[_COLUMNS]:
        have, wanted = (of[_NUMBERS].get(name) for of in (theirs, now))
        if name in now[_COLUMNS] and have != wanted:
            found.append(f"features.options.{name} {_options(have)}, found {_options(wanted)}")
    if theirs[_PAST] != now[_PAST]:
        have, wanted = (figures.duration(of[_PAST]) for of in (theirs, now))
        found.append(f"window.past {have}, found {wanted}")
    # Which a version before did not tell, and only one of two encoders may be of.
    lengths = (theirs.get(_LENGTH), now[_LENGTH])
    if None not in lengths and lengths[0] != lengths[1]:
        found.append(f"window.length {lengths[0]} (with encoder: causal), found {lengths[1]}")
    return found


def check(saved: str, asked: Mapping[str, Any]) -> None:
    """Refuses a pretrained network that differs from what a training asks.

    Args:
      saved: the folder of its SavedModel.
      asked: see `differences`.

    Raises:
      errors.ModelError: with all that differs, in one line.
    """
    found = differences(asked, told(saved))
    if found:
        raise errors.ModelError(
            f"model.base_model: {saved} was pretrained with {'; '.join(found)}: the same has to be set here"
        )


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _options(of: Mapping[str, Any] | None) -> str:
    if of is None:
        return "no number"
    return "{" + ", ".join(f"{key}: {json.dumps(value)}" for key, value in of.items()) + "}"
