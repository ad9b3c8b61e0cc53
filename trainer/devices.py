"""What a process trains on. A module of its own, since TFX loads those of its user functions anew each time."""

import functools

import tensorflow as tf

import schemas  # noqa: F401  selects Keras 2
from components.trainer import workers


@functools.cache
def strategy() -> tf.distribute.Strategy:
    """All devices, of all workers if TF_CONFIG names several; the same for all trainings of a process.

    With several workers it is to be asked for before anything is computed: TensorFlow connects them at its start.

    TensorFlow takes the all-reduces of a second strategy for those of the first, and refuses them where
    shapes differ, as between the points of a search or a sweep.
    """
    if workers.this().count == 1:
        return tf.distribute.MirroredStrategy()
    kind = tf.distribute.experimental.CommunicationImplementation
    gpus = tf.config.list_physical_devices("GPU")
    options = tf.distribute.experimental.CommunicationOptions(implementation=kind.NCCL if gpus else kind.RING)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
