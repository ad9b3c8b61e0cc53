"""MMoE: a multi-gate mixture of experts (Ma et al., KDD 2018)."""

from trainer.models import omoe


class MMoE(omoe.OMoE):
    """As OMoE, with a gate for each step."""

    def _gate_count(self) -> int:
        return len(self.exposures.steps)
