"""The documentation is of this code: generated parts, links, commands, modules, experiments."""

import importlib.util
import pathlib
import re
import shlex

import pydantic
import pytest

from components.behavior_example_gen.windows import period, predicates
from docs import generate
from pipeline import config
from pipeline.cli import parser, run
from schemas import settings
from trainer import registry

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "benchmarks" / "README.md"])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]*))?\)")
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def anchors(path):
    """Of the headings of a page."""
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    return {generate.anchor(heading) for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def test_generated_parts_are_those_of_the_code():
    """If this fails: python -m docs.generate."""
    assert [path.name for path in generate.stale()] == []


def test_a_changed_setting_makes_its_page_stale(tmp_path, monkeypatch):
    for name in ("settings.md", "models.md", "commands.md"):
        (tmp_path / name).write_text((ROOT / "docs" / name).read_text(encoding="utf-8"), encoding="utf-8")
    assert generate.stale(tmp_path) == {}
    entry = registry.MODELS["sasrec"]

    class Wider(entry):
        dim: int = pydantic.Field(default=96, ge=1)

    monkeypatch.setitem(registry.MODELS, "sasrec", Wider)
    assert [path.name for path in generate.stale(tmp_path)] == ["models.md"]
    page = tmp_path / "settings.md"
    page.write_text(
        page.read_text(encoding="utf-8").replace("`max_id_bytes`", "`max_bytes`"), encoding="utf-8"
    )
    assert [path.name for path in generate.stale(tmp_path)] == ["models.md", "settings.md"]


def test_a_setting_without_a_line_about_it_is_refused(monkeypatch):
    entry = registry.MODELS["sasrec"]

    class Silent(entry):
        width: int = 3

    monkeypatch.setitem(registry.MODELS, "sasrec", Silent)
    with pytest.raises(generate.Undocumented, match="Silent: .* width"):
        generate.models_block()


class _Part(settings.Settings):
    """A part.

    Attributes:
      size: how many
        of them.
      low, high: bounds.
    """

    size: int | None = pydantic.Field(default=None, ge=1, lt=9)
    low: float = 0.5
    high: dict[str, float] = {}


class _Larger(_Part):
    """More.

    Attributes:
      size: see `_Part`; here at least two.
    """


def test_what_a_docstring_and_a_type_say():
    summary, attributes = generate.described(_Part)
    assert summary == "A part."
    assert attributes == {"size": "how many of them.", "low": "bounds.", "high": "bounds."}
    assert generate.described(_Larger)[1]["size"] == "how many of them; here at least two."
    fields = _Part.model_fields
    assert (
        generate.takes(fields["size"].annotation, fields["size"].metadata) == "whole number ≥ 1, < 9 or null"
    )
    assert generate.takes(fields["high"].annotation) == "mapping to number"
    for cls, name, more in ((period.PeriodWindow, "past", ""), (predicates.LabelSpec, "within", " or null")):
        found = cls.model_fields[name]
        assert (
            generate.takes(found.annotation, found.metadata)
            == f"time with its unit (`s`, `m`, `h`, `d`){more}"
        )
    assert generate.takes(tuple[pydantic.PositiveInt, ...]) == "list of whole number > 0"


def test_arguments_show_what_can_be_chosen():
    block = generate.commands_block()
    assert "`--target {kubeflow,vertex}`" in block and "`--search {random,bayesian}`" in block
    assert "`--root ROOT`" in block and "`--set KEY=VALUE`" in block


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path):
    for target, anchor in _LINK.findall(_FENCE.sub("", path.read_text(encoding="utf-8"))):
        there = (path.parent / target).resolve() if target else path
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), f"{target}#{anchor}"


def test_every_page_is_in_the_navigation():
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    there = {path.name for path in (ROOT / "docs").glob("*.md")}
    named = set(re.findall(r"- ([\w-]+\.md)$", nav, re.MULTILINE))
    # Pages from elsewhere: docs/hooks.py.
    assert named - there == {"index.md", "contributing.md", "benchmarks.md", "changelog.md"}
    assert there <= named


def test_modules_of_the_reference_are_there():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    modules = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    assert len(modules) > 20
    for module in modules:
        assert importlib.util.find_spec(module), module
    models = {entry.model_class.rpartition(".")[0] for entry in registry.MODELS.values()}
    assert models <= set(modules)


def commands():
    """Lines of the pages that a reader types, with the page's name."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^    (?:cd \S+ && )?(footfall .+)$", text, re.MULTILINE):
            if line.count("'") % 2 == 0 and "COMMAND" not in line:
                yield path.name, line.partition("    #")[0].strip()


@pytest.mark.parametrize("page, line", sorted(set(commands())))
def test_commands_in_pages_are_commands(page, line):
    arguments = shlex.split(line.partition(" > ")[0])[1:]
    found = parser.build().parse_args(arguments)
    if found.run is run._run and not arguments[1].endswith(".yaml") and not arguments[1].isupper():
        config.load(config.find(arguments[1]), found.set)


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100
