"""Embeddings that tell nothing of what users do."""

import numpy as np


def embeddings(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """As of a network that is not trained, or that has collapsed: with a direction in common, so that some are near to all.

    Returns:
      Hashes of users, uint64 `[N]`; their vectors, `[N, 32]`, drawn without a look at what follows; and what follows, which
      is the same for equal counts and `seed // 1000`.
    """
    of_sets, rng = np.random.default_rng(seed // 1000), np.random.default_rng(seed)
    sets = [(200 * of_sets.random(size) ** 3).astype(np.int64) for size in of_sets.geometric(0.3, count)]
    own = rng.normal(size=[count, 32]) * rng.lognormal(0.0, 0.5, [count, 1])
    users = rng.integers(0, 2**63, count).astype(np.uint64)
    return users, own + 2.0 * rng.normal(size=32), sets
