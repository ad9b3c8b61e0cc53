"""Settings of the training procedures."""

from typing import Annotated, Literal

import pydantic

from schemas import settings


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
    discriminator_hidden: tuple[Annotated[int, pydantic.Field(ge=1)], ...] = (64,)


LoopSettings = Annotated[FitSettings | TPSettings, pydantic.Field(discriminator="name")]
