"""SceneCTC, a baseline of DSPnet: the encoder of ContraRec over items with their scenes, and its context-target contrast."""

from trainer.models import contrastive


class SceneCTC(contrastive.ContrastiveModel):
    """Scenes in the input, no contrast of histories; see `contrastive.ContrastiveModel`."""

    reads_scenes, contrasts = True, False
