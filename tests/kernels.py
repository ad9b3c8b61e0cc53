"""TensorFlow's kernels for eager operations, which are costly to make: kept from one seed to the next.

`tf.random.set_seed` throws all of them away, so that those that draw begin anew. Nothing that is tested draws
by such a kernel (initial values are drawn without a state, and the rest by the models' own generators or in
graphs, which have kernels of their own), and to make them again took a sixth of the tests of models.
"""

import random

from tensorflow.python.eager import context


def keep():
    """From now on, in this process, a seed is set and no kernel thrown away."""
    context.Context._set_global_seed = _set_seed


def clear():
    """Throws them away: there is one for every variable that ever was."""
    context.context().clear_kernel_cache()


def _set_seed(self, seed):
    self._seed = seed
    self._rng = random.Random(seed)
