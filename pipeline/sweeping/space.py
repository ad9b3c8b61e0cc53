"""What a person writes of points: values of a grid, and ranges of a search."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pydantic
import yaml

from pipeline import config
from schemas import errors
from trainer import search as search_lib


def parse_grid(texts: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """`model.dim=32,64` to the values of each key.

    Raises:
      errors.InputError: for what is not of this form, or a key that makes other windows.
    """
    grid: dict[str, tuple[Any, ...]] = {}
    for text in texts:
        key, values = _key_of("--grid", text, grid)
        grid[key] = _values("--grid", text, values)
    return grid


def parse_space(texts: Sequence[str]) -> dict[str, search_lib.Range]:
    """`model.dim=16..128:log`, `model.dim=16..128:step=16` or `model.heads=1,2,4` to ranges.

    Raises:
      errors.InputError: for what is not of this form, or a key that makes other windows.
    """
    space: dict[str, search_lib.Range] = {}
    for text in texts:
        key, rest = _key_of("--space", text, space)
        try:
            space[key] = _range(text, rest)
        except pydantic.ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise errors.InputError(f"--space {text}: {message}") from error
    return space


def _range(text: str, rest: str) -> search_lib.Range:
    if ".." not in rest:
        return search_lib.Range(choices=_values("--space", text, rest))
    ends, *options = rest.split(":")
    low, high = (_value("--space", text, part) for part in ends.split("..", 1))
    log, step = "log" in options, None
    for option in options:
        name, _, value = option.partition("=")
        if name == "step":
            step = _value("--space", text, value)
        elif option not in ("log", "linear"):
            raise errors.InputError(f"--space {text}: {option!r} is none of log, linear, step=NUMBER")
    return search_lib.Range(low=low, high=high, step=step, log=log)


def _value(option: str, text: str, written: str) -> Any:
    try:
        return config.read_value(written)
    except yaml.YAMLError as error:
        raise errors.InputError(f"{option} {text}: {written!r} is not YAML") from error


def _values(option: str, text: str, written: str) -> tuple[Any, ...]:
    """Values with commas between them, of which lists have some inside."""
    found = _value(option, text, f"[{written}]")
    # As `8,16` has two values, `8,` would have an empty one.
    if written.rstrip().endswith(","):
        raise errors.InputError(f"{option} {text}: a value is missing after the last comma")
    return tuple(found)


def _key_of(option: str, text: str, known: Mapping[str, Any]) -> tuple[str, str]:
    key, equals, rest = text.partition("=")
    if not equals or not rest:
        raise errors.InputError(f"{option} takes KEY=VALUES, as model.dim=32,64; found {text!r}")
    if key == "training.seed":
        raise errors.InputError(f"{option} {text}: seeds are given with --seeds")
    try:
        search_lib.check_key(key)
    except ValueError as error:
        raise errors.InputError(f"{option} {text}: {error}") from error
    if key in known:
        raise errors.InputError(f"{option} {text}: {key} is there twice")
    return key, rest


def override(key: str, value: Any) -> str:
    """A value of a key as `config.load` takes it."""
    text = yaml.dump(value, Dumper=config.Dumper, default_flow_style=True, width=math.inf)
    return f"{key}={text.splitlines()[0]}"
