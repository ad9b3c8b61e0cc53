"""What a training asks of every model, whatever its objective."""

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

import schemas  # noqa: F401  selects Keras 2

Features = dict[str, tf.Tensor]


class Learner(tfrs.Model):
    """A model that `loops.loop.Loop` trains: what few models have, and others leave as it is here."""

    # How many places of padding have to stay before a history so that states and losses are those
    # of the whole window (as far as it has them); None: nothing may be cut off.
    padding_needed: int | None = 0
    # Whether training is faster where the graph knows the width of a batch. It is then built for
    # each width, which takes its time; others are built once for all.
    graph_per_width: bool = False
    # Whether shapes depend on nothing that is in a batch, as XLA needs it: padded positions are then weighted, not left out.
    static_shapes: bool = False

    @property
    def monitors(self) -> tuple[str, ...]:
        """What a training's history says of the model besides the loss: the means of what `monitored_loss` gives."""
        return ()

    @property
    def network(self) -> Any:
        """The `users.UserEncoder` that it embeds users with, which can be pretrained; None of a model that has none."""
        return None

    @property
    def adversary_variables(self) -> list[tf.Variable]:
        """Trainable variables that ascend the loss, with an optimiser of their own; never exported."""
        return []

    @property
    def slow_variables(self) -> list[tf.Variable]:
        """Trainable variables with a learning rate of their own, `slowness` times that of the training."""
        return []

    @property
    def slowness(self) -> float:
        """That factor."""
        return 1.0

    @property
    def meets_replicas(self) -> bool:
        """Whether its loss is also of what other replicas have, which it then gathers."""
        return False

    def check_targets(self, features: Features) -> None:
        """Checks that there is something to learn from all training windows `[W, ...]`.

        Raises:
          errors.InputError: if there is not.
        """
