"""What the settings of every model say of it. Free of TensorFlow, so that a file is checked at once."""

from typing import Any, ClassVar

from components.transform import checks
from schemas import settings


class WrongWindow(ValueError):
    """A model or a loss that does not go with the windows of an experiment, whatever the training."""


class ModelSettings(settings.Settings):
    """What models' settings have in common; `name` is a literal of each.

    Attributes:
      model_class: where the Keras model is, as `trainer.models.sasrec.SASRec`.
      paper: authors, title, venue; empty where there is none.
      summary: what it does, in a line.
      window_kinds: kinds of windows that it can be trained on.
      objective: what it learns.
      trains: whether it has weights that a training moves.
      training_read: settings of a training that only some models have a use for, and this is one of them.
      needs_columns: optional columns of the log that the model cannot do without.
      targets: what it can be trained to predict, `next` (what comes next) or `period` (all that follows in a
        period), the default one first; says which losses it takes.
      losses: which losses it takes, the default one first, where `targets` would allow others; None: those of `targets`.
      ranks_scenes: whether it ranks the scene of what comes next, too.
      features_read: which features it reads, see `components.transform.checks`: others cannot be set.
      dot_products: whether, if it ranks a catalogue, it scores by dot products: others cannot be searched by lists.
    """

    model_class: ClassVar[str]
    paper: ClassVar[str] = ""
    summary: ClassVar[str]
    window_kinds: ClassVar[tuple[str, ...]]
    objective: ClassVar[str]
    trains: ClassVar[bool] = True
    training_read: ClassVar[tuple[str, ...]] = ()
    needs_columns: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[tuple[str, ...]] = ("next",)
    losses: ClassVar[tuple[str, ...] | None] = None
    ranks_scenes: ClassVar[bool] = False
    features_read: ClassVar[str] = checks.ITEMS
    dot_products: ClassVar[bool] = True

    name: str

    @property
    def pretrained(self) -> str | None:
        """Where the pretrained model is that the training starts from; None: there is none."""
        return None

    @property
    def keeps_pretrained(self) -> bool:
        """Whether the network of that model stays as it is."""
        return False

    @property
    def heads_only(self) -> bool:
        """Whether a linear head for each label, on an embedding that stays as it is, is all that a training moves."""
        return False

    @property
    def reads_other_items(self) -> bool:
        """Whether histories are read by another table of items than the one that these are scored with."""
        return False

    @property
    def in_batch(self) -> bool:
        """Whether the windows of a batch are compared with one another, which must then be any."""
        return False

    def check_loss(self, loss: Any) -> None:
        """Checks that the settings go with those of a loss that the model takes.

        Raises:
          ValueError: in one line, with what they need.
        """

    def miscorrected(self, loss: Any) -> str | None:
        """Why a loss would be corrected by counts that are not those of the model's targets; None if it would not.

        No check of the settings by themselves: models have been trained, and pushed, with such ones.
        """
        return None

    def check_window(self, window: Any) -> None:
        """Checks that the model can be trained on windows.

        Args:
          window: their settings.

        Raises:
          WrongWindow: in one line, with what it needs.
        """
        if window.kind not in self.window_kinds:
            raise WrongWindow(
                f"model {self.name} needs window: {{kind: {' or '.join(self.window_kinds)}}}, found kind: "
                f"{window.kind}"
            )
