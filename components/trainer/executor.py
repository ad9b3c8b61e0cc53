"""Hands what is known only when a run starts to the function that trains."""

import json
from typing import Any

from tfx.components.trainer import executor as trainer

# Execution properties, which `trainer.arguments.Arguments` has under the same names.
EPOCHS = "epochs"
BASE_MODEL = "base_model"
# The execution property of the model that is live, of LiveModel.
LIVE = "live_model"


class Executor(trainer.GenericExecutor):
    """TFX's Trainer executor, which adds the parameters of the run to `custom_config`."""

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> Any:
        found = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        epochs = exec_properties.get(EPOCHS)
        if epochs is not None:
            found.custom_config[EPOCHS] = str(epochs)
        base = json.loads(exec_properties.get(LIVE) or "{}").get("path")
        if base is not None:
            found.custom_config[BASE_MODEL] = base
        return found
