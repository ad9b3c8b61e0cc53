"""Writes the parts of the documentation that the code knows: settings, models and commands.

A page of this folder has them between `<!-- generated: NAME -->` and `<!-- end of NAME -->`; everything else of it is
written by hand. `python -m docs.generate` writes them, `python -m docs.generate --check` says which are stale.
"""

import argparse
import inspect
import pathlib
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union

import annotated_types
import pydantic
import yaml
from pydantic import fields as pydantic_fields
from pydantic_core import PydanticUndefined

from components.behavior_example_gen import spec as window_spec
from pipeline import config, explain
from pipeline.cli import parser as cli_parser
from schemas import settings
from trainer import registry

FOLDER = pathlib.Path(__file__).parent
_BLOCK = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end of \1 -->", re.DOTALL)
_SEE = re.compile(r"see `\w+`(?: and `\w+`)?(?:(; .*)|\.)")
# Keys that tell the kinds of a part apart.
_TAGS = ("kind", "name")
_PLAIN = {bool: "true or false", int: "whole number", float: "number", str: "text"}
_TIMES = {"datetime": "moment", "timedelta": "time before the end"}
_BOUNDS = (
    (annotated_types.Ge, "ge", "≥"),
    (annotated_types.Gt, "gt", ">"),
    (annotated_types.Le, "le", "≤"),
    (annotated_types.Lt, "lt", "<"),
)


class Undocumented(ValueError):
    """A setting that the docstring of its class says nothing about."""


def _parts(annotation: Any) -> list[Any]:
    """The members of a union; anything else is its own. A member keeps its `Annotated`, which has its bounds."""
    bare = _bare(annotation)
    if typing.get_origin(bare) in (Union, types.UnionType):
        return [part for member in typing.get_args(bare) for part in _parts(member)]
    return [annotation if bare in _PLAIN else bare]


def _bare(annotation: Any) -> Any:
    """Without `Annotated`."""
    while typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    return annotation


def _is_settings(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, settings.Settings)


def _nested(annotation: Any) -> tuple[str, list[type[settings.Settings]]]:
    """What settings a setting holds, and what stands between its key and theirs: a free key of a mapping."""
    parts = _parts(annotation)
    for part in parts:
        if typing.get_origin(part) is dict:
            return ".NAME", [p for p in _parts(typing.get_args(part)[1]) if _is_settings(p)]
    return "", [part for part in parts if _is_settings(part)]


def _bounds(metadata: typing.Iterable[Any]) -> str:
    found = [
        f"{sign} {explain.bound(getattr(item, name))}"
        for item in metadata
        for kind, name, sign in _BOUNDS
        if isinstance(item, kind)
    ]
    return f" {', '.join(found)}" if found else ""


def _metadata(annotation: Any) -> list[Any]:
    """Constraints that stand in an `Annotated`, those of a `pydantic.Field` included."""
    if typing.get_origin(annotation) is not Annotated:
        return []
    found: list[Any] = []
    for item in typing.get_args(annotation)[1:]:
        found.extend(item.metadata if isinstance(item, pydantic_fields.FieldInfo) else [item])
    return found


def takes(annotation: Any, metadata: typing.Iterable[Any] = ()) -> str:
    """What a setting takes, in a few words: `whole number ≥ 1 or null`."""
    # Those of a plain type are found again with it.
    metadata = [*metadata, *([] if _bare(annotation) in _PLAIN else _metadata(annotation))]
    words: list[str] = []
    for part in _parts(annotation):
        if typing.get_origin(part) is Annotated:
            part, own = _bare(part), [*metadata, *_metadata(part)]
        else:
            own = metadata
        origin, arguments = typing.get_origin(part), typing.get_args(part)
        if part is type(None):
            continue
        if origin is Literal:
            words.extend(f"`{value}`" for value in arguments)
        elif origin is tuple:
            words.append(f"list of {takes(arguments[0])}")
        elif origin is dict:
            words.append(f"mapping to {takes(arguments[1])}")
        elif _is_settings(part):
            words.append("keys")
        elif window_spec.DURATION in own:
            words.append("time with its unit (`s`, `m`, `h`, `d`)")
        elif part in _PLAIN:
            words.append(_PLAIN[part] + (_bounds(own) if part in (int, float) else ""))
        else:
            words.append(_TIMES.get(getattr(part, "__name__", ""), "value"))
    words = list(dict.fromkeys(words))
    if type(None) in _parts(annotation):
        words.append("null")
    return ", ".join(words[:-1]) + (" or " if len(words) > 1 else "") + words[-1]


def described(cls: type[pydantic.BaseModel]) -> tuple[str, dict[str, str]]:
    """What the docstring of a class says of it and, with those of its bases, of each attribute."""
    summary = ""
    attributes: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        # Of pydantic and above, nothing is a setting.
        if not (isinstance(base, type) and issubclass(base, settings.Settings)):
            continue
        own, found = _split(inspect.cleandoc(base.__doc__ or ""))
        summary = own if base is cls else summary
        for name, words in found.items():
            # `see X; and more`: what X, a base, says, and more.
            more = _SEE.fullmatch(words)
            before = attributes.get(name, "").rstrip(".")
            attributes[name] = before + (more.group(1) or ".") if more and before else words
    return summary, attributes


def _split(text: str) -> tuple[str, dict[str, str]]:
    head, _, rest = f"\n{text}".partition("\nAttributes:\n")
    entries: dict[str, str] = {}
    lines = rest.splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip()) if lines else 0
    current: list[str] = []
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if not line.strip() or depth < indent:
            break
        if depth == indent:
            names, _, words = line.strip().partition(": ")
            current = names.split(", ")
            entries.update(dict.fromkeys(current, words))
        else:
            for name in current:
                entries[name] += " " + line.strip()
    return " ".join(head.split()), entries


def _default(field: pydantic_fields.FieldInfo) -> str:
    if field.default_factory is not None:
        return "by the model"
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, settings.Settings):
        return "see below"
    # As YAML writes it, on one line and without the mark that ends a document.
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    return f"`{text}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    """Words of a docstring as a page has them: a capital first, and what YAML calls null."""
    text = re.sub(r"\bNone\b", "`null`", text)
    return text[:1].upper() + text[1:]


def _first(text: str) -> str:
    """The first sentence."""
    return text.partition(". ")[0].rstrip(".") + "."


def anchor(key: str) -> str:
    """The anchor that a page's heading of this key has."""
    return re.sub(r"[^\w\- ]", "", key.lower()).replace(" ", "-")


class _Sections:
    """The sections of a part and of all below it; settings that occur again are said once."""

    def __init__(self) -> None:
        self._where: dict[type, str] = {}

    def write(self, key: str, cls: type[settings.Settings], title: str = "", level: int = 3) -> Iterator[str]:
        """The lines of a section, then those of the sections below it."""
        title = title or f"`{key}`"
        self._where[cls] = title
        summary, attributes = described(cls)
        yield f"{'#' * level} {title}\n"
        if summary:
            yield f"{_sentence(summary)}\n"
        below: list[tuple[str, type[settings.Settings], str]] = []
        rows = []
        for name, field in cls.model_fields.items():
            if name in _TAGS and typing.get_origin(field.annotation) is Literal:
                continue
            gap, nested = _nested(field.annotation)
            path = f"{key}.{name}{gap}" if key else f"{name}{gap}"
            titles = [self._title(path, kind, len(nested) > 1) for kind in nested]
            words = attributes.get(name) or (nested and described(nested[0])[0])
            if not words:
                raise Undocumented(
                    f"{cls.__module__}.{cls.__qualname__}: no line of `Attributes:` says what {name} is"
                )
            links = ", ".join(
                f"[{t}](#{anchor(t)})" for t in (self._where.get(c, t) for c, t in zip(nested, titles))
            )
            what = links or takes(field.annotation, field.metadata)
            rows.append(
                f"| `{name}` | {_cell(what)} | {_cell(_default(field))} | {_cell(_sentence(words))} |"
            )
            for kind, kind_title in zip(nested, titles):
                if kind not in self._where:
                    self._where[kind] = kind_title
                    below.append((path, kind, kind_title))
        if rows:
            yield "| key | takes | default | |\n| --- | --- | --- | --- |"
            yield "\n".join(rows) + "\n"
        for path, kind, kind_title in below:
            yield from self.write(path, kind, kind_title, level)

    @staticmethod
    def _title(path: str, cls: type[settings.Settings], several: bool) -> str:
        for tag in _TAGS if several else ():
            field = cls.model_fields.get(tag)
            if field is not None and typing.get_origin(field.annotation) is Literal:
                return f"`{path}: {{{tag}: {typing.get_args(field.annotation)[0]}}}`"
        return f"`{path}`"


def settings_block() -> str:
    """Every setting of an experiment but for those of models."""
    sections = _Sections()
    lines = ["| part | |\n| --- | --- |"]
    _, attributes = described(config.Experiment)
    for name, field in config.Experiment.model_fields.items():
        nested = _nested(field.annotation)[1]
        words = attributes.get(name) or (nested and described(nested[0])[0])
        if not words:
            raise Undocumented(f"Experiment: no line of `Attributes:` says what {name} is")
        link = (
            f"[`{name}`](models.md)" if name == "model" else f"[`{name}`](#{name})" if nested else f"`{name}`"
        )
        lines.append(f"| {link} | {_cell(_sentence(_first(words)))} |")
    lines.append("")
    for name, field in config.Experiment.model_fields.items():
        nested = _nested(field.annotation)[1]
        if name == "model" or not nested:
            continue
        lines.append(f"## {name}\n")
        several = len(nested) > 1
        if several and attributes.get(name):
            lines.append(f"{_sentence(attributes[name])}\n")
        for cls in nested:
            title = sections._title(name, cls, several)
            written = list(sections.write(name, cls, title))
            # A part of one kind needs no second heading.
            lines.extend(written if several else written[1:])
    return "\n".join(lines)


def models_block() -> str:
    """The models by what they are trained on, each with its settings."""
    experiments: dict[str, list[str]] = {}
    for shipped in config.shipped_names():
        experiments.setdefault(config.load(config.find(shipped)).model.name, []).append(shipped)
    kinds: dict[tuple[str, ...], list[str]] = {}
    for name, entry in registry.MODELS.items():
        kinds.setdefault(entry.window_kinds, []).append(name)
    lines = []
    for window_kinds, names in kinds.items():
        kind_names = " or ".join(f"`{kind}`" for kind in window_kinds)
        lines.append(f"## Models for windows of kind {kind_names}\n")
        lines.append("| model | what it does | paper | needs |\n| --- | --- | --- | --- |")
        for name in names:
            entry = registry.MODELS[name]
            needs = ", ".join(f"`log.columns.{column}`" for column in entry.needs_columns)
            lines.append(
                f"| [`{name}`](#{name}) | {_cell(_sentence(entry.summary))} | {_cell(entry.paper)} | {needs} |"
            )
        lines.append("")
        for name in names:
            entry = registry.MODELS[name]
            lines.append(f"### `{name}`\n")
            lines.append(
                f"Class `{entry.model_class}`; objective `{entry.objective}`; experiments "
                f"{', '.join(f'`{found}`' for found in experiments.get(name, ['none']))}.\n"
            )
            written = list(_Sections().write("model", entry))
            # The class's own summary, then its table.
            lines.extend(written[1:])
    return "\n".join(lines)


def commands_block() -> str:
    """What each command does, and its arguments."""
    lines = []
    for name, parser in _commands(cli_parser.build()):
        lines.append(f"## `{name}`\n\n{_sentence(parser.description or '').rstrip('.')}.\n")
        lines.extend([*_arguments(parser), ""])
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                below = list(_commands(child))
                yield from below or [(child.prog, child)]


def _value(action: argparse.Action) -> str:
    """What stands for an argument's value: what it may be, where that is a choice."""
    if action.metavar is None and action.choices is not None:
        return f"{{{','.join(map(str, action.choices))}}}"
    return str(action.metavar or (action.dest.upper() if action.option_strings else action.dest))


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A table of a command's arguments. Not argparse's own text, which is another in each version of Python."""
    formatter = argparse.HelpFormatter(parser.prog)
    yield "| argument | what it does |"
    yield "| --- | --- |"
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        value = _value(action)
        names = [f"`{name}`" for name in action.option_strings]
        if names and action.nargs != 0:
            names[-1] = f"`{action.option_strings[-1]} {value}`"
        what = formatter._expand_help(action).replace("|", "\\|")
        yield f"| {', '.join(names) or f'`{value}`'} | {what} |"


BLOCKS: Mapping[str, Callable[[], str]] = {
    "settings": settings_block,
    "models": models_block,
    "commands": commands_block,
}


def updated(text: str) -> str:
    """A page with its generated parts made again."""

    def block(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"<!-- generated: {name} -->\n{BLOCKS[name]().strip()}\n<!-- end of {name} -->"

    return _BLOCK.sub(block, text)


def stale(folder: pathlib.Path = FOLDER) -> dict[pathlib.Path, str]:
    """The pages whose generated parts are not those of the code, with what they should be."""
    found = {}
    for path in sorted(folder.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        wanted = updated(text)
        if wanted != text:
            found[path] = wanted
    return found


def main() -> int:
    """Writes the stale pages or, with --check, names them: 1 where there are any."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument("--check", action="store_true", help="only name the pages that are stale")
    check = parser.parse_args().check
    pages = stale()
    for path, text in pages.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"docs/{path.name}: {'stale; run python -m docs.generate' if check else 'written'}")
    return 1 if check and pages else 0


if __name__ == "__main__":
    raise SystemExit(main())
