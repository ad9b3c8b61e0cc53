"""The columns of a file and those that a log's spec asks for."""

from typing import Dict, Sequence

from components.behavior_example_gen import spec
from schemas import errors, names

LABEL = "label"  # beside the types of attributes


def check(found: Sequence[str], log: spec.LogSpec, path: str, only: Sequence[str] = ()) -> None:
    """Checks that the columns are there, once each; `only` those of these features, if any is named."""
    for feature, column in log.columns.wanted().items():
        if only and feature not in only:
            continue
        if found.count(column) > 1:
            raise errors.InputError(
                f"{path}: column {column!r} (log.columns.{key(feature, log)}) is there {found.count(column)} "
                f"times; the file has {', '.join(found)}"
            )
        if column not in found:
            raise errors.InputError(
                f"{path}: column {column!r} (log.columns.{key(feature, log)}) is missing; the file has "
                f"{', '.join(found)}"
            )


def key(feature: str, log: spec.LogSpec) -> str:
    """Where `log.columns` names the column of a feature, as `item.color`."""
    for group in ("item", "user", "context", "label"):
        name = feature[len(group) + 1 :]
        if feature.startswith(f"{group}_") and name in getattr(log.columns, group):
            return f"{group}.{name}"
    return feature


def kind(feature: str, attributes: Dict[str, spec.AttributeSpec]) -> str:
    """How the column of a feature is read."""
    if feature in attributes:
        return attributes[feature].type
    return LABEL if feature.startswith(names.LABEL_PREFIX) else spec.CATEGORICAL
