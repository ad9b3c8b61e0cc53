"""What a served model of the objective `labels` answers: how likely each label is."""

from serving import requests
from serving.objectives import Outputs


def is_of(outputs: Outputs) -> bool:
    """Whether a model with these signatures gives the probabilities of labels."""
    return requests.PREDICT in outputs
