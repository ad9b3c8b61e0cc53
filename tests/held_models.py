"""SavedModels that several tests ask, and none changes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf


@contextlib.contextmanager
def once() -> Iterator[None]:
    """Within it whoever loads the same folder, TFMA and servers of this process too, gets the same model."""
    held: dict[str, Any] = {}
    load = tf.saved_model.load

    def load_once(path: str, *given: Any, **options: Any) -> Any:
        if path not in held:
            held[path] = load(path, *given, **options)
        return held[path]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", load_once)
        # By this name TFMA knows it.
        patch.setattr(tf.compat.v1.saved_model, "load_v2", load_once)
        yield
