"""Settings of a training run."""

from typing import Literal

import pydantic

from schemas import settings

# What only some models have a use for (see `model.ModelSettings.training_read`), and which.
ONLY_WITH = {
    "calibration": "models of labels",
    "label_share": "models of labels",
    "length_buckets": "models of windows of events",
}


# What a training by steps of an optimiser reads, and no other.
OF_STEPS = (
    "epochs",
    "batch_size",
    "length_buckets",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "clip_norm",
    "warmup_steps",
    "schedule",
    "patience",
    "evaluate_every",
    "max_seconds",
    "warm_start",
    "xla",
    "checkpoint_seconds",
)

# NumPy takes 32 bits, and Keras Tuner gets the next one.
_LARGEST_SEED = 2**32 - 2


class TrainingSettings(settings.Settings):
    """The training run.

    Attributes:
      epochs: at most this many passes over the training windows; 0 exports the
        initial weights (for testing a gate).
      batch_size: windows per step, over all replicas; of `loop: {name: fit}`. A step's loss is the mean over its
        targets, so those of an epoch's smaller last batch weigh more than others.
      length_buckets: in how many widths the batches come, so that short windows are not computed
        on as long ones; 1 is the windows' length alone, None as many as are worth it (one with in-batch
        negatives, and of models that compare the windows of a batch: these are then compared with others of about their
        length if it is said how many). By `loop: {name: fit}`
        windows of about one length share a batch; TP only cuts padding off that a mini-batch does not need.
      optimizer: `adam`; `lazy_adam` moves only those rows of a table that a step looks up, so that a step does not
        grow with the catalogue, for losses that draw negatives and for models of labels; on one device, without
        `weight_decay`; `sgd` is plain gradient descent, as some papers have it; it needs far larger rates than Adam, and
        has none by default.
      learning_rate, weight_decay, clip_norm: of the optimiser; with `weight_decay` Adam is AdamW.
      warmup_steps: steps of linear growth of the learning rate.
      schedule: of the learning rate after that: `constant`, or `cosine`, half a wave that ends at 0 with
        the last of `epochs`, so that `patience` is best as large as these.
      patience: epochs without a better full-ranking NDCG@10 (with a loss of a period: of all its items, `period_ndcg@10`; of
        models of labels: mean AUC of the steps; of users' embeddings: neighbour agreement, or with labels the probe's
        AUC) on `eval` before it stops, at an epoch that was evaluated.
      evaluate_every: epochs between two evaluations.
      max_seconds: stop at the first end of an epoch after this much training time.
      warm_start: `last_blessed` starts from the weights of the model that is live, where there is one: rows of known ids are
        carried over, those of new ones are initialised. Each run after a push then trains again, from what was
        pushed. Its weights are measured on `eval` before the first step, as epoch 0: where no epoch is better, the model is
        that one. Sweeps and searches always start from initial weights.
      seed: two runs with the same seed, data and machine are equal, on a CPU; a GPU adds up in any order.
      mixed_precision: bfloat16 on CPU and TPU, float16 with loss scaling on GPU, while it trains: what is calibrated, tested
        and served computes in float32.
      xla: compile the training step.
      calibration: of models of labels, after training: `platt` fits a slope and an offset of each
        step's logits to the labels of `eval`, which become part of the model.
      label_share: of models of labels: the share of the training examples that is learnt from, drawn by `seed`; below 1 it
        shows how much fewer labels would cost. `eval` and `test` have all of theirs.
      checkpoint_seconds: time between two checkpoints within an epoch; each epoch's end
        has one. With another time an interrupted training goes on, too.
    """

    epochs: int = pydantic.Field(default=50, ge=0)
    batch_size: int = pydantic.Field(default=128, ge=1)
    length_buckets: int | None = pydantic.Field(default=None, ge=1)
    optimizer: Literal["adam", "lazy_adam", "sgd"] = "adam"
    learning_rate: float = pydantic.Field(default=1e-3, gt=0)
    weight_decay: float = pydantic.Field(default=0.0, ge=0)
    clip_norm: float | None = pydantic.Field(default=None, gt=0)
    warmup_steps: int = pydantic.Field(default=0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    patience: int = pydantic.Field(default=5, ge=1)
    evaluate_every: int = pydantic.Field(default=1, ge=1)
    max_seconds: float | None = pydantic.Field(default=None, gt=0)
    warm_start: Literal["none", "last_blessed"] = "none"
    seed: int = pydantic.Field(default=1, ge=0, le=_LARGEST_SEED)
    mixed_precision: bool = False
    xla: bool = False
    calibration: Literal["none", "platt"] = "none"
    label_share: float = pydantic.Field(default=1.0, gt=0, le=1)
    checkpoint_seconds: float = pydantic.Field(default=300.0, gt=0)

    @pydantic.model_validator(mode="after")
    def _check_optimizer(self) -> "TrainingSettings":
        if self.optimizer == "lazy_adam" and self.weight_decay:
            raise ValueError(
                "optimizer: lazy_adam goes without weight_decay, which moves every row, found weight_decay: "
                f"{self.weight_decay:g}"
            )
        if self.optimizer == "sgd" and "learning_rate" not in self.model_fields_set:
            raise ValueError(
                "optimizer: sgd needs a learning_rate: the default, "
                f"{self.learning_rate:g}, is Adam's, and gradient descent learns next to nothing by it"
            )
        return self
