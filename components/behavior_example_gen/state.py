"""Which state a log is in: its newest span, and the fingerprint of the files that are read."""

from collections.abc import Mapping
from typing import Any

from components.behavior_example_gen import fingerprint, spans, spec
from schemas import errors


def look(log: spec.LogSpec) -> dict[str, Any]:
    """Which state a log is in now.

    Returns:
      `span`: the newest one's number, None where `log.path` has no marks; `fingerprint`: of the files of this
      span and of those before it that are read (`log.spans`).

    Raises:
      errors.InputError: if no file is there, or a name has no number where a mark stands.
    """
    span = spans.newest(log.path)
    return {"span": span, "fingerprint": _fingerprint(log, span)}


def check(log: spec.LogSpec, state: Mapping[str, Any]) -> None:
    """Checks that a log still is in the state that it was in.

    Raises:
      errors.InputError: if it is not: what is made of it would be kept as made of another.
    """
    if _fingerprint(log, state["span"]) != state["fingerprint"]:
        raise errors.InputError(
            f"{log.path}: was changed between the start of this run and the moment it is read: run again when it is "
            "complete"
        )


def _fingerprint(log: spec.LogSpec, span: int | None) -> str:
    return fingerprint.digest(spans.find(log.path, log.spans, span))
