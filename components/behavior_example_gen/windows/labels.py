"""What the settings of kinds have whose examples carry labels, features that begin with `label_`."""

from components.behavior_example_gen.windows import kind


class LabelledWindow(kind.WindowSettings):
    """Settings of a kind whose examples carry labels; what the objective `labels` reads of a window.

    Attributes:
      chain: whether the labels are steps of a chain, in their order: a later one does not happen without
        the earlier ones. Only then is there an order that probabilities can violate, and that a model may
        be built on.
    """

    chain: bool = False
