"""The search of an exported model that scores all of its catalogue; `ivf.Index` is another."""

from serving import catalogue, sets


class Whole:
    """Every item is scored, a chunk of the catalogue at a time."""

    best = staticmethod(catalogue.best)
    rank = staticmethod(catalogue.full_rank)
    ranks = staticmethod(sets.full_ranks)
