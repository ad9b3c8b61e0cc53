"""The registry of models."""

import subprocess
import sys

import pytest

from pipeline import config
from trainer import config as trainer_config
from trainer import registry
from trainer.settings import losses


@pytest.mark.parametrize("name", registry.MODELS)
def test_every_model_loads_and_has_a_test_an_experiment_and_a_row_of_what_it_reached(name, request):
    entry = registry.MODELS[name]
    assert registry.load(name).__module__.startswith("trainer.models.")
    assert entry.model_fields["name"].annotation.__args__ == (name,)
    assert (request.path.parent / f"test_{name}.py").exists()
    page = (request.config.rootpath / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"\n| `{name}` |" in page
    assert name in {config.load(config.find(shipped)).model.name for shipped in config.shipped_names()}


def test_listing_models_does_not_start_tensorflow():
    code = (
        "import sys, trainer.registry, pipeline.cli; print('tensorflow' in sys.modules, 'tfx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


_OF_NEXT_ITEMS = [
    name
    for name, entry in registry.MODELS.items()
    if entry.objective == "ranking" and "next" in entry.targets and name != "carca"
]


@pytest.mark.parametrize("name", _OF_NEXT_ITEMS)
def test_models_of_next_items_take_all_losses_of_these(name):
    """Also those whose default is another one."""
    model = registry.MODELS[name].from_values({"name": name})
    assert set(losses.fitting("ranking")) <= set(trainer_config.fitting_losses(model))
