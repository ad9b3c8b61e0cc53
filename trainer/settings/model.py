"""What the settings of every model say of it. Free of TensorFlow, so that a file is checked at once."""

from typing import ClassVar

from schemas import settings


class ModelSettings(settings.Settings):
    """What models' settings have in common; `name` is a literal of each.

    Attributes:
      model_class: where the Keras model is, as `trainer.models.sasrec.SASRec`.
      paper: authors, title, venue; empty where there is none.
      summary: what it does, in a line.
      window_kinds: kinds of windows that it can be trained on.
      objective: what it learns.
      training_read: settings of a training that only some models have a use for, and this is one of them.
      needs_columns: optional columns of the log that the model cannot do without.
    """

    model_class: ClassVar[str]
    paper: ClassVar[str] = ""
    summary: ClassVar[str]
    window_kinds: ClassVar[tuple[str, ...]]
    objective: ClassVar[str]
    training_read: ClassVar[tuple[str, ...]] = ()
    needs_columns: ClassVar[tuple[str, ...]] = ()

    name: str
