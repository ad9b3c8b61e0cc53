"""The search of an exported model that scores all of its catalogue; `ivf.Index` is another."""

from typing import Any

import tensorflow as tf

from serving import among as among_lib
from serving import catalogue, sets


class Whole:
    """Every item is scored, a chunk of the catalogue at a time."""

    best = staticmethod(catalogue.best)
    rank = staticmethod(catalogue.full_rank)
    rank_and_unmet = staticmethod(catalogue.full_and_unmet_rank)
    ranks = staticmethod(sets.full_ranks)


class Among:
    """Every candidate is scored, and no other item ranked.

    Args:
      candidates: of each query.
    """

    def __init__(self, candidates: among_lib.Among):
        self._candidates = candidates

    def rank(
        self, model: Any, query: Any, size: int, target: tf.Tensor, excluded: tf.Tensor | None = None
    ) -> tf.Tensor:
        """See `catalogue.full_rank`."""
        return catalogue.full_rank(model, query, size, target, excluded, among=self._candidates)

    def ranks(
        self, model: Any, query: Any, size: int, targets: tf.Tensor, excluded: tf.Tensor | None = None
    ) -> tf.Tensor:
        """See `sets.full_ranks`."""
        return sets.full_ranks(model, query, size, targets, excluded, among=self._candidates)
