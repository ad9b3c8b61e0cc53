"""eSASRec: SASRec of better parts (Tikhonovich et al., RecSys 2025)."""

from typing import Any

from trainer.layers import ligr
from trainer.models import sasrec


class ESASRec(sasrec.SASRec):
    """SASRec with LiGR blocks (`layers.ligr`); the paper trains it by a softmax over sampled negatives.

    Args:
      settings: see `esasrec_settings.ESASRecSettings`.
      catalogue, seed: see `ranking.SequenceModel`.
    """

    def _block(self) -> Any:
        settings = self.settings
        inner = settings.ffn_ratio * settings.dim
        return ligr.LiGRBlock(settings.dim, settings.heads, inner, settings.dropout, self.generator)
