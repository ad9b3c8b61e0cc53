"""Beam's embedded runner, without work that it repeats.

A pipeline of Transform or of the Evaluator has some thousand small steps, and on a log of a laptop's size most of
its time goes to what Beam asks again for each of them.
"""

import types
import weakref
from typing import Any


def tune() -> None:
    """Makes Beam remember the arguments of methods, and its embedded runner keep no cache of side inputs.

    - Of each step Beam asks many times for the arguments of all methods of its class, by `inspect.signature`. They are
      kept by the function that a method is bound to; no function's arguments change.
    - The embedded runner has a cache of side inputs of 100 MB whatever `--max_cache_memory_usage_mb` says, of
      which every other runner's default is 0. To measure what it puts there, it goes through the globals of all modules
      that are loaded: tens of milliseconds for a side input, which is in memory as it is.

    Once for a process; again it does nothing.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.transforms import core

    worker_handlers.STATE_CACHE_SIZE_MB = 0
    if not hasattr(core.get_function_args_defaults, "inspect"):
        core.get_function_args_defaults = _remembered(core.get_function_args_defaults)


def _remembered(inspect: Any) -> Any:
    known: weakref.WeakKeyDictionary[Any, tuple[tuple[str, ...], tuple[Any, ...]]] = (
        weakref.WeakKeyDictionary()
    )

    def get_function_args_defaults(function: Any) -> tuple[list[str], list[Any]]:
        if not isinstance(function, types.MethodType) or not isinstance(
            function.__func__, types.FunctionType
        ):
            return inspect(function)
        found = known.get(function.__func__)
        if found is None:
            names, defaults = inspect(function)
            found = known[function.__func__] = (tuple(names), tuple(defaults))
        # Lists of their own: Beam changes what it is given.
        return list(found[0]), list(found[1])

    get_function_args_defaults.inspect = inspect  # type: ignore[attr-defined]
    return get_function_args_defaults
