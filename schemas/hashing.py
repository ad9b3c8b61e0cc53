"""Numbers scattered over all of uint64: the same in every process and release, so that splits and resamples are."""

import numpy as np

# The increment of SplitMix64 (Steele et al., OOPSLA 2014).
GAMMA = np.uint64(0x9E3779B97F4A7C15)


def finalise(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser on uint64 of any shape, one to one; 0 stays 0."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's next number from each state, uint64 of any shape, one to one.

    >>> mix(np.array([0], np.uint64)).tolist()
    [16294208416658607535]
    """
    return finalise(values + GAMMA)
