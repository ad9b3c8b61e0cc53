"""What the Trainer's step hands to the processes of its custom job, and what they say of a failure.

All of it is in one folder below the pipeline's root, which is all that the step and the job share.
"""

import json
import posixpath
from typing import Any, NamedTuple

from tfx.dsl.io import fileio
from tfx.utils import json_utils

_EXECUTION = "execution.json"
_FAILURES = "failure-*.json"


class Execution(NamedTuple):
    """What an executor is given.

    Attributes:
      inputs, outputs: artifacts, by key.
      properties: the execution properties.
    """

    inputs: dict[str, list[Any]]
    outputs: dict[str, list[Any]]
    properties: dict[str, Any]


class Failure(NamedTuple):
    """Why a process of the job failed.

    Attributes:
      worker: its number, the chief's being 0.
      message: one line.
      is_input: whether the user's input does not fit.
    """

    worker: int
    message: str
    is_input: bool


def write(folder: str, execution: Execution) -> None:
    """Writes an execution, and removes what an earlier job has said of its failure."""
    fileio.makedirs(folder)
    for path in fileio.glob(posixpath.join(folder, _FAILURES)):
        fileio.remove(path)
    with fileio.open(posixpath.join(folder, _EXECUTION), "w") as stream:
        stream.write(json_utils.dumps(execution._asdict()))


def read(folder: str) -> Execution:
    """What `write` wrote."""
    with fileio.open(posixpath.join(folder, _EXECUTION), "r") as stream:
        return Execution(**json_utils.loads(stream.read()))


def fail(folder: str, failure: Failure) -> None:
    """Tells the step why a process fails."""
    with fileio.open(posixpath.join(folder, _FAILURES.replace("*", str(failure.worker))), "w") as stream:
        stream.write(json.dumps(failure._asdict()))


def failures(folder: str) -> list[Failure]:
    """What the processes have told, the chief first."""
    found = []
    for path in fileio.glob(posixpath.join(folder, _FAILURES)):
        with fileio.open(path, "r") as stream:
            found.append(Failure(**json.loads(stream.read())))
    return sorted(found)
