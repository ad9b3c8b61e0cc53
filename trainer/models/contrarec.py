"""ContraRec: sequential recommendation with multiple contrast signals (Wang et al., TOIS 2023)."""

from schemas import names
from trainer.models import contrastive


class ContraRec(contrastive.ContrastiveModel):
    """Items alone in the input, and the contrast of histories; see `contrastive.ContrastiveModel`.

    Of the paper's encoders it has the one of BERT4Rec. Scenes are predicted besides, so that they can be measured.
    """

    inputs_read = (names.HISTORY_ITEM_INDEX,)
    reads_scenes, contrasts = False, True
