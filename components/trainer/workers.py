"""Which of the workers of a training a process is, as TF_CONFIG has it. Free of TensorFlow."""

import dataclasses
import json
import os
from collections.abc import Mapping

from schemas import errors

VARIABLE = "TF_CONFIG"
# The roles of workers that train, the chief's first: without a chief the first worker is it.
_ROLES = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Worker:
    """A worker.

    Attributes:
      index: its number, the chief's being 0.
      count: how many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def chief(self) -> bool:
        """Whether it keeps what all have made: checkpoints, the model, the history."""
        return self.index == 0


def this(environment: Mapping[str, str] = os.environ) -> Worker:
    """The worker that this process is; one without a cluster is the only one.

    Raises:
      errors.InputError: if TF_CONFIG is not what TensorFlow takes, or names a role that trains nothing.
    """
    text = environment.get(VARIABLE, "")
    try:
        given = json.loads(text or "{}")
        cluster, task = given.get("cluster") or {}, given.get("task") or {}
        addresses = {role: list(cluster.get(role) or ()) for role in _ROLES}
        role, index = task.get("type", _ROLES[-1]), int(task.get("index", 0))
    except (ValueError, AttributeError, TypeError) as error:
        raise errors.InputError(f"{VARIABLE}: takes a cluster and a task as JSON, found {text!r}") from error
    count = sum(map(len, addresses.values()))
    if count < 2:
        return Worker()
    if role not in _ROLES or index >= len(addresses[role]):
        raise errors.InputError(
            f"{VARIABLE}: the task is one of the cluster's {' or '.join(_ROLES)}s, found {role} {index}"
        )
    return Worker(index + (len(addresses["chief"]) if role == "worker" else 0), count)
