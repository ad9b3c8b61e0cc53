"""The components of the pipeline, and the types of their artifacts."""

import importlib
from typing import Any

# By these names Kubeflow's steps import them, see `behavior_example_gen.artifacts`; TFX only where it is needed.
_ARTIFACTS = {
    "DeployedModel": "vertex_deployer",
    "LogProfile": "behavior_example_gen",
    "RejectedRows": "behavior_example_gen",
}


def __getattr__(name: str) -> Any:
    if name not in _ARTIFACTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"components.{_ARTIFACTS[name]}.artifacts"), name)
