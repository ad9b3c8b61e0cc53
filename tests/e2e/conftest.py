"""What whole runs within the test's process share."""

import pytest
import tensorflow as tf

from trainer import devices


@pytest.fixture(scope="module")
def one_device():
    """Trains on one, as most machines have; the tests' processes have two."""
    with pytest.MonkeyPatch.context() as patch:
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        patch.setattr(devices, "strategy", lambda: strategy)
        yield
