"""What is left of a deployment."""

from tfx.types import artifact


class DeployedModel(artifact.Artifact):
    """The SavedModel as a server reads it, `VERSION/saved_model.pb`, and `deployment.json`."""

    TYPE_NAME = "components.DeployedModel"
