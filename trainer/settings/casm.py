"""Settings of CASM."""

from typing import Any, ClassVar, Literal

import pydantic

from schemas import settings
from trainer.settings import ranking

# The weights of behaviours are trained rather than set.
LEARNED = "learned"


class CASMSettings(ranking.RankingSettings):
    """CASM (arXiv 2312.09684).

    Attributes:
      dim: D, width of the item embeddings.
      behavior_dim: width of the behaviour embeddings; the blocks are as wide as both.
      blocks, heads: number of self-attention blocks, and of heads in each.
      dropout, activation, ffn_ratio: as of SASRec; `ffn_ratio` is over the blocks' width.
      context: False leaves the behaviours out of the input (an ablation), not out of the loss.
      behavior_weights: what the loss of a target counts for, by its behaviour; 1 where
        nothing is said. `learned` trains the weights instead.
      weighted: what these weights are of: `both` terms of a target's loss, or of `positives` alone, so that its
        negatives weigh 1, as in the authors' code (MBS-Rec, RecSys 2024); with `loss: {name: bce}`.
      candidates: what is scored: `items`, or `behaviors`: items with the target's behaviour, by the projection that
        the history has, as in the authors' code (which scales the items of a history, and nothing else, before it; here
        the projected token is). Of candidates that all have the same one that changes no ranking; in
        the loss, what is likelier of one behaviour than of another need not be said by items. The blocks are then
        `dim` wide.
      target_behavior: the behaviour that is to be predicted: its weight is 1 and that of
        the others 0, unless `behavior_weights` says otherwise.
    """

    model_class: ClassVar[str] = "trainer.models.casm.CASM"
    paper: ClassVar[str] = (
        "Elsayed et al., Context-Aware Sequential Model for Multi-Behaviour Recommendation, arXiv 2312.09684"
    )
    summary: ClassVar[str] = (
        "self-attention over items with their behaviours, whose weights in the loss are set or learnt"
    )
    needs_columns: ClassVar[tuple[str, ...]] = ("behavior",)

    name: Literal["casm"]
    dim: int = pydantic.Field(default=64, ge=1)
    behavior_dim: int = pydantic.Field(default=16, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "relu"
    ffn_ratio: int = pydantic.Field(default=1, ge=1)
    context: bool = True
    behavior_weights: Literal["learned"] | dict[str, float] = {}
    weighted: Literal["both", "positives"] = "both"
    candidates: Literal["items", "behaviors"] = "items"
    target_behavior: str | None = None

    @pydantic.field_validator("behavior_weights", mode="before")
    @classmethod
    def _check_weights(cls, value: object) -> object:
        # Here rather than by the types, whose message would have a line for each of the two forms.
        weights = value.values() if isinstance(value, dict) else None
        if weights is None and value != LEARNED:
            raise ValueError(
                f"takes a weight for each behaviour, as {{view: 0.2, buy: 1}}, or {LEARNED}; found {value!r}"
            )
        for weight in weights or ():
            fine = isinstance(weight, (int, float)) and not isinstance(weight, bool)
            if not (fine and 0 <= weight < float("inf")):
                raise ValueError(f"a weight is a number of at least 0, found {weight!r}")
        return value

    @pydantic.model_validator(mode="after")
    def _check(self) -> "CASMSettings":
        if self.candidates == "behaviors" and not self.context:
            raise ValueError("candidates: behaviors needs context: true, found false")
        apart = self.context and self.candidates == "items"
        width = self.dim + (self.behavior_dim if apart else 0)
        if width % self.heads:
            parts = "dim + behavior_dim" if apart else "dim"
            raise ValueError(f"{parts} must be a multiple of heads ({self.heads}), found {width}")
        if self.behavior_weights == LEARNED and self.target_behavior is not None:
            raise ValueError(
                f"target_behavior sets weights, which behavior_weights: {LEARNED} trains; "
                f"found target_behavior: {self.target_behavior}"
            )
        if self.behavior_weights == LEARNED and self.weighted == "positives":
            raise ValueError(f"behavior_weights: {LEARNED} are of whole losses, found weighted: positives")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(("behavior_dim",), self.context, "context: true"),
            settings.Reads(
                ("weighted",),
                bool(self.behavior_weights) or self.target_behavior is not None,
                "behavior_weights or target_behavior",
            ),
        )

    def check_loss(self, loss: Any) -> None:
        """See `ModelSettings`."""
        if self.weighted == "positives" and loss.name != "bce":
            raise ValueError(f"model.weighted: positives goes with loss: {{name: bce}}, found {loss.name}")
