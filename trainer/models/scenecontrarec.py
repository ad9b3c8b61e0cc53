"""SceneContraRec, a baseline of DSPnet: ContraRec over items with their scenes."""

from trainer.models import contrastive


class SceneContraRec(contrastive.ContrastiveModel):
    """Scenes in the input, and the contrast of histories; see `contrastive.ContrastiveModel`."""

    reads_scenes, contrasts = True, True
