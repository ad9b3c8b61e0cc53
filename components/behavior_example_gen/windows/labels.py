"""What the objective `labels` reads of the settings of windows whose examples carry labels."""

from typing import Protocol


class LabelledWindow(Protocol):
    """Settings of windows whose examples carry labels, features that begin with `label_`."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels, of a chain in its order."""

    @property
    def chain(self) -> bool:
        """Whether the labels are steps of a chain: a later one does not happen without the earlier ones.

        Only then is there an order that probabilities can violate, and that a model may be built on.
        """

    @property
    def keep_negatives(self) -> float:
        """The share of the training examples without any label that was kept."""
