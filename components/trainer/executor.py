"""Hands what is known only when a run starts to the function that trains."""

import copy
import hashlib
import json
import os
import posixpath
import tempfile
from typing import Any

from tfx.components.trainer import executor as trainer
from tfx.dsl.io import fileio

from components.trainer import workers

# Execution properties, which `trainer.arguments.Arguments` has under the same names.
EPOCHS = "epochs"
BASE_MODEL = "base_model"
# The execution property of the model that is live, of LiveModel.
LIVE = "live_model"
# The one of the pretrained model, of BaseModel; and what the function that trains is told of it.
BASE, PRETRAINED, PRETRAINED_DIGEST = "base", "pretrained", "pretrained_digest"
# What the function is told of whose the checkpoints of a run are.
OWNER = "owner"
# The input with the log's profile, and what the function is told of it: since when the windows are that test the model.
PROFILE, TESTED_FROM = "profile", "tested_from"


class Executor(trainer.GenericExecutor):
    """TFX's Trainer executor, which adds the parameters of the run to `custom_config`.

    Of several workers (TF_CONFIG) the chief alone writes to the outputs; others write to folders that go away.
    """

    # Whose the checkpoints of this execution are, see `owner`.
    _owner = ""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Trains; see TFX's Trainer and `trainer.task.run_fn`."""
        self._owner = owner(output_dict)
        if workers.this().chief:
            super().Do(input_dict, output_dict, exec_properties)
            return
        with tempfile.TemporaryDirectory(prefix="footfall-worker-") as folder:
            own = copy.deepcopy(output_dict)
            for name, artifacts in own.items():
                for number, artifact in enumerate(artifacts):
                    artifact.uri = os.path.join(folder, f"{name}-{number}")
            super().Do(input_dict, own, exec_properties)

    def _GetFnArgs(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> Any:
        found = super()._GetFnArgs(input_dict, output_dict, exec_properties)
        found.custom_config.update(of_run(self._owner, exec_properties))
        live, base = (json.loads(exec_properties.get(name) or "{}") for name in (LIVE, BASE))
        for told, value in (
            (BASE_MODEL, live.get("path")),
            (PRETRAINED, base.get("path")),
            (PRETRAINED_DIGEST, base.get("digest")),
        ):
            if value is not None:
                found.custom_config[told] = value
        tested_from = _tested_from(input_dict.get(PROFILE))
        if tested_from is not None:
            found.custom_config[TESTED_FROM] = tested_from
        return found


def owner(output_dict: dict[str, list[Any]]) -> str:
    """A name of whose outputs these are: all attempts of a step have the same, and no other run."""
    uris = sorted(artifact.uri for artifacts in output_dict.values() for artifact in artifacts)
    return hashlib.sha256(json.dumps(uris).encode()).hexdigest()[:16]


def of_run(whose: str, exec_properties: dict[str, Any]) -> dict[str, str]:
    """What `custom_config` has of the run alone: whose its checkpoints are, and its epochs if it has any of its own."""
    epochs = exec_properties.get(EPOCHS)
    return {OWNER: whose, **({} if epochs is None else {EPOCHS: str(epochs)})}


def _tested_from(profiles: list[Any] | None) -> str | None:
    """The moment that the windows of `test` begin at, in ISO 8601; None where they are other users'."""
    if not profiles:
        return None
    with fileio.open(posixpath.join(profiles[0].uri, "profile.json")) as stream:
        return (json.loads(stream.read())["split"] or {}).get("test_from")
