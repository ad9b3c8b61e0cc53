"""The search of an exported model that scores all of its catalogue; `ivf.Index` is another."""

from typing import Any

import tensorflow as tf

from serving import among as among_lib
from serving import catalogue, sets

# How many items are recommended where a request does not say.
DEFAULT_K = 10


class Whole:
    """Every item is scored, a chunk of the catalogue at a time."""

    rank = staticmethod(catalogue.full_rank)
    rank_and_unmet = staticmethod(catalogue.full_and_unmet_rank)
    ranks = staticmethod(sets.full_ranks)

    @staticmethod
    def best(
        model: Any,
        query: Any,
        size: int,
        k: tf.Tensor,
        excluded: tf.Tensor,
        wanted: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """See `catalogue.best`; all k are found for each query, however many it wants."""
        del wanted
        return catalogue.best(model, query, size, k, excluded)


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
