"""BaseModel: the pretrained model that a training starts from."""

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.base_model import executor


class BaseModelSpec(component_spec.ComponentSpec):
    """Outputs and settings of BaseModel."""

    PARAMETERS = {
        "path": component_spec.ExecutionParameter(type=str),
        "asked": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: dict[str, component_spec.ChannelParameter] = {}
    OUTPUTS = {executor.BASE: component_spec.ChannelParameter(type=standard_artifacts.String)}


class BaseModel(base_component.BaseComponent):
    """Finds the newest version of a pretrained model.

    Its path and the digest of its files are a parameter of the Trainer: another version makes another training, the same
    one leaves it in the cache, on every runner.

    Outputs:
      base: of `executor.look`, as text.

    Args:
      path: see `executor.look`.
      asked: of `networks.differences`: what the network has to be, so that another one is refused before the log is read.
    """

    SPEC_CLASS = BaseModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
    DRIVER_CLASS = executor.Driver

    def __init__(self, path: str, asked: Mapping[str, Any]):
        super().__init__(
            BaseModelSpec(
                path=path,
                asked=json.dumps(asked, sort_keys=True),
                **{executor.BASE: types.Channel(type=standard_artifacts.String)},
            )
        )
