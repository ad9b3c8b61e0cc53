"""What several test processes of a run have in common: made once, copied by the others."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

# A folder of one run of the tests; see conftest.
FOLDER = "FOOTFALL_TESTS_SHARED"


def once(folder: str, made_of: Any, make: Callable[[str], None]) -> None:
    """Makes the content of a folder, or copies what another test has made of the same.

    Args:
      folder: where it is wanted; made if it is not there.
      made_of: all that decides the content but the code; told apart by its `repr`.
      make: writes it below the folder that it is given. Nothing of it may name that folder.
    """
    base = os.environ.get(FOLDER)
    if not base:
        make(folder)
        return
    done = os.path.join(base, hashlib.sha256(repr(made_of).encode("utf-8", "backslashreplace")).hexdigest())
    with open(f"{done}.lock", "w") as lock:
        # Who comes second waits: both would take longer, each for itself.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(done):
            made = tempfile.mkdtemp(dir=base)
            make(made)
            os.rename(made, done)
    shutil.copytree(done, folder, dirs_exist_ok=True)
