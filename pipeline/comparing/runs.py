"""The trained runs that are compared: where they are, and by which settings they were made."""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping
from typing import Any

import pydantic
import yaml

from components.behavior_example_gen import windows
from pipeline import lineage
from pipeline.runners import store
from schemas import errors, kinds, names, pushed

POINT = "point.json"
EXPERIMENT = pushed.EXPERIMENT


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model and the windows that it was made with.

    Attributes:
      folder: of the run, where its ranks are kept.
      model_uri, examples_uri: of the artifacts of Trainer and BehaviorExampleGen.
      settings: of the experiment, by dotted key.
    """

    folder: str
    model_uri: str
    examples_uri: str
    settings: Mapping[str, Any]

    @property
    def kind(self) -> kinds.WindowKind:
        """Of its windows."""
        return kinds.window_kind(self.settings.get("window.kind") or kinds.DEFAULT_KIND)

    @functools.cached_property
    def objective(self) -> str:
        """What its model has learnt, as its signatures tell."""
        from serving import objectives

        return objectives.of_saved_model(self.model_dir)

    @property
    def model_dir(self) -> str:
        """The folder of its SavedModel."""
        from tfx.utils import path_utils

        return path_utils.serving_model_path(self.model_uri)

    def test_files(self) -> list[str]:
        """The files of its test examples: serialized tf.Examples in TFRecords, compressed by gzip."""
        import tensorflow as tf

        return sorted(tf.io.gfile.glob(os.path.join(self.examples_uri, f"Split-{names.TEST}", "*")))

    @functools.cached_property
    def window(self) -> Any:
        """The settings of its windows.

        Raises:
          errors.InputError: if its experiment has others than there are now.
        """
        prefix = "window."
        own = {key[len(prefix) :]: value for key, value in self.settings.items() if key.startswith(prefix)}
        try:
            return windows.get(self.kind.name).settings.from_values(nested({**own, "kind": self.kind.name}))
        except pydantic.ValidationError as error:
            found = error.errors(include_url=False)[0]
            where = ".".join(("window", *map(str, found["loc"])))
            raise errors.InputError(
                f"{os.path.join(self.folder, EXPERIMENT)}: {where}: {found['msg']}"
            ) from error

    @property
    def steps(self) -> tuple[str, ...]:
        """The labels of its examples, of a chain in its order; empty where they have none."""
        return self.window.label_names


def find_runs(text: str) -> list[Trained]:
    """The runs of an argument: a run's folder, several with commas between, or a folder of runs.

    Raises:
      errors.InputError: if there is no run, or one has no trained model.
    """
    found: list[Trained] = []
    for folder in filter(None, text.split(",")):
        if _is_run(folder):
            found.append(trained(folder))
            continue
        if _is_sweep(folder):
            raise errors.InputError(
                f"{folder}: of a sweep, which has many models: compare its points, the folders below "
                f"{os.path.join(folder, store.POINTS)}"
            )
        inside = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        below = [os.path.join(folder, name) for name in inside if _is_run(os.path.join(folder, name))]
        if not below:
            raise errors.InputError(
                f"{folder}: neither the folder of a run ({lineage.METADATA} or {POINT}) nor a folder of such "
                f"folders"
            )
        found.extend(trained(run) for run in below)
    if not found:
        raise errors.InputError(f"no run is named by {text!r}")
    return found


def _is_run(folder: str) -> bool:
    known = any(os.path.exists(os.path.join(folder, name)) for name in (lineage.METADATA, POINT))
    return known and not _is_sweep(folder)


def _is_sweep(folder: str) -> bool:
    return os.path.exists(os.path.join(folder, lineage.METADATA)) and os.path.isdir(
        os.path.join(folder, store.POINTS)
    )


def trained(folder: str) -> Trained:
    """The run of a folder.

    Raises:
      errors.InputError: if it has no trained model, or no windows.
    """
    point = os.path.join(folder, POINT)
    if os.path.exists(point):
        with open(point, encoding="utf-8") as stream:
            try:
                uris = json.load(stream)
            except ValueError as error:
                raise errors.InputError(f"{point}: damaged: not JSON ({error})") from error
        if not isinstance(uris, dict):
            raise errors.InputError(f"{point}: damaged: not the file of a point")
    else:
        made = {c.id: c.outputs for c in lineage.components(folder, {})}
        wanted = {"model": ("Trainer", "Model"), "examples": ("BehaviorExampleGen", "Examples")}
        uris = {
            key: next((a.uri for a in made.get(component, ()) if a.type == kind), None)
            for key, (component, kind) in wanted.items()
        }
    for key, what in (("model", "trained model"), ("examples", "windows")):
        uri = uris.get(key)
        if not uri:
            raise errors.InputError(f"{folder}: its newest run has left no {what}")
        if "://" not in uri and not os.path.exists(uri):
            raise errors.InputError(f"{folder}: its {what} was at {uri}, where there is nothing now")
    return Trained(folder, uris["model"], uris["examples"], _settings(os.path.join(folder, EXPERIMENT)))


def _settings(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        try:
            values = yaml.safe_load(stream)
        except (ValueError, yaml.YAMLError) as error:
            raise errors.InputError(f"{path}: damaged: not YAML ({errors.first_line(error)})") from error
    if not isinstance(values, dict):
        raise errors.InputError(f"{path}: damaged: no experiment")
    return flat(values)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key.

    >>> flat({"window": {"kind": "exposure", "steps": ["buy"]}})
    {'window.kind': 'exposure', 'window.steps': ['buy']}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[prefix + key] = value
    return result


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `flat` has flattened.

    >>> nested({"kind": "exposure", "log.path": "a.csv"})
    {'kind': 'exposure', 'log': {'path': 'a.csv'}}
    """
    result: dict[str, Any] = {}
    for key, value in values.items():
        *parents, last = key.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result
