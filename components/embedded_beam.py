"""Beam's embedded runner, without work that it repeats.

A pipeline of Transform or of the Evaluator has some thousand small steps, and on a log of a laptop's size most of
its time goes to what Beam asks again for each of them.
"""

import copy
import functools
import sys
import types
import weakref
from collections.abc import Iterable
from typing import Any


def tune() -> None:
    """Makes Beam remember the arguments of methods, and its embedded runner keep no cache of side inputs.

    - Of each step Beam asks many times for the arguments of all methods of its class, by `inspect.signature`. They are
      kept by the function that a method is bound to; no function's arguments change.
    - The embedded runner has a cache of side inputs of 100 MB whatever `--max_cache_memory_usage_mb` says, of
      which every other runner's default is 0. To measure what it puts there, it goes through the globals of all modules
      that are loaded: tens of milliseconds for a side input, which is in memory as it is.
    - Each look at an option makes a command-line parser of its group and parses all arguments: a seventh of a small
      pipeline's time. What they come to is kept by group and arguments.
    - Of each step Beam asks several times for the state and the timers that its methods take. They are kept by class.
    - For each function that is pickled, it goes through the names of all modules. They are kept by package.
    - What is pickled is compressed by bz2 in blocks of 900 kB, whose memory costs more than the work where it is
      small. Blocks of 100 kB compress what is no larger just as well. Coders and windows are pickled alike hundreds
      of times: small ones are kept.
    - Each stage is described with all collections of the pipeline. Those that it reads or writes are enough.

    Once for a process; again it does nothing.
    """
    from apache_beam.runners.portability.fn_api_runner import worker_handlers
    from apache_beam.transforms import core

    worker_handlers.STATE_CACHE_SIZE_MB = 0
    if not hasattr(core.get_function_args_defaults, "inspect"):
        core.get_function_args_defaults = _remembered(core.get_function_args_defaults)
        _tune_options()
        _tune_states()
        _tune_pickling()
        _tune_stages()


def _tune_options() -> None:
    from apache_beam.options import pipeline_options

    base = pipeline_options.PipelineOptions
    known: dict[Any, Any] = {}

    def view_as(self: Any, cls: Any) -> Any:
        # Others may make more of them.
        if cls.__init__ is not base.__init__:
            return original(self, cls)
        # Without arguments they are those of the process.
        key = (cls, tuple(sys.argv if self._flags is None else self._flags), self._flags is None)
        parsed = known.get(key)
        if parsed is None:
            parsed = known[key] = cls(self._flags)._visible_options
        view = cls.__new__(cls)
        view._flags, view._visible_options, view._all_options = self._flags, parsed, self._all_options
        for name, value in vars(parsed).items():
            if name not in self._all_options:
                # Some are changed in place.
                self._all_options[name] = copy.copy(value) if isinstance(value, (list, dict)) else value
        return view

    original, base.view_as = base.view_as, view_as


def _tune_states() -> None:
    from apache_beam.transforms import userstate

    known: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()

    def get_dofn_specs(dofn: Any) -> Any:
        kind, own = type(dofn), getattr(dofn, "__dict__", {})
        hidden = tuple(sorted(name for name in own if hasattr(kind, name)))
        # Then methods are not those of the class, or do not take what they say.
        if any(isinstance(value, types.MethodType) for value in own.values()) or (
            hasattr(kind, "_inspect_process") and "process" not in hidden
        ):
            return original(dofn)
        of_kind = known.setdefault(kind, {})
        if hidden not in of_kind:
            of_kind[hidden] = original(dofn)
        states, timers = of_kind[hidden]
        return set(states), set(timers)

    original, userstate.get_dofn_specs = userstate.get_dofn_specs, get_dofn_specs


def _tune_pickling() -> None:
    try:
        from apache_beam.internal import cloudpickle_pickler
        from apache_beam.internal.cloudpickle import cloudpickle
    except ImportError:
        return
    compression = cloudpickle_pickler.bz2
    cloudpickle_pickler.bz2 = types.SimpleNamespace(
        compress=_kept(
            lambda data, compresslevel=9: compression.compress(
                data, min(compresslevel, 1 + len(data) // _BZ2_BLOCK)
            )
        ),
        decompress=_kept(compression.decompress),
    )
    cloudpickle._find_imported_submodules = _Submodules()


def _kept(change: Any) -> Any:
    """A change of bytes that is kept for those that are small."""
    known = functools.lru_cache(maxsize=_KEPT)(change)

    def changed(data: bytes, *how: Any, **more: Any) -> Any:
        return (known if len(data) <= _SMALL else change)(data, *how, **more)

    return changed


# Bytes, for each level of compression; what bz2 puts before its compression may make data a quarter longer.
_BZ2_BLOCK = 80_000
# Pickles of up to so many bytes are kept, so many at a time: a Transform has some 400 that differ.
_SMALL, _KEPT = 8_000, 500


def _tune_stages() -> None:
    from apache_beam.runners.portability.fn_api_runner import execution

    manager = execution.BundleContextManager

    def build(self: Any) -> Any:
        components = self.execution_context.pipeline_components
        collections = {
            name: components.pcollections[name]
            for transform in self.stage.transforms
            for name in (*transform.inputs.values(), *transform.outputs.values())
            if name in components.pcollections
        }
        narrowed = _Instead(components, pcollections=collections)
        return original(
            _Instead(self, execution_context=_Instead(self.execution_context, pipeline_components=narrowed))
        )

    original, manager._build_process_bundle_descriptor = manager._build_process_bundle_descriptor, build


class _Instead:
    """An object, but for the attributes that are given."""

    def __init__(self, of: Any, **attributes: Any) -> None:
        self._of = of
        vars(self).update(attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._of, name)


class _Submodules:
    """The loaded submodules that a function names, as `cloudpickle._find_imported_submodules` gives them."""

    def __init__(self) -> None:
        self._loaded: tuple[int, str | None] = (0, None)
        self._below: dict[str, list[tuple[frozenset[str], str]]] = {}

    def __call__(self, code: types.CodeType, dependencies: Iterable[Any]) -> list[Any]:
        """Those below the packages among `dependencies` each part of whose path `code` names."""
        loaded = (len(sys.modules), next(reversed(sys.modules), None))
        if loaded != self._loaded:
            self._loaded, self._below = loaded, {}
        named = set(code.co_names)
        return [
            sys.modules[name]
            for package in dependencies
            if isinstance(package, types.ModuleType) and getattr(package, "__package__", None)
            for parts, name in self._of(package.__name__)
            if parts <= named and name in sys.modules
        ]

    def _of(self, package: str) -> list[tuple[frozenset[str], str]]:
        found = self._below.get(package)
        if found is None:
            prefix = f"{package}."
            found = self._below[package] = [
                (frozenset(name[len(prefix) :].split(".")), name)
                for name in list(sys.modules)
                if name is not None and name.startswith(prefix)
            ]
        return found


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
