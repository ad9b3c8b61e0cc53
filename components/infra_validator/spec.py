"""How a candidate is tried in a server before it is pushed."""

from typing import Literal

import pydantic

from schemas import settings


class InfraSpec(settings.Settings):
    """How a candidate is tried in a server before it is pushed.

    Attributes:
    server: `auto` takes a `tensorflow_model_server` binary where one is on PATH, else
      TensorFlow Serving in Docker where a daemon answers, else the embedded server.
    requests: timed requests of one row (`recommend`; `predict` of a model of exposures), after as many that
      are not timed.
    max_p50_ms: bound on their median latency.
    load_seconds: how long the model may take to load.
    image: TensorFlow Serving's image, for Docker; None is the release for the TensorFlow that is installed. A model of a
      newer TensorFlow than the server is refused.
    """

    server: Literal["auto", "embedded", "binary", "docker"] = "auto"
    requests: int = pydantic.Field(default=50, ge=1)
    max_p50_ms: float = pydantic.Field(default=50.0, gt=0)
    load_seconds: float = pydantic.Field(default=120.0, gt=0)
    image: str | None = None

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (settings.Reads(("image",), self.server in ("auto", "docker"), "server: auto or docker"),)
