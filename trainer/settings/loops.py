"""Settings of the training procedures."""

from typing import Annotated, ClassVar, Literal

import pydantic

from schemas import settings


class LoopSettings(settings.Settings):
    """What loops' settings have in common; `name` is a literal of each.

    Attributes:
      objectives: of the models that it trains, see `schemas.kinds`; None is all.
    """

    objectives: ClassVar[tuple[str, ...] | None] = None
    name: str

    @property
    def batch(self) -> str | None:
        """How large its batches are, where they are of a few users; None: `training.batch_size` of any users."""
        return None


class FitSettings(LoopSettings):
    """Plain training: an optimiser step on each batch of windows."""

    name: Literal["fit"]


class TPSettings(LoopSettings):
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
      user_batch: the paper's K, at most this many windows of one user in a mini-batch.
      users_per_step: how many such parts, all of head users or all of tail users, share a
        mini-batch; 1 is the paper's, more make larger steps.
      discriminator_hidden: widths of the adversary's hidden layers; none is logistic regression.
    """

    objectives: ClassVar[tuple[str, ...] | None] = ("ranking",)

    name: Literal["tp"]
    inner_steps: int = pydantic.Field(default=2, ge=1)
    inner_learning_rate: float = pydantic.Field(default=0.01, gt=0)
    reduction: Literal["mean", "sum"] = "mean"
    adversary: float = pydantic.Field(default=0.1, ge=0)
    user_batch: int = pydantic.Field(default=8, ge=1)
    users_per_step: int = pydantic.Field(default=1, ge=1)
    discriminator_hidden: tuple[Annotated[int, pydantic.Field(ge=1)], ...] = (64,)

    @property
    def batch(self) -> str:
        """See `LoopSettings`."""
        return f"users_per_step * user_batch ({self.users_per_step} * {self.user_batch})"


# A loop declares itself in its settings; the first is the one where none is named.
LOOPS: dict[str, type[LoopSettings]] = {
    settings.tag(entry, "name"): entry for entry in (FitSettings, TPSettings)
}
