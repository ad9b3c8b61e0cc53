"""The base of every typed piece of configuration."""

import json
from typing import Any, Type, TypeVar

import pydantic

_Settings = TypeVar("_Settings", bound="Settings")


class Settings(pydantic.BaseModel):
    """An immutable group of settings that refuses unknown keys and wrong types."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def from_values(cls: Type[_Settings], values: Any) -> _Settings:
        """Builds the settings from plain YAML or JSON values.

        Types are strict (`"5"` is not an integer); lists are taken for tuples.

        Raises:
          pydantic.ValidationError: naming every key that does not fit.
        """
        return cls.model_validate_json(json.dumps(values, default=str), strict=True)

    @classmethod
    def from_json(cls: Type[_Settings], text: str) -> _Settings:
        """Reads what `to_json` wrote."""
        return cls.model_validate_json(text, strict=True)

    def to_json(self) -> str:
        """One line of JSON with sorted keys, so that equal settings give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)
