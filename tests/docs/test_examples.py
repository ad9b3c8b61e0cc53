"""The examples in docstrings give what they say."""

import doctest
import importlib
import pathlib
import pkgutil

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("schemas", "components", "trainer", "serving", "pipeline")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_a_module(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted and not found.failed


@pytest.mark.parametrize(
    "name",
    [
        "components.behavior_example_gen.guess.named_like",
        "components.evaluator.sampled.expected_values",
        "components.evaluator.spec.ranking_metrics",
        "pipeline.config.load",
        "pipeline.config.override",
        "schemas.kinds.window_kind",
        "schemas.settings.Settings.from_values",
        "schemas.text.clipped",
        "schemas.text.visible",
        "schemas.times.day",
        "schemas.times.moment",
        "schemas.times.plausible",
        "serving.address.check",
    ],
)
def test_what_is_used_most_has_an_example(name):
    owner = pkgutil.resolve_name(name)
    assert doctest.DocTestFinder().find(owner, name)[0].examples
