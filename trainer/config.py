"""Settings of models, losses and training. Free of TensorFlow, so that a file is checked at once."""

import json
from typing import Any, ClassVar, Dict, Literal, Optional, Tuple, Union

import pydantic
from typing_extensions import Annotated

from schemas import settings

# The weights of behaviours are trained rather than set.
LEARNED = "learned"
# Where negatives come from.
UNIFORM, POPULARITY, IN_BATCH = "uniform", "popularity", "in_batch"
# The parts of an experiment that the Trainer gets.
PARTS = ("model", "loss", "loop", "training")
# Of popularity, as in word2vec.
_EXPONENT = 0.75


class _ModelSettings(settings.Settings):
    """What models' settings have in common.

    Attributes:
      needs_columns: optional columns of the log that the model cannot do without.
    """

    needs_columns: ClassVar[Tuple[str, ...]] = ()


class PopularitySettings(_ModelSettings):
    """Ranks items by their number of training targets; the floor of every gate on next items."""

    name: Literal["popularity"]


class SASRecSettings(_ModelSettings):
    """SASRec (Kang and McAuley, ICDM 2018).

    Attributes:
      dim: D, width of the embeddings and of every block.
      blocks, heads: number of self-attention blocks, and of heads in each.
      dropout: rate on embeddings, attention weights and the point-wise layers.
      activation: of the point-wise feed-forward layer.
      ffn_ratio: inner width of the point-wise layer over `dim`.
    """

    name: Literal["sasrec"]
    dim: int = pydantic.Field(default=64, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "relu"
    ffn_ratio: int = pydantic.Field(default=1, ge=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "SASRecSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self


class GRU4RecSettings(_ModelSettings):
    """GRU4Rec (Hidasi et al., ICLR 2016).

    Attributes:
      dim: D, width of the item embeddings.
      hidden: units of each GRU layer.
      layers: number of GRU layers.
      dropout: rate on the embeddings and on the output of each GRU layer.
      tied: score with the input's embeddings (CIKM 2018) rather than with a second table.
    """

    name: Literal["gru4rec"]
    dim: int = pydantic.Field(default=64, ge=1)
    hidden: int = pydantic.Field(default=128, ge=1)
    layers: int = pydantic.Field(default=1, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    tied: bool = True


class BERT4RecSettings(_ModelSettings):
    """BERT4Rec (Sun et al., CIKM 2019).

    Attributes:
      dim, blocks, heads, dropout, activation, ffn_ratio: as of SASRec.
      mask_ratio: share of a window's items that are masked in training (the paper's rho).
      last_share: share of the training windows of which only the last item is masked.
    """

    name: Literal["bert4rec"]
    dim: int = pydantic.Field(default=64, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "gelu"
    ffn_ratio: int = pydantic.Field(default=4, ge=1)
    mask_ratio: float = pydantic.Field(default=0.2, gt=0, lt=1)
    last_share: float = pydantic.Field(default=0.1, ge=0, le=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "BERT4RecSettings":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads ({self.heads}), found {self.dim}")
        return self


class CASMSettings(_ModelSettings):
    """CASM (arXiv 2312.09684).

    Attributes:
      dim: D, width of the item embeddings.
      behavior_dim: width of the behaviour embeddings; the blocks are as wide as both.
      blocks, heads: number of self-attention blocks, and of heads in each.
      dropout, activation, ffn_ratio: as of SASRec; `ffn_ratio` is over the blocks' width.
      context: False leaves the behaviours out of the input (an ablation), not out of the loss.
      behavior_weights: what the loss of a target counts for, by its behaviour; 1 where
        nothing is said. `learned` trains the weights instead.
      target_behavior: the behaviour that is to be predicted: its weight is 1 and that of
        the others 0, unless `behavior_weights` says otherwise.
    """

    needs_columns: ClassVar[Tuple[str, ...]] = ("behavior",)

    name: Literal["casm"]
    dim: int = pydantic.Field(default=64, ge=1)
    behavior_dim: int = pydantic.Field(default=16, ge=1)
    blocks: int = pydantic.Field(default=2, ge=1)
    heads: int = pydantic.Field(default=2, ge=1)
    dropout: float = pydantic.Field(default=0.2, ge=0, lt=1)
    activation: Literal["relu", "gelu"] = "relu"
    ffn_ratio: int = pydantic.Field(default=1, ge=1)
    context: bool = True
    behavior_weights: Union[Literal["learned"], Dict[str, float]] = {}
    target_behavior: Optional[str] = None

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
        width = self.dim + (self.behavior_dim if self.context else 0)
        if width % self.heads:
            parts = "dim + behavior_dim" if self.context else "dim"
            raise ValueError(f"{parts} must be a multiple of heads ({self.heads}), found {width}")
        if self.behavior_weights == LEARNED and self.target_behavior is not None:
            raise ValueError(
                f"target_behavior sets weights, which behavior_weights: {LEARNED} trains; "
                f"found target_behavior: {self.target_behavior}"
            )
        return self


class CaserSettings(_ModelSettings):
    """Caser (Tang and Wang, WSDM 2018).

    Attributes:
      dim: D, width of the embeddings.
      markov: M, how many of the last items are looked at.
      max_height: horizontal filters have heights 1 to this; None is `markov`.
      horizontal: number of horizontal filters of each height.
      vertical: number of vertical filters; 0 leaves them out (an ablation).
      activation: of the fully connected layer.
      dropout: rate on the input of the fully connected layer.
      tied: score with the input's embeddings rather than with a second table.
    """

    name: Literal["caser"]
    dim: int = pydantic.Field(default=64, ge=1)
    markov: int = pydantic.Field(default=5, ge=1)
    max_height: Optional[int] = pydantic.Field(default=None, ge=1)
    horizontal: int = pydantic.Field(default=16, ge=1)
    vertical: int = pydantic.Field(default=4, ge=0)
    activation: Literal["relu", "gelu", "tanh", "linear"] = "relu"
    dropout: float = pydantic.Field(default=0.3, ge=0, lt=1)
    tied: bool = False

    @pydantic.model_validator(mode="after")
    def _check(self) -> "CaserSettings":
        if self.max_height is not None and self.max_height > self.markov:
            raise ValueError(f"max_height must be at most markov ({self.markov}), found {self.max_height}")
        return self

    @property
    def heights(self) -> int:
        """The largest height of a filter."""
        return self.max_height or self.markov


Widths = Tuple[Annotated[int, pydantic.Field(ge=1)], ...]


class ConversionSettings(_ModelSettings):
    """What settings of models of exposures have in common.

    Attributes:
      dim: D, width of the embedding of a field.
      tower: widths of the layers of each step's tower, below its head.
      dropout: rate after each hidden layer.
    """

    dim: int = pydantic.Field(default=16, ge=1)
    tower: Widths = (64, 32)
    dropout: float = pydantic.Field(default=0.1, ge=0, lt=1)


class MLPSettings(ConversionSettings):
    """A perceptron for each step, with embeddings of its own; see `ConversionSettings`."""

    name: Literal["mlp"]


class _ExpertSettings(ConversionSettings):
    """Of models with experts.

    Attributes:
      expert: widths of the layers of each expert.
    """

    expert: Widths = pydantic.Field(default=(64,), min_length=1)
    tower: Widths = (32,)


class OMoESettings(_ExpertSettings):
    """OMoE (Ma et al., KDD 2018).

    Attributes:
      experts: how many.
      expert, dim, tower, dropout: see `ConversionSettings` and `_ExpertSettings`.
    """

    name: Literal["omoe"]
    experts: int = pydantic.Field(default=4, ge=1)


class MMoESettings(_ExpertSettings):
    """MMoE (Ma et al., KDD 2018); as `OMoESettings`."""

    name: Literal["mmoe"]
    experts: int = pydantic.Field(default=4, ge=1)


class PLESettings(_ExpertSettings):
    """PLE (Tang et al., RecSys 2020).

    Attributes:
      levels: of extraction; 1 is CGC.
      step_experts: experts of each step, on each level.
      shared_experts: experts of all steps, on each level.
      expert, dim, tower, dropout: see `ConversionSettings` and `_ExpertSettings`.
    """

    name: Literal["ple"]
    levels: int = pydantic.Field(default=2, ge=1)
    step_experts: int = pydantic.Field(default=2, ge=1)
    shared_experts: int = pydantic.Field(default=2, ge=1)


class AITMSettings(ConversionSettings):
    """AITM (Xi et al., KDD 2021).

    Attributes:
      calibrator: alpha, what the loss of later steps that are likelier than earlier ones weighs.
      dim, tower, dropout: see `ConversionSettings`; the last width of `tower` is the paper's k.
    """

    name: Literal["aitm"]
    tower: Widths = pydantic.Field(default=(64, 32), min_length=1)
    calibrator: float = pydantic.Field(default=0.6, ge=0)


class ESMMSettings(ConversionSettings):
    """ESMM (Ma et al., SIGIR 2018); see `ConversionSettings`."""

    name: Literal["esmm"]


class BPCMSettings(ConversionSettings):
    """BPCM (Tang et al.).

    Attributes:
      hidden: width of the first layer of the feature-aware aggregation, eq. (4).
      calibrator: alpha of eq. (13).
      attention, aggregation, gate, conversion: False leaves a part out: the paper's ablations
        w/o Att, w/o Org, w/o Gate and w/o BPC. The gate is between the first two: without one of them
        there is none.
      dim, tower, dropout: see `ConversionSettings`; `tower` is the head's perceptron, and `dropout`
        also of what one step tells the next, eq. (8).
    """

    name: Literal["bpcm"]
    hidden: int = pydantic.Field(default=64, ge=1)
    calibrator: float = pydantic.Field(default=0.6, ge=0)
    attention: bool = True
    aggregation: bool = True
    gate: bool = True
    conversion: bool = True

    @pydantic.model_validator(mode="after")
    def _check(self) -> "BPCMSettings":
        if not (self.attention or self.aggregation):
            raise ValueError("attention and aggregation cannot both be left out, found false for both")
        return self


ModelSettings = Annotated[
    Union[
        PopularitySettings,
        GRU4RecSettings,
        CaserSettings,
        SASRecSettings,
        BERT4RecSettings,
        CASMSettings,
        MLPSettings,
        OMoESettings,
        MMoESettings,
        PLESettings,
        AITMSettings,
        ESMMSettings,
        BPCMSettings,
    ],
    pydantic.Field(discriminator="name"),
]


class SoftmaxSettings(settings.Settings):
    """Cross-entropy over the whole catalogue."""

    name: Literal["softmax"]


class NegativeSettings(settings.Settings):
    """How the negatives of a sampled loss are drawn.

    Attributes:
      negatives: how many for each target.
      negative_sampling: `uniform` over the catalogue; by `popularity`, the number of training
        targets to the power of `popularity_exponent`; or `in_batch`: targets of the same
        batch, always the same ones for all.
      popularity_exponent: with `popularity`; None is 0.75.
      logq_correction: correct the logits for items that are drawn more often than others.
      shared_negatives: draw once for all targets of a step, not for each: then many more are cheap.
    """

    negatives: int = pydantic.Field(ge=1)
    negative_sampling: Literal["uniform", "popularity", "in_batch"] = UNIFORM
    popularity_exponent: Optional[float] = pydantic.Field(default=None, ge=0, le=2)
    logq_correction: bool = True
    shared_negatives: bool = False

    @pydantic.model_validator(mode="after")
    def _check_sampling(self) -> "NegativeSettings":
        if self.popularity_exponent is not None and self.negative_sampling != POPULARITY:
            raise ValueError(
                f"popularity_exponent goes with negative_sampling: {POPULARITY}, "
                f"found negative_sampling: {self.negative_sampling}"
            )
        return self

    @property
    def exponent(self) -> float:
        """The power that counts are raised to."""
        return _EXPONENT if self.popularity_exponent is None else self.popularity_exponent


class SampledSoftmaxSettings(NegativeSettings):
    """Cross-entropy over the target and `negatives` sampled items."""

    name: Literal["sampled_softmax"]
    negatives: int = pydantic.Field(default=256, ge=1)


class BCESettings(NegativeSettings):
    """Binary cross-entropy of the target against `negatives` sampled items."""

    name: Literal["bce"]
    negatives: int = pydantic.Field(default=1, ge=1)


class GBCESettings(settings.Settings):
    """Generalised binary cross-entropy (gSASRec, RecSys 2023).

    Attributes:
      negatives: how many for each target.
      calibration: the paper's t.
      negative_sampling: `uniform`; the calibration rests on each item being drawn as often.
      shared_negatives: see `NegativeSettings`.
    """

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


class StepBCESettings(settings.Settings):
    """Binary cross-entropy of each step of a chain, the loss of models of exposures.

    Attributes:
      weights: what the loss of a step counts for, as `{buy: 2}`; 1 where nothing is said.
    """

    name: Literal["step_bce"]
    weights: Dict[str, Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]] = {}


LossSettings = Annotated[
    Union[SoftmaxSettings, SampledSoftmaxSettings, BCESettings, GBCESettings, StepBCESettings],
    pydantic.Field(discriminator="name"),
]


class FitSettings(settings.Settings):
    """Plain training: an optimiser step on each batch of windows."""

    name: Literal["fit"]


class TPSettings(settings.Settings):
    """TP: gradient alignment and an adversary of user frequency (Yin et al., KDD 2020).

    A step of it is `inner_steps` mini-batches, each of at most `users_per_step * user_batch`
    windows over all replicas, and then one update by the training's optimiser, whose
    learning rate is the paper's beta. `training.batch_size` has no place here.

    Attributes:
      inner_steps: the paper's k; 1 aligns nothing.
      inner_learning_rate: the paper's alpha, of plain gradient descent on the mean loss.
      reduction: what the losses of a mini-batch come to: `mean`, over its targets (the adversary's over its
        windows), so that mini-batches weigh alike in an update, those of users with few events as those of
        users with many; `sum`, as eq. (2) is, so that targets weigh alike. It is divided by how many events
        (windows) a mini-batch has on average, so that learning rates keep their meaning.
      adversary: the paper's lambda; 0 leaves the adversary out.
      user_batch: the paper's K, at most so many windows of one user in a mini-batch.
      users_per_step: so many such parts, all of head users or all of tail users, share a
        mini-batch; 1 is the paper's, more make larger steps.
      discriminator_hidden: widths of the adversary's hidden layers; none is logistic regression.
    """

    name: Literal["tp"]
    inner_steps: int = pydantic.Field(default=2, ge=1)
    inner_learning_rate: float = pydantic.Field(default=0.01, gt=0)
    reduction: Literal["mean", "sum"] = "mean"
    adversary: float = pydantic.Field(default=0.1, ge=0)
    user_batch: int = pydantic.Field(default=8, ge=1)
    users_per_step: int = pydantic.Field(default=1, ge=1)
    discriminator_hidden: Tuple[Annotated[int, pydantic.Field(ge=1)], ...] = (64,)


LoopSettings = Annotated[Union[FitSettings, TPSettings], pydantic.Field(discriminator="name")]


class TrainingSettings(settings.Settings):
    """The training run.

    Attributes:
      epochs: at most this many passes over the training windows; 0 exports the
        initial weights (for testing a gate).
      batch_size: windows per step, over all replicas; of `loop: {name: fit}`.
      length_buckets: in how many widths the batches come, so that short windows are not computed
        on as long ones; 1 is the windows' length alone, None as many as are worth it (one with in-batch
        negatives). By `loop: {name: fit}`
        windows of about one length share a batch; TP only cuts padding off that a mini-batch does not need.
      learning_rate, weight_decay, clip_norm: of AdamW (Adam where `weight_decay` is 0).
      warmup_steps: steps of linear growth of the learning rate.
      schedule: of the learning rate after that: `constant`, or `cosine`, half a wave that ends at 0 with
        the last of `epochs`, so that `patience` is best as large as these.
      patience: epochs without a better full-ranking NDCG@10 (of models of exposures: mean AUC of the
        steps) on `eval` before it stops, at an epoch that was evaluated.
      evaluate_every: epochs between two evaluations.
      max_seconds: stop at the first end of an epoch after this much training time.
      seed: two runs with the same seed, data and machine are equal.
      mixed_precision: bfloat16 on CPU and TPU, float16 with loss scaling on GPU.
      xla: compile the training step.
      calibration: of models of exposures, after training: `platt` fits a slope and an offset of each
        step's logits to the labels of `eval`, which become part of the model.
      checkpoint_seconds: time between two checkpoints within an epoch; each epoch's end
        has one.
    """

    epochs: int = pydantic.Field(default=50, ge=0)
    batch_size: int = pydantic.Field(default=128, ge=1)
    length_buckets: Optional[int] = pydantic.Field(default=None, ge=1)
    learning_rate: float = pydantic.Field(default=1e-3, gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    clip_norm: Optional[float] = pydantic.Field(default=None, gt=0)
    warmup_steps: int = pydantic.Field(default=0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    patience: int = pydantic.Field(default=5, ge=1)
    evaluate_every: int = pydantic.Field(default=1, ge=1)
    max_seconds: Optional[float] = pydantic.Field(default=None, gt=0)
    seed: int = pydantic.Field(default=1, ge=0)
    mixed_precision: bool = False
    xla: bool = False
    calibration: Literal["none", "platt"] = "none"
    checkpoint_seconds: float = pydantic.Field(default=300.0, gt=0)


def default_loss(parts: Dict[str, Any]) -> LossSettings:
    """The loss where none is named, from the parts before it."""
    if isinstance(parts.get("model"), ConversionSettings):
        return StepBCESettings(name="step_bce")
    return SoftmaxSettings(name="softmax")


def check_model(
    model: ModelSettings, loss: LossSettings, loop: LoopSettings, training: TrainingSettings
) -> None:
    """Refuses a loss, a loop or a setting of training that a model has no use for.

    Raises:
      ValueError: in one line, with what to do.
    """
    of_exposures = isinstance(model, ConversionSettings)
    if isinstance(loss, StepBCESettings) != of_exposures:
        fitting = "step_bce" if of_exposures else "softmax, sampled_softmax, bce or gbce"
        raise ValueError(f"model {model.name} needs loss: {{name: {fitting}}}, found {loss.name}")
    if of_exposures and not isinstance(loop, FitSettings):
        raise ValueError(f"model {model.name} needs loop: {{name: fit}}, found {loop.name}")
    if training.calibration != "none" and not of_exposures:
        raise ValueError(
            f"training.calibration goes with models of exposures, found {training.calibration} "
            f"with {model.name}"
        )
    if of_exposures and training.length_buckets is not None:
        raise ValueError(
            f"training.length_buckets goes with models of windows of events, found {training.length_buckets} "
            f"with {model.name}"
        )


def check_loop(loop: LoopSettings, loss: LossSettings, training: TrainingSettings) -> None:
    """Refuses a setting that would not be read, or means something else.

    Raises:
      ValueError: in one line, with what to do.
    """
    default = TrainingSettings.model_fields["batch_size"].default
    if isinstance(loop, TPSettings) and training.batch_size != default:
        raise ValueError(
            f"training.batch_size goes with loop: {{name: fit}}; with tp it is users_per_step * user_batch "
            f"({loop.users_per_step} * {loop.user_batch}): leave it out, found {training.batch_size}"
        )
    if getattr(loss, "negative_sampling", None) != IN_BATCH:
        return
    if isinstance(loop, TPSettings):
        raise ValueError(
            "loss.negative_sampling: in_batch needs batches of any users, and those of loop: {name: tp} are of one "
            "user or one class; found in_batch"
        )
    if training.length_buckets not in (None, 1):
        raise ValueError(
            "training.length_buckets: in-batch negatives are those of windows of any length: leave it out, "
            f"found {training.length_buckets}"
        )


class TrainerSettings(settings.Settings):
    """All that decides a training besides the data."""

    model: ModelSettings
    loss: LossSettings = pydantic.Field(default_factory=default_loss)
    loop: LoopSettings = FitSettings(name="fit")
    training: TrainingSettings = TrainingSettings()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "TrainerSettings":
        check_model(self.model, self.loss, self.loop, self.training)
        check_loop(self.loop, self.loss, self.training)
        return self

    def to_custom_config(self) -> Dict[str, str]:
        """For TFX Trainer's `custom_config`: JSON text by name."""
        return {name: getattr(self, name).to_json() for name in PARTS}

    @classmethod
    def from_custom_config(cls, custom: Dict[str, str]) -> "TrainerSettings":
        """Reads what `to_custom_config` wrote; other keys are left alone."""
        return cls.from_values({name: json.loads(custom[name]) for name in PARTS})
