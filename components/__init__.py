"""The components of the pipeline, and the types of their artifacts."""

from typing import Any

# By these names Kubeflow's steps import them, see `behavior_example_gen.artifacts`; TFX only where it is needed.
_ARTIFACTS = ("LogProfile", "RejectedRows")


def __getattr__(name: str) -> Any:
    if name not in _ARTIFACTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from components.behavior_example_gen import artifacts

    return getattr(artifacts, name)
