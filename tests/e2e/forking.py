"""Runs a module again and again as if by `python -m`, in forks of one process that has imported it.

    python tests/e2e/forking.py MODULE < orders > ends

Most of what a step of a compiled pipeline takes is imports. An order is a line of JSON: `arguments`, `cwd`,
`environment`, and `printed`, the file for what the module prints. For each it prints how the fork ended.
"""

import json
import os
import runpy
import sys


def _run(module: str, order: dict) -> None:
    """Takes the place of a new process; does not return."""
    code = 1
    try:
        printed = os.open(order["printed"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            os.dup2(printed, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.setsid()
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.argv = [module, *order["arguments"]]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001  as an interpreter does
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Takes orders until there are no more."""
    module = sys.argv[1]
    # The folder of this file is no part of an image.
    sys.path.pop(0)
    __import__(module)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run(module, json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
