"""Hashes that splits and resamples go by."""

import numpy as np

from schemas import hashing


def test_numbers_are_those_of_splitmix64():
    # The first numbers of the generator that starts at 1234567, as its authors' C code prints them.
    state = np.uint64(1234567)
    with np.errstate(over="ignore"):
        states = state + hashing.GAMMA * np.arange(3, dtype=np.uint64)
    assert hashing.mix(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert hashing.finalise(np.zeros(2, np.uint64)).tolist() == [0, 0]
