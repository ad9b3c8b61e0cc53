"""Runs a command that dies with the process that started it, however that dies.

    python leash.py SIGNAL PARENT COMMAND...

A program of its own, rather than code between fork and exec: a process with TensorFlow has threads, whose locks such
code may wait for in vain. Linux sends the signal when the *thread* ends that started this program.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Takes the command's place in this process."""
    signal, parent, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        # It has died before it was asked to tell.
        sys.exit(f"process {parent} has ended")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
