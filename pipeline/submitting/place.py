"""Where a pipeline is submitted to. Free of every client."""

import dataclasses

from schemas import errors


@dataclasses.dataclass(frozen=True)
class Place:
    """Of a backend.

    Attributes:
      host: address of Kubeflow Pipelines' API.
      namespace: of a Kubeflow with several users.
      project: of Google Cloud.
      region: of Vertex AI.
    """

    host: str | None = None
    namespace: str | None = None
    project: str | None = None
    region: str | None = None

    def need(self, *options: str) -> None:
        """Checks that options are given.

        Raises:
          errors.InputError: naming those that are not.
        """
        missing = [f"--{name}" for name in options if not getattr(self, name)]
        if missing:
            raise errors.InputError(f"submit needs {' and '.join(missing)} for this target, found none")
