"""The base of every typed piece of configuration."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

import pydantic
import pydantic_core

_Settings = TypeVar("_Settings", bound="Settings")
_Packed = TypeVar("_Packed", bound="Packed")
# Tensors have sizes of 32 bits.
_LARGEST = 2**31 - 1


class Reads(NamedTuple):
    """Settings that only some values of others give a meaning to.

    Attributes:
      keys: of these settings, with dots from the settings that declare it on.
      read: whether they are read by the values that there are.
      by: what they go with, as it stands in a file.
    """

    keys: tuple[str, ...]
    read: bool
    by: str


class Idle(NamedTuple):
    """A setting that nothing reads.

    Attributes:
      key: with dots.
      found: its value.
      default: the one that it has if nothing is said.
      by: see `Reads`.
    """

    key: str
    found: Any
    default: Any
    by: str

    def __str__(self) -> str:
        """What is wrong with it, in one line."""
        return f"{self.key}: found {_shown(self.found)}, which nothing reads: it goes with {self.by}"


class Settings(pydantic.BaseModel):
    """An immutable group of settings that refuses unknown keys, wrong types, and numbers that are infinite or none."""

    # Nothing is above or below what is no number: a bound that is none would ask for nothing, or for what cannot be.
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*")
    @classmethod
    def _check_whole(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Refuses whole numbers that no library takes, where a setting has no upper bound of its own."""
        if any(number > _LARGEST for number in _whole(value)):
            field = cls.model_fields[info.field_name or ""]
            if not any(hasattr(bound, "le") for bound in field.metadata):
                raise pydantic_core.PydanticKnownError("less_than_equal", {"le": _LARGEST})
        return value

    @classmethod
    def from_values(cls: type[_Settings], values: Any) -> _Settings:
        """Builds the settings from plain YAML or JSON values.

        Types are strict (`"5"` is not an integer); lists are taken for tuples.

        Raises:
          pydantic.ValidationError: naming every key that does not fit.

        >>> class Sizes(Settings):
        ...     dim: int = 64
        ...     tower: tuple[int, ...] = ()
        >>> Sizes.from_values({"tower": [32, 16]})
        Sizes(dim=64, tower=(32, 16))
        """
        return cls.model_validate_json(json.dumps(values, default=str), strict=True)

    def reads(self) -> tuple[Reads, ...]:
        """Which settings are read by some values of others alone, each with whether it is now."""
        return ()

    def idle(self) -> Iterator[Idle]:
        """The settings that nothing reads, of these and of those within them, each once."""
        said = set()
        for keys, read, by in self.reads():
            for key in keys:
                if read or key in said:
                    continue
                said.add(key)
                *parts, name = key.split(".")
                holder: Any = self
                for part in parts:
                    holder = getattr(holder, part)
                yield Idle(key, getattr(holder, name), type(holder).model_fields[name].default, by)
        for name in type(self).model_fields:
            value = getattr(self, name)
            for key, part in value.items() if isinstance(value, Mapping) else [("", value)]:
                if isinstance(part, Settings):
                    place = f"{name}.{key}" if key else name
                    yield from (one._replace(key=f"{place}.{one.key}") for one in part.idle())

    def unread(self) -> list[Idle]:
        """The settings that nothing reads and that somebody has set, as far as it is not to what they are anyway.

        Whoever reads a file refuses them: they may well be meant. Settings that a search has put together are as good with
        them, as are those of a run that is done.
        """
        return [one for one in self.idle() if one.found != one.default]

    @classmethod
    def from_json(cls: type[_Settings], text: str) -> _Settings:
        """Reads what `to_json` wrote."""
        return cls.model_validate_json(text, strict=True)

    def to_json(self) -> str:
        """One line of JSON with sorted keys, so that equal settings give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def _whole(value: Any) -> Iterator[int]:
    """The whole numbers of a setting, those in lists and mappings included; settings within it look at theirs."""
    if type(value) is int:
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _whole(one)
    elif isinstance(value, Mapping):
        yield from _whole(list(value.values()))


def _shown(value: Any) -> str:
    """A value about as a file has it."""
    if isinstance(value, Settings):
        return value.to_json()
    if isinstance(value, (bool, list, tuple, dict)):
        return json.dumps(value, default=str)
    return str(value)


def tag(entry: type[Settings], name: str) -> str:
    """The one text that a setting may be, which tells these settings from others of a union."""
    return get_args(entry.model_fields[name].annotation)[0]


class Packed(Settings):
    """Settings that travel in the `custom_config` of a TFX component, which holds texts by name."""

    def pack(self) -> dict[str, str]:
        """A text for each setting: a text as it is, all else as JSON with sorted keys; None is left out."""
        values = self.model_dump(mode="json")
        return {
            name: value if self._is_text(name) else json.dumps(value, sort_keys=True)
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def unpack(cls: type[_Packed], custom: Mapping[str, str]) -> _Packed:
        """Reads what `pack` wrote; other keys are left alone.

        Raises:
          pydantic.ValidationError: naming every key that is missing or does not fit.
        """
        return cls.from_values(
            {
                name: custom[name] if cls._is_text(name) else json.loads(custom[name])
                for name in cls.model_fields
                if name in custom
            }
        )

    @classmethod
    def _is_text(cls, name: str) -> bool:
        return cls.model_fields[name].annotation in (str, str | None)


# `$HOME/x`, `/data/${DAY}.csv`; the name of a file such as `a$b.csv` has a dollar of its own.
_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*\}|(?<![^/])\$[A-Za-z_]\w*")


def expand_home(path: str) -> str:
    """A path that starts with `~` or `~user` with that folder written out; any other as it is.

    Raises:
      ValueError: if there is no such user.
    """
    if not path.startswith("~"):
        return path
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ValueError(
            f"no user has the folder {path.split('/')[0]}; a name that starts with ~ is written ./~"
        )
    return expanded


def _path(path: str) -> str:
    variable = _VARIABLE.search(path)
    if variable:
        # What a run reads and writes is to be seen in its file, and is the same wherever it is started.
        raise ValueError(f"variables are not expanded (~ is); found {variable.group(0)} in {path!r}")
    return expand_home(path)


# Where something is: `~` is expanded, variables of the environment are refused.
Path = Annotated[str, pydantic.AfterValidator(_path)]
