"""How the Evaluator loads its models: a pushed version is a SavedModel itself, a Model artifact holds one."""

from typing import Any

import tensorflow_model_analysis as tfma
from tfx.utils import path_constants

# What TFX puts after an artifact's place.
_WITHIN = f"/{path_constants.SERVING_MODEL_DIR}"


def custom_eval_shared_model(eval_saved_model_path: str, model_name: str, **options: Any) -> Any:
    """TFMA's model of a path; found by its name by TFX's Evaluator."""
    if model_name == tfma.BASELINE_KEY:
        eval_saved_model_path = eval_saved_model_path.removesuffix(_WITHIN)
    return tfma.default_eval_shared_model(
        eval_saved_model_path=eval_saved_model_path, model_name=model_name, **options
    )
