"""Texts as Google Cloud takes them."""

import re
from typing import Annotated

import pydantic

_LABEL = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def _labels(labels: dict[str, str]) -> dict[str, str]:
    for name, value in labels.items():
        if not _LABEL.fullmatch(name) or not _LABEL_VALUE.fullmatch(value):
            raise ValueError(
                "labels have lower-case letters, digits, - and _, a letter first, at most 63 of them, found "
                f"{name}: {value}"
            )
    return labels


# Of Vertex AI, as `europe-west4`.
REGION = r"^[a-z]+(-[a-z]+)*-[a-z]+[0-9]+$"
# Of a resource, by name.
Labels = Annotated[dict[str, str], pydantic.AfterValidator(_labels)]
