"""TFX's Evaluator, which compares with the model that is live."""

import json
import logging
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as evaluator
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.utils import path_utils, proto_utils

from components.evaluator import live as live_lib
from components.evaluator import loading
from schemas import pushed

LIVE_MODEL = "live_model"
_PROGRESS = logging.getLogger("footfall.progress")


class Executor(evaluator.Executor):
    """Executor of Evaluator."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates; see `component.Evaluator`."""
        properties = dict(exec_properties)
        live = json.loads(properties.pop(LIVE_MODEL, None) or "{}")
        inputs = {key: input_dict[key] for key in _INPUTS}
        if live.get("path"):
            baseline = standard_artifacts.Model()
            baseline.uri = live["path"]
            _warn_of_live(live["path"], input_dict)
            inputs[standard_component_specs.BASELINE_MODEL_KEY] = [baseline]
        asked = tfma.EvalConfig()
        proto_utils.json_to_proto(properties[standard_component_specs.EVAL_CONFIG_KEY], asked)
        (examples,) = input_dict[standard_component_specs.EXAMPLES_KEY]
        among = loading.with_candidates(asked, examples.uri)
        if among:
            properties[standard_component_specs.EVAL_CONFIG_KEY] = proto_utils.proto_to_json(asked)
        if among or live.get("path"):
            # TFX finds functions by the name of their module.
            properties[standard_component_specs.MODULE_PATH_KEY] = loading.__name__
        super().Do(inputs, output_dict, properties)
        blessing = artifact_utils.get_single_instance(output_dict[standard_component_specs.BLESSING_KEY])
        # A pushed version is no artifact of the store: it has a place, and no number.
        blessing.mlmd_artifact.custom_properties.pop(constants.ARTIFACT_PROPERTY_BASELINE_MODEL_ID_KEY, None)
        if live:
            blessing.set_string_custom_property(
                pushed.JUDGED_AGAINST, live.get("digest") or pushed.NOTHING_LIVE
            )


def _warn_of_live(live: str, input_dict: dict[str, list[Any]]) -> None:
    candidate = artifact_utils.get_single_instance(input_dict[standard_component_specs.MODEL_KEY])
    saved = path_utils.serving_model_path(candidate.uri)
    known = live_lib.knows(live, saved)
    if known:
        _PROGRESS.warning(
            "the live model (%s) has learnt from %s: it knows some of what is tested here, and the comparison favours it",
            live,
            known,
        )
    unread = live_lib.unread(live, saved)
    if unread:
        _PROGRESS.warning(
            "the live model (%s) reads %s, which the windows do not have: it is measured as if it were missing; "
            "where it has another name now, give the experiment another name",
            live,
            ", ".join(unread),
        )


_INPUTS = (standard_component_specs.EXAMPLES_KEY, standard_component_specs.MODEL_KEY)
