"""What a training asks of the network that it starts from."""

import json
from typing import Any

from components.transform import event_fields
from serving import networks
from trainer import arguments
from trainer.settings import model as model_settings
from trainer.settings import users as users_settings

# Settings of the network that do not change what it is.
_FREE = {"name", "dropout"}


def asked(given: arguments.Arguments) -> dict[str, Any]:
    """Of `networks.differences`, without the data: vocabularies may be others.

    Args:
      given: of a training of windows of a period, whose model has such a network.
    """
    window, options = given.window, given.features
    fields = event_fields.of_columns(given.columns)
    numbers = {field.event: options.of(field.event) for field in fields if field.numeric}
    return {
        **settings_of(given.model),
        networks.NETWORK: networks.described(
            [field.event for field in fields],
            {name: networks.buckets(of.number_of_buckets, of.boundaries) for name, of in numbers.items()},
            window.past,
            length(given.model, window.length),
        ),
    }


def settings_of(model: model_settings.ModelSettings) -> dict[str, Any]:
    """The settings that a pretrained network has to share: those that say what it is, and that its encoder reads."""
    free = _FREE | {one.key for one in model.idle()}
    values = json.loads(model.to_json())
    return {
        name: values[name] for name in users_settings.UserEncoderSettings.model_fields if name not in free
    }


def length(model: Any, window_length: int) -> int | None:
    """The window's length where weights are of it: of causal attention, which has a vector for each place."""
    return window_length if model.encoder == "causal" else None
