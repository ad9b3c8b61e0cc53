"""Settings of the losses."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import pydantic

from schemas import settings
from trainer.settings import model

# Where negatives come from.
UNIFORM: Final = "uniform"
POPULARITY: Final = "popularity"
IN_BATCH: Final = "in_batch"
UNMET: Final = "unmet"
# Of popularity, as in word2vec.
_EXPONENT = 0.75


class LossSettings(settings.Settings):
    """What losses' settings have in common; `name` is a literal of each.

    Attributes:
      objective: of the models that it trains, see `schemas.kinds`.
      targets: what it wants predicted, see `model.ModelSettings`.
    """

    objective: ClassVar[str]
    targets: ClassVar[str] = "next"
    name: str

    @property
    def in_batch(self) -> bool:
        """Whether its negatives are targets of the same batch."""
        return False

    @property
    def scores_all(self) -> bool:
        """Whether each step scores the whole catalogue, so that each row of the items' table has a gradient."""
        return False

    def check_window(self, window: Any) -> None:
        """Checks that windows have what the settings name.

        Args:
          window: their settings.

        Raises:
          model.WrongWindow: in one line, with what they have.
        """


class SoftmaxSettings(LossSettings):
    """Cross-entropy over the whole catalogue."""

    objective: ClassVar[str] = "ranking"

    name: Literal["softmax"]

    @property
    def scores_all(self) -> bool:
        """See `LossSettings`."""
        return True


class DrawnSettings(LossSettings):
    """How the negatives of a sampled loss are drawn.

    Attributes:
      negatives: how many for each target.
      negative_sampling: `uniform` over the catalogue; by `popularity`, the number of training
        targets to the power of `popularity_exponent`; or `in_batch`: targets of the same
        batch (of several devices: of a device's own share of it), always the same ones for all.
      popularity_exponent: with `popularity`; None is 0.75.
      shared_negatives: draw once for all targets of a step, not for each: then many more are cheap.
    """

    objective: ClassVar[str] = "ranking"

    negatives: int = pydantic.Field(ge=1)
    negative_sampling: Literal["uniform", "popularity", "in_batch"] = UNIFORM
    popularity_exponent: float | None = pydantic.Field(default=None, ge=0, le=2)
    shared_negatives: bool = False

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            settings.Reads(
                ("popularity_exponent",),
                self.negative_sampling == POPULARITY,
                f"negative_sampling: {POPULARITY}",
            ),
            settings.Reads(
                ("shared_negatives",),
                not self.in_batch,
                f"negative_sampling: {UNIFORM} or {POPULARITY}; those of a batch are shared",
            ),
        )

    @property
    def in_batch(self) -> bool:
        """See `LossSettings`."""
        return self.negative_sampling == IN_BATCH

    @property
    def exponent(self) -> float:
        """The power that counts are raised to."""
        return _EXPONENT if self.popularity_exponent is None else self.popularity_exponent


class NegativeSettings(DrawnSettings):
    """How the negatives of a loss are drawn that can be corrected for it. See `DrawnSettings`.

    Attributes:
      logq_correction: correct the logits for items that are drawn more often than others. Models that rank scenes do not know
        how often that is `in_batch`, and need `false` there.
    """

    logq_correction: bool = True

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            *super().reads(),
            settings.Reads(
                ("logq_correction",),
                self.negative_sampling in (POPULARITY, IN_BATCH),
                f"negative_sampling: {POPULARITY} or {IN_BATCH}, by which some items are drawn more often",
            ),
        )


class SampledSoftmaxSettings(NegativeSettings):
    """Cross-entropy over the target and `negatives` sampled items."""

    name: Literal["sampled_softmax"]
    negatives: int = pydantic.Field(default=256, ge=1)


class BCESettings(NegativeSettings):
    """Binary cross-entropy of the target against `negatives` sampled items.

    Attributes:
      negatives: how many for each target.
      negative_sampling: as of `sampled_softmax`, or `unmet`: uniformly from the items that are neither in the window's
        history nor its target. SASRec's, TP's and CASM's papers draw from what the user has nowhere: that is the same where
        a window holds all of a user's events; what is older than the window, or follows later in a period, may be drawn.
    """

    name: Literal["bce"]
    negatives: int = pydantic.Field(default=1, ge=1)
    # Wider than that of the losses whose corrections suppose that all items may be drawn.
    negative_sampling: Literal["uniform", "popularity", "in_batch", "unmet"] = UNIFORM  # type: ignore[assignment]

    @pydantic.model_validator(mode="after")
    def _check_unmet(self) -> "BCESettings":
        if self.negative_sampling == UNMET and self.shared_negatives:
            raise ValueError(
                "negative_sampling: unmet draws for each window, found shared_negatives: true, which draws once for all"
            )
        return self


class GBCESettings(LossSettings):
    """Generalised binary cross-entropy (gSASRec, RecSys 2023).

    Attributes:
      negatives: how many for each target.
      calibration: the paper's t.
      negative_sampling: `uniform`; the calibration rests on each item being drawn as often.
      shared_negatives: see `NegativeSettings`.
    """

    objective: ClassVar[str] = "ranking"

    name: Literal["gbce"]
    negatives: int = pydantic.Field(default=256, ge=1)
    calibration: float = pydantic.Field(default=0.75, ge=0, le=1)
    negative_sampling: Literal["uniform", "popularity", "in_batch"] = UNIFORM
    shared_negatives: bool = False

    @pydantic.model_validator(mode="after")
    def _check(self) -> "GBCESettings":
        if self.negative_sampling != UNIFORM:
            raise ValueError(
                "gbce calibrates for negatives drawn uniformly, found negative_sampling: "
                f"{self.negative_sampling}; bce and sampled_softmax take others"
            )
        return self


class BPRMaxSettings(DrawnSettings):
    """The target against the negatives with the highest scores, pair by pair (Hidasi and Karatzoglou, CIKM 2018, eq. 10).

    Attributes:
      regularization: what the squares of the negatives' scores count for (lambda).
    """

    name: Literal["bpr_max"]
    negatives: int = pydantic.Field(default=256, ge=1)
    regularization: float = pydantic.Field(default=1.0, ge=0)


class TOP1MaxSettings(DrawnSettings):
    """The other loss of GRU4Rec on the negatives with the highest scores (Hidasi and Karatzoglou, CIKM 2018, eq. 8)."""

    name: Literal["top1_max"]
    negatives: int = pydantic.Field(default=256, ge=1)


class _PeriodSettings(LossSettings):
    """Losses over all that follows in a period.

    Attributes:
      negatives: how many items of the catalogue, drawn uniformly and shared by all windows of a step, stand for those
        that do not follow; None: all of them.
    """

    objective: ClassVar[str] = "ranking"
    targets: ClassVar[str] = "period"

    negatives: int | None = pydantic.Field(default=None, ge=1)

    @property
    def scores_all(self) -> bool:
        """See `LossSettings`."""
        return self.negatives is None


class PeriodBCESettings(_PeriodSettings):
    """Binary cross-entropy over the catalogue: whether an item follows in the period (DSPnet, eq. 6, but a sum).

    Attributes:
      negatives: see `_PeriodSettings`.
    """

    name: Literal["period_bce"]


class PeriodSoftmaxSettings(_PeriodSettings):
    """Cross-entropy of the softmax over the catalogue with how often each item follows in the period.

    Attributes:
      negatives: see `_PeriodSettings`.
    """

    name: Literal["period_softmax"]


class StepBCESettings(LossSettings):
    """Binary cross-entropy of each step of a chain, or of each label: the loss of models of labels.

    Attributes:
      weights: what the loss of a step counts for, as `{buy: 2}`; 1 where nothing is said. A step that is not to be learnt is
        left out of the window.
    """

    objective: ClassVar[str] = "labels"

    name: Literal["step_bce"]
    weights: dict[str, Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]] = {}

    def check_window(self, window: Any) -> None:
        """See `LossSettings`."""
        for name in self.weights:
            if name not in window.label_names:
                raise model.WrongWindow(
                    f"loss.weights: the window has no step or label {name!r}; it has {', '.join(window.label_names)}"
                )


class _FutureSettings(LossSettings):
    """Losses of models that predict an embedding of what follows.

    Attributes:
      standardize: whether what is predicted has mean 0 and variance 1 over its dimensions, so that a teacher cannot
        make the loss small by small embeddings.
    """

    objective: ClassVar[str] = "user_embedding"
    targets: ClassVar[str] = "period"

    standardize: bool = True


class FutureCESettings(_FutureSettings):
    """Cross-entropy of softmaxes over the dimensions of two embeddings (BYB).

    Attributes:
      standardize: see `_FutureSettings`.
      teacher_temperature, student_temperature: what the teacher's embedding, and the predicted one, are divided by.
    """

    name: Literal["future_ce"]
    teacher_temperature: float = pydantic.Field(default=1.0, gt=0)
    student_temperature: float = pydantic.Field(default=1.0, gt=0)


class FutureMSESettings(_FutureSettings):
    """Mean squared difference of the dimensions of two embeddings (BYB).

    Attributes:
      standardize: see `_FutureSettings`.
    """

    name: Literal["future_mse"]


# A loss declares itself in its settings; the first of an objective is the one where none is named.
LOSSES: dict[str, type[LossSettings]] = {
    settings.tag(entry, "name"): entry
    for entry in (
        SoftmaxSettings,
        SampledSoftmaxSettings,
        BCESettings,
        GBCESettings,
        BPRMaxSettings,
        TOP1MaxSettings,
        PeriodBCESettings,
        PeriodSoftmaxSettings,
        StepBCESettings,
        FutureCESettings,
        FutureMSESettings,
    )
}


def fitting(objective: str, targets: Sequence[str] = ("next",)) -> tuple[str, ...]:
    """The losses of models of an objective that predict these targets, in their order; the first is the default."""
    return tuple(
        name
        for target in targets
        for name, entry in LOSSES.items()
        if entry.objective == objective and entry.targets == target
    )
