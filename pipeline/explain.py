"""What pydantic finds wrong with an experiment, in Footfall's words: where, what was found, what is allowed."""

import difflib
import json
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydantic

from components.behavior_example_gen import windows

# Parts of which there are several kinds, and the key that tells these apart.
_KINDS = {"model": "name", "loss": "name", "loop": "name", "retrieval": "name", "window": "kind"}
_SHOWN = 80
_NUMBER_OF_YAML = re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_:]*(\.[0-9_]*)?)")
_DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*)?")
_REGION = "takes a region of Vertex AI, as europe-west4"
_PATTERNS = {
    "name": "takes lower-case letters, digits and -, a letter or digit first, at most 63 of them",
    "window.steps": "takes letters, digits and _",
    "push.endpoint.name": "takes lower-case letters, digits and -, a letter first and no - last, at most 63 of them",
    "cluster.trainer_job.region": _REGION,
    "push.endpoint.region": _REGION,
    "push.endpoint.repository": "takes a repository of Artifact Registry, as europe-west4-docker.pkg.dev/PROJECT/REPOSITORY",
    "push.endpoint.accelerator": "takes a type of Vertex AI's, as NVIDIA_TESLA_T4",
}


def _list_of(context: Mapping[str, Any], given: Any) -> str:
    one = given if isinstance(given, (str, int, float)) and not isinstance(given, bool) else None
    return f"takes a list, as [{'...' if one is None else one}]"


def _decimal(given: Any) -> str:
    """That a number is decimal, where it is one of another kind to YAML 1.1: 00123, 0x1F, 12:30, 1_000 or +5."""
    other = isinstance(given, str) and _NUMBER_OF_YAML.fullmatch(given) and not _DECIMAL.fullmatch(given)
    return ", of decimal digits alone, as 1000" if other else ""


def _short(context: Mapping[str, Any], given: Any) -> str:
    least = context["min_length"]
    return f"needs at least {least} value{'s' if least > 1 else ''}"


def bound(number: float) -> str:
    """With all digits where it is whole."""
    return str(number) if isinstance(number, int) else f"{number:g}"


# What each kind of finding asks for, by pydantic's name for it.
_WANTED: dict[str, Callable[[Mapping[str, Any], Any], str]] = {
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float"), lambda c, v: "takes a whole number" + _decimal(v)
    ),
    **dict.fromkeys(("int_parsing_size",), lambda c, v: "takes a smaller whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), lambda c, v: "takes a number" + _decimal(v)),
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda c, v: "takes true or false"),
    "finite_number": lambda c, v: "takes a finite number",
    "string_type": lambda c, v: "takes text" + (", in quotes" if isinstance(v, (int, float)) else ""),
    "string_unicode": lambda c, v: "takes text of whole Unicode characters",
    "string_too_short": lambda c, v: (
        f"needs at least {c['min_length']} character{'s' if c['min_length'] > 1 else ''}"
    ),
    "string_too_long": lambda c, v: f"takes at most {c['max_length']} characters",
    **dict.fromkeys(("tuple_type", "list_type", "set_type"), _list_of),
    "dict_type": lambda c, v: "takes keys with values, as {key: value}",
    "greater_than": lambda c, v: f"must be above {bound(c['gt'])}",
    "greater_than_equal": lambda c, v: f"must be at least {bound(c['ge'])}",
    "less_than": lambda c, v: f"must be below {bound(c['lt'])}",
    "less_than_equal": lambda c, v: f"must be at most {bound(c['le'])}",
    "too_short": _short,
    "too_long": lambda c, v: f"takes at most {c['max_length']} values",
    "none_required": lambda c, v: "takes null alone",
}


def lines(error: pydantic.ValidationError, root: type[pydantic.BaseModel]) -> list[str]:
    """The findings, each in one line that starts with the key as it stands in the file.

    Args:
      error: of validating `root`.
      root: the settings, as `config.Experiment` or `spec.LogSpec`.
    """
    # What has no default of its own follows from what is wrong before it.
    return [
        _line(found, root)
        for found in error.errors(include_url=False)
        if found["type"] != "default_factory_not_called"
    ]


def _line(found: Mapping[str, Any], root: type[pydantic.BaseModel]) -> str:
    location, kind, given = found["loc"], found["type"], found["input"]
    key = ".".join(str(part) for part in without_tags(location)) or "(file)"
    context = found.get("ctx") or {}
    if kind == "extra_forbidden":
        allowed = _keys_at(location[:-1], root)
        return f"{key}: unknown key; {_near(str(location[-1]), allowed)}allowed: {', '.join(allowed)}"
    if kind == "missing":
        return f"{key}: missing"
    if kind.startswith("union_tag") or (kind.endswith("_type") and location in ((part,) for part in _KINDS)):
        return _kind(key, given, _allowed(location, context, root))
    if kind == "literal_error":
        allowed = _quoted(context["expected"])
        return f"{key}: must be one of {', '.join(allowed)}{_null(location, root)}; {_near(given, allowed)}found {_shown(given)}"
    if kind in ("model_type", "model_attributes_type", "dataclass_type"):
        return f"{key}: takes keys: {', '.join(_keys_at(location, root))}; found {_shown(given)}"
    if kind == "string_pattern_mismatch":
        plain = ".".join(part for part in without_tags(location) if isinstance(part, str))
        return f"{key}: {_PATTERNS.get(plain, 'does not fit ' + context['pattern'])}; found {_shown(given)}"
    if kind in _WANTED:
        return f"{key}: {_WANTED[kind](context, given)}{_null(location, root)}; found {_shown(given)}"
    message = found["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    # What is wrong with several settings together says itself which of them; the whole that they are in tells nothing.
    said = "found" in message or isinstance(given, Mapping)
    # What is wrong with several parts together begins with the key of one of them.
    named = not location and re.split(r"[^a-z_]", message, maxsplit=1)[0] in root.model_fields
    return ("" if named else f"{key}: ") + message + ("" if said else f"; found {_shown(given)}")


def _kind(key: str, given: Any, allowed: Sequence[str]) -> str:
    """Of a part that has no kind, or one that there is not."""
    tag = _KINDS[key]
    if not isinstance(given, Mapping):
        hint = _near(given, allowed, f"{key}: {{{tag}: ", "}")
        return f"{key}: takes keys, first {tag} ({', '.join(allowed)}); {hint}found {_shown(given)}"
    if given.get(tag) is None:
        return f"{key}.{tag}: missing; allowed: {', '.join(allowed)}"
    return f"{key}.{tag}: must be one of {', '.join(allowed)}; {_near(given[tag], allowed)}found {_shown(given[tag])}"


def _allowed(
    location: tuple[Any, ...], context: Mapping[str, Any], root: type[pydantic.BaseModel]
) -> list[str]:
    if location[0] == "window":
        return list(windows.KINDS)
    if "expected_tags" in context:
        return _quoted(context["expected_tags"])
    return [_tag_of(option) for option in typing.get_args(root.model_fields[location[0]].annotation)]


def _tag_of(option: type[pydantic.BaseModel]) -> str:
    return typing.get_args(option.model_fields["name"].annotation)[0]


def _quoted(text: str) -> list[str]:
    return [part.strip("'") for part in re.findall(r"'[^']*'|[^\s,']+", text) if part != "or"]


def _near(given: Any, allowed: Sequence[str], before: str = "", after: str = "") -> str:
    near = difflib.get_close_matches(str(given).lower(), allowed, 1)
    return f"did you mean {before}{near[0]}{after}? " if near else ""


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _null(location: tuple[Any, ...], root: type[pydantic.BaseModel]) -> str:
    """That a setting may be left without a value, where it may."""
    annotation = _annotation_at(location, root)
    return " or null" if type(None) in typing.get_args(annotation) else ""


def without_tags(location: Sequence[Any]) -> list[Any]:
    """The keys of a location, as they stand in the file: behind a part of several kinds stands its kind."""
    return [part for at, part in enumerate(location) if not (at == 1 and location[0] in _KINDS)]


def _annotation_at(location: Sequence[Any], root: type[pydantic.BaseModel]) -> Any:
    if not location or not isinstance(location[-1], str):
        return None
    field = getattr(_class_at(location[:-1], root), "model_fields", {}).get(location[-1])
    return getattr(field, "annotation", None)


def _keys_at(location: Sequence[Any], root: type[pydantic.BaseModel]) -> list[str]:
    """The keys that a place of the file may have."""
    return list(getattr(_class_at(location, root), "model_fields", {}))


def _class_at(location: Sequence[Any], root: type[pydantic.BaseModel]) -> Any:
    """The settings at a place of the file; None where there are none."""
    current: Any = root
    free = False
    for at, part in enumerate(location):
        if free:
            # A key that the user chose.
            free = False
            continue
        if at == 1 and location[0] == "window":
            current = windows.KINDS[part].settings
            continue
        if at == 1 and location[0] in _KINDS:
            current = next(
                option
                for option in typing.get_args(root.model_fields[location[0]].annotation)
                if _tag_of(option) == part
            )
            continue
        field = getattr(current, "model_fields", {}).get(part)
        if field is None:
            return None
        # Optional settings are a union with None, and those of a free key the second of a mapping's types.
        options = [o for o in typing.get_args(field.annotation) if hasattr(o, "model_fields")]
        current = options[0] if options else field.annotation
        free = typing.get_origin(field.annotation) is dict
    return current
