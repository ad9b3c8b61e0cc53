"""A search that keeps its failed trials on record, and cleans up once its results are written."""

import json
import os
from typing import Any

from tfx.components.tuner import executor as tuner
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils

from components.trainer import executor as trainer

# Beside `tuner_results.json` of TFX, which leaves failed trials out.
TRIALS = "trials.json"


# An execution property, which `trainer.arguments.Arguments` has under the same name.
EPOCHS = trainer.EPOCHS


class Executor(tuner.Executor):
    """TFX's Tuner executor, for a tuner that has `trials` and `forget` (see `trainer.tuner`)."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Searches, and writes the best hyperparameters and all trials; see TFX's Tuner."""
        found = tuner.search(input_dict, _of_run(exec_properties, output_dict), self._get_tmp_dir())
        tuner.write_best_hyperparameters(found, output_dict)
        results = artifact_utils.get_single_uri(output_dict[standard_component_specs.TUNER_RESULTS_KEY])
        io_utils.write_string_file(os.path.join(results, TRIALS), json.dumps(found.trials(), indent=1))
        # Only now is the search over: a run that dies before goes on from what it has found.
        found.forget()


def _of_run(exec_properties: dict[str, Any], output_dict: dict[str, list[Any]]) -> dict[str, Any]:
    """With what is known of the run alone in `custom_config`."""
    key = standard_component_specs.CUSTOM_CONFIG_KEY
    custom = {
        **json_utils.loads(exec_properties[key]),
        **trainer.of_run(trainer.owner(output_dict), exec_properties),
    }
    return {**exec_properties, key: json_utils.dumps(custom)}
