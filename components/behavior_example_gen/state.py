"""Which state a log is in: its newest span, and the fingerprint of the files that are read."""

from collections.abc import Mapping
from typing import Any

from components.behavior_example_gen import fingerprint, spans, spec
from schemas import errors


def of_run(log: spec.LogSpec, path: str | None) -> spec.LogSpec:
    """The log that a run reads.

    Args:
      log: of the experiment.
      path: of this run's log; None is the experiment's.

    Raises:
      errors.InputError: if one path has marks of spans and the other has none: what is made of spans is
        decided before a run starts.
    """
    if not path or path == log.path:
        return log
    try:
        spans.check_path(path)
    except ValueError as error:
        raise errors.InputError(f"log_path: {error}") from error
    if spans.has_marks(path) != spans.has_marks(log.path):
        having, other = (path, log.path) if spans.has_marks(path) else (log.path, path)
        raise errors.InputError(
            f"log_path: a run's path stands for spans if log.path does; found {having} with marks and {other} without"
        )
    return log.model_copy(update={"path": path})


def look(log: spec.LogSpec, newest: int | None = None) -> dict[str, Any]:
    """Which state a log is in now.

    Args:
      log: what is read.
      newest: the number of the last span to look at; None is the newest one.

    Returns:
      `span`: the newest one's number, None where `log.path` has no marks; `fingerprint`: of the files of this
      span and of those before it that are read (`log.spans`).

    Raises:
      errors.InputError: if no file is there, or a name has no number where a mark stands.
    """
    span = spans.newest(log.path, newest)
    return {"span": span, "fingerprint": fingerprint.digest(spans.find(log.path, log.spans, span))}


def check(log: spec.LogSpec, state: Mapping[str, Any], found: fingerprint.Files) -> None:
    """Checks that the files of a log that are about to be read are in the state that it was in.

    Raises:
      errors.InputError: if it is not: what is made of it would be kept as made of another.
    """
    if found.digest() != state["fingerprint"]:
        raise errors.InputError(
            f"{log.path}: was changed between the start of this run and the moment it is read: run again when it is "
            "complete"
        )
