"""The base of every typed piece of configuration."""

import json
import os
import re
from typing import Annotated, Any, TypeVar

import pydantic

_Settings = TypeVar("_Settings", bound="Settings")


class Settings(pydantic.BaseModel):
    """An immutable group of settings that refuses unknown keys and wrong types."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

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

    @classmethod
    def from_json(cls: type[_Settings], text: str) -> _Settings:
        """Reads what `to_json` wrote."""
        return cls.model_validate_json(text, strict=True)

    def to_json(self) -> str:
        """One line of JSON with sorted keys, so that equal settings give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


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
