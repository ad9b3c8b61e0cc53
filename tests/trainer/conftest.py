"""What makes tests of training cheap: most of their time is to make graphs that then run for milliseconds."""

import pytest


@pytest.fixture(scope="package", autouse=True)
def graphs_as_traced():
    """Graphs run as they were traced: to optimise one takes longer than the steps of a test, and is TensorFlow's.

    Whole runs, in `tests/e2e`, have them optimised.
    """
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **before})
