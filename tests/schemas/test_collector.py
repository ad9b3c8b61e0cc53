"""What is imported is left alone by the collector, and what comes after is not."""

import subprocess
import sys

_SCRIPT = """
import gc, weakref
from schemas import collector

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

with collector.importing():
    assert not gc.isenabled()
    kept = cycle()
assert gc.isenabled() and gc.get_freeze_count() and gc.get_threshold()[0] > 700
frozen = gc.get_freeze_count()
garbage = cycle()
with collector.importing():
    pass
assert gc.get_freeze_count() <= frozen
gc.collect()
assert kept() is not None and garbage() is None
gc.disable()
with collector.importing():
    pass
assert not gc.isenabled()
"""


def test_imports_are_frozen_once():
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
