"""Data contracts: the names, ids and schemas that several packages share.

Importing this package selects Keras 2 for the process. TFT, TFMA and
tensorflow-recommenders need it, and TensorFlow reads the variable once, at the
first use of `tf.keras`; every other package imports this one before TensorFlow.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
