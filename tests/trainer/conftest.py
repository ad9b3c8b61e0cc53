"""What makes tests of training cheap: most of their time is to make graphs that then run for milliseconds."""

import gc

import pytest


@pytest.fixture(scope="package", autouse=True)
def graphs_as_traced():
    """Graphs run as they were traced: to optimise one takes longer than the steps of a test, and is TensorFlow's.

    Whole runs, in `tests/e2e`, have them optimised. The cycle collector, which goes through all of TensorFlow's
    modules again and again, leaves alone what there is by now and comes less often.
    """
    import tensorflow as tf

    before, thresholds = tf.config.optimizer.get_experimental_options(), gc.get_threshold()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False, **before})
