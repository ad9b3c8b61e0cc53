"""Python's cycle collector in processes that import TensorFlow, Beam and TFX.

These make some million objects that stay. By its usual settings the collector goes through all of them again and
again: a quarter of the time that the imports take, and a tenth of what follows. For entry points, not for libraries.
"""

import contextlib
import gc
from collections.abc import Iterator

# Of objects made and not freed; Python's own are 700, 10 and 10.
_SELDOM = (50_000, 20, 100)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Without the collector, which then leaves alone what there is by the end, and comes less often."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        # Once for a process: later, what is garbage by then would stay, too.
        if not gc.get_freeze_count():
            gc.freeze()
        gc.set_threshold(*_SELDOM)
        if enabled:
            gc.enable()
