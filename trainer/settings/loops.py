"""Settings of the training procedures."""

from typing import Annotated, Any, ClassVar, Literal

import pydantic

from schemas import settings


class LoopSettings(settings.Settings):
    """What loops' settings have in common; `name` is a literal of each.

    Attributes:
      objectives: of the models that it trains, see `schemas.kinds`; None is all.
      measures: what an evaluated epoch has besides the metrics of `eval`.
      steps: whether it trains by steps of an optimiser on batches.
    """

    objectives: ClassVar[tuple[str, ...] | None] = None
    measures: ClassVar[tuple[str, ...]] = ()
    steps: ClassVar[bool] = True
    name: str

    @property
    def batch(self) -> str | None:
        """How large its batches are, where they are of a few users; None: `training.batch_size` of any users."""
        return None

    def check_model(self, model: Any) -> None:
        """Checks that the loop can train a model of its objectives.

        Args:
          model: its settings.

        Raises:
          ValueError: in one line, with what it needs.
        """

    def check_window(self, window: Any) -> None:
        """Checks that the loop can train on windows.

        Args:
          window: their settings.

        Raises:
          ValueError: in one line, with what it needs.
        """


class FitSettings(LoopSettings):
    """Plain training: an optimiser step on each batch of windows."""

    name: Literal["fit"]


class TPSettings(LoopSettings):
    """TP: gradient alignment and an adversary of user frequency (Yin et al., KDD 2020).

    A step of it is `inner_steps` mini-batches, each of at most `users_per_step * user_batch`
    windows over all replicas, and then one update by the training's optimiser, whose
    learning rate is the paper's beta. An epoch's last step may have fewer mini-batches; its update is smaller by as much.
    `training.batch_size` has no place here.

    Attributes:
      inner_steps: the paper's k; 1 aligns nothing.
      inner_learning_rate: the paper's alpha, of plain gradient descent on the mean loss.
      reduction: what the losses of a mini-batch come to: `mean`, over its targets (the adversary's over its
        windows), so that mini-batches weigh alike in an update, those of users with few events as those of
        users with many; `sum`, as eq. (2) is, so that targets weigh alike. It is divided by how many events
        (windows) a mini-batch has on average, so that learning rates keep their meaning.
      adversary: the paper's lambda; 0 leaves the adversary out.
      adversary_events: how many events, m, the adversary's embeddings are of: each time the m events up to a place of the
        window that is drawn, of windows that have as many. How long a history is then tells nothing, which by itself
        tells head from tail, and all places are looked at. None embeds whole windows.
      user_batch: the paper's K: a user's windows are cut into parts of at most so many.
      users_per_step: how many parts share a mini-batch. 1 is the paper's: there an adversary sees users of one class at a time
        and chases the last one, which is warned of. More make larger steps. Of a user with many windows there may be several.
      classes: whose parts share one, and what the mini-batches of an update are. `mixed`: any users', in any order; `apart`:
        all of head users or all of tail users; `paired`: the same, head and tail in turns, so that the gradients of both
        are aligned in each update (of the class with fewer mini-batches some come twice in an epoch); `same`: one mixed
        mini-batch in all inner steps, so that no users are aligned with others (a control).
      discriminator_hidden: widths of the adversary's hidden layers; none is logistic regression.
      discriminator_rate: the adversary's learning rate over `training.learning_rate`. One that does not keep up with the model
        chases what the last batches had more of, and the model is pushed away from where it looks: apart, not together.
      discriminator_steps: how often it moves in an update; all but the last time ahead of the model, on the same embeddings.
      shuffled_classes: whether users are of the head by chance, as many as there are, so that the adversary has nothing to
        find (a control).
    """

    objectives: ClassVar[tuple[str, ...] | None] = ("ranking",)
    measures: ClassVar[tuple[str, ...]] = ("head_auc", "head_auc_at_start", "discriminator_gain")

    name: Literal["tp"]
    inner_steps: int = pydantic.Field(default=2, ge=1)
    inner_learning_rate: float = pydantic.Field(default=0.01, gt=0)
    reduction: Literal["mean", "sum"] = "mean"
    adversary: float = pydantic.Field(default=0.1, ge=0)
    adversary_events: int | None = pydantic.Field(default=5, ge=1)
    user_batch: int = pydantic.Field(default=8, ge=1)
    users_per_step: int = pydantic.Field(default=16, ge=1)
    classes: Literal["mixed", "apart", "paired", "same"] = "mixed"
    discriminator_hidden: tuple[Annotated[int, pydantic.Field(ge=1)], ...] = (64,)
    discriminator_rate: float = pydantic.Field(default=10.0, gt=0)
    discriminator_steps: int = pydantic.Field(default=1, ge=1)
    shuffled_classes: bool = False

    @pydantic.model_validator(mode="after")
    def _check_pairs(self) -> "TPSettings":
        if self.classes == "paired" and self.inner_steps % 2:
            raise ValueError(
                f"classes: paired has head and tail in turns, so that inner_steps has to be even, found {self.inner_steps}"
            )
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`; a mini-batch of one user is of one class in any case."""
        several = self.users_per_step > 1
        return (
            settings.Reads(
                ("discriminator_hidden", "discriminator_rate", "discriminator_steps"),
                self.adversary > 0,
                "adversary above 0",
            ),
            settings.Reads(("classes",), self.classes != "apart" or several, "users_per_step of 2 or more"),
            settings.Reads(
                ("classes",), self.classes != "same" or self.inner_steps > 1, "inner_steps of 2 or more"
            ),
            settings.Reads(
                ("shuffled_classes",),
                self.adversary > 0 or self.classes == "paired" or (self.classes == "apart" and several),
                "adversary above 0, or classes: paired, or apart with users_per_step of 2 or more",
            ),
            settings.Reads(
                ("inner_learning_rate",),
                self.inner_steps > 1,
                "inner_steps of 2 or more: the last one is only undone",
            ),
        )

    @property
    def batch(self) -> str:
        """See `LoopSettings`."""
        return f"users_per_step * user_batch ({self.users_per_step} * {self.user_batch})"

    def check_window(self, window: Any) -> None:
        """See `LoopSettings`; of shorter windows than it asks for the adversary is shown none."""
        events, longest = self.adversary_events, window.history_events
        if self.adversary and events is not None and longest is not None and events > longest:
            raise ValueError(
                f"loop.adversary_events: the adversary would be shown no window: must be at most window.length ({longest}), or "
                f"null, found {events}"
            )


class LogisticRegressionSettings(LoopSettings):
    """Logistic regression on embeddings that stay as they are: with few labels better than steps are.

    It trains `model: {name: byb_labels, frozen: true, tower: []}`. The head of each label is fitted to its optimum on
    standardised embeddings. Of `training` it reads `label_share`, `seed` and `calibration`; rates, epochs and batches have no
    place here.

    Attributes:
      penalties: L2 penalties that are tried for each label, the lambda of the summed cross-entropy plus lambda / 2 times the
        sum of the squared weights (1 / C in scikit-learn). The one with the best AUC on `eval` is kept.
    """

    objectives: ClassVar[tuple[str, ...] | None] = ("labels",)
    steps: ClassVar[bool] = False

    name: Literal["logistic_regression"]
    penalties: tuple[Annotated[float, pydantic.Field(gt=0)], ...] = pydantic.Field(
        default=(0.1, 1.0, 10.0, 100.0, 1000.0), min_length=1
    )

    def check_model(self, model: Any) -> None:
        """See `LoopSettings`."""
        if not model.heads_only:
            values = model.model_dump(mode="json")
            found = {name: values[name] for name in ("name", "frozen", "tower") if name in values}
            raise ValueError(
                "loop: {name: logistic_regression} fits a head for each label on embeddings that stay as they are: needs "
                f"model: {{name: byb_labels, frozen: true, tower: []}}, found {found}"
            )


# A loop declares itself in its settings; the first is the one where none is named.
LOOPS: dict[str, type[LoopSettings]] = {
    settings.tag(entry, "name"): entry for entry in (FitSettings, TPSettings, LogisticRegressionSettings)
}
