"""Walks a compiled pipeline on this machine, task by task, as a cluster's backend does.

What a backend gives to a step was read in its sources. Of open-source Kubeflow Pipelines 2 (`backend/src/v2`:
`argocompiler`, `driver`, `metadata/converter`, `component/launcher_v2`, `cacheutils`):

- a task's inputs are its producers' outputs as ML Metadata kept them: the artifact's number as its name, its place,
  and all properties in `metadata`, numbers as floating point; *no type*; `display_name` and `store_session_info` besides
- outputs have a place, a type, and no name; no folder of theirs is there
- `outputFile` and the files of output parameters are in the pod's own /tmp, where nothing of another pod is
- `lifecycle` hooks are not run; resolvers and custom jobs do not compile
- a task with `cachingOptions.enableCache` is looked up by its command, image, parameters, the names of its input
  artifacts and the types of its outputs

Vertex AI runs the hook, gives every artifact a name and an `instanceSchema`, and puts `outputFile` into the root.

Every step is a process of its own with another working directory, and an environment of which only this is set: PATH,
HOME, TMPDIR, and PYTHONPATH with a copy of Footfall that pip has installed (in an image it would be in site-packages).
The first LogState's is started by the task's whole command. Those of the others are forks of one that has imported the module of
the command, and nothing else: twelve seconds of each step are imports.
"""

import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping
from typing import Any

import yaml

from tests.e2e import walk

_PACKAGES = ("components", "pipeline", "schemas", "serving", "trainer")


def install(folder: pathlib.Path) -> pathlib.Path:
    """Installs Footfall as an image does, from a copy of its sources; where it is."""
    sources = folder / "sources"
    for name in _PACKAGES:
        shutil.copytree(walk.ROOT / name, sources / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "README.md", "LICENSE"):
        shutil.copy(walk.ROOT / name, sources)
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
    ]
    subprocess.run([*command, "--target", folder / "site", sources], check=True, timeout=300)
    return folder / "site"


class StepFailed(Exception):
    """A step ended with an error; the message has the end of what it printed."""


@dataclasses.dataclass
class Done:
    """What a task did.

    Attributes:
      cached: whether an earlier execution's outputs were taken.
      artifacts: what it wrote, by key: place and metadata.
      parameters: by key.
      printed: by its process.
    """

    cached: bool
    artifacts: dict[str, dict[str, Any]]
    parameters: dict[str, Any]
    printed: str = ""


class Backend:
    """A backend with its bucket, its metadata and its cache; to be closed.

    Args:
      folder: of the pods, and of the root.
      site: of `install`.
      vertex: whether to be Vertex AI, not Kubeflow.
      whole: the tasks that are started by their whole command, the first time; None is all, always.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        site: pathlib.Path,
        vertex: bool = False,
        whole: Collection[str] | None = ("LogState",),
    ):
        self._folder, self._site, self._vertex = folder, site, vertex
        self._whole = None if whole is None else set(whole)
        self._forking: dict[str, subprocess.Popen[str]] = {}
        self._numbers, self._runs = itertools.count(1), itertools.count(1)
        self._cache: dict[str, Done] = {}

    def share(self, other: "Backend") -> None:
        """Takes the processes of another one, which is to be closed after this one has done its work."""
        self._forking, self._whole = other._forking, other._whole

    def close(self) -> None:
        """Ends what forks."""
        for process in self._forking.values():
            process.communicate(timeout=60)

    def run(
        self,
        specification: pathlib.Path,
        tasks: Collection[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> dict[str, Done]:
        """Runs a pipeline.

        Args:
          specification: of `footfall compile`, as YAML.
          tasks: what to run; by default all. Others must not be needed for their values.
          parameters: of the run.

        Raises:
          StepFailed: as soon as a step fails.
        """
        pipeline = yaml.safe_load(specification.read_text())
        assert pipeline["schemaVersion"] == "2.1.0"
        run_id = f"run-{next(self._runs)}"
        given = _parameters(pipeline["root"], parameters or {})
        done: dict[str, Done] = {}
        for name, task in _in_order(pipeline["root"]["dag"]["tasks"], tasks):
            component = pipeline["components"][task["componentRef"]["name"]]
            executor = pipeline["deploymentSpec"]["executors"][component["executorLabel"]]
            # Argo's compiler knows no other kinds but importers, which no pipeline of ours has.
            assert set(executor) == {"container"}, f"{name}: {list(executor)} is not implemented"
            inputs = self._inputs(task, component, done, given)
            outputs = component.get("outputDefinitions", {})
            pod = self._folder / run_id / name
            done[name] = self._run(name, pod, executor["container"], inputs, outputs, _is_cached(task))
        return done

    def _inputs(
        self, task: Mapping, component: Mapping, done: Mapping[str, Done], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        artifacts, values = {}, {}
        for key, source in task.get("inputs", {}).get("artifacts", {}).items():
            source = source["taskOutputArtifact"]
            artifact = dict(done[source["producerTask"]].artifacts[source["outputArtifactKey"]])
            if self._vertex:
                artifact["type"] = component["inputDefinitions"]["artifacts"][key]["artifactType"]
            artifacts[key] = {"artifacts": [artifact]}
        for key, source in task.get("inputs", {}).get("parameters", {}).items():
            if "taskOutputParameter" in source:
                named = source["taskOutputParameter"]
                values[key] = done[named["producerTask"]].parameters[named["outputParameterKey"]]
            elif "componentInputParameter" in source:
                values[key] = given[source["componentInputParameter"]]
            else:
                values[key] = source["runtimeValue"]["constant"]
        return {"artifacts": artifacts, "parameterValues": values}

    def _run(
        self,
        name: str,
        pod: pathlib.Path,
        container: Mapping,
        inputs: Mapping,
        defined: Mapping,
        cached: bool,
    ) -> Done:
        outputs: dict[str, Any] = {"artifacts": {}, "parameters": {}}
        # None of these is made: steps write where nothing is yet.
        for key, artifact in defined.get("artifacts", {}).items():
            uri = self._folder / "root" / pod.parent.name / name / key
            described = {
                "uri": str(uri),
                "type": artifact["artifactType"],
                "metadata": artifact.get("metadata", {}),
            }
            if self._vertex:
                described["name"] = self._name()
            outputs["artifacts"][key] = {"artifacts": [described]}
        for key in defined.get("parameters", {}):
            outputs["parameters"][key] = {"outputFile": str(pod / "tmp" / "kfp" / "outputs" / key)}
        written = (
            (self._folder / "root" / pod.parent.name / name) if self._vertex else pod / "tmp" / "kfp_outputs"
        )
        output_file = written / "executor_output.json"
        outputs["outputFile"] = str(output_file)
        execution = {"inputs": inputs, "outputs": outputs}
        if self._vertex and "lifecycle" in container:
            self._start(pod, container["lifecycle"]["preCacheCheck"], execution)
        cache_key = _cache_key(execution, container)
        if cached and cache_key in self._cache:
            return dataclasses.replace(self._cache[cache_key], cached=True)
        printed = self._start(pod, container, execution)
        told = json.loads(output_file.read_text()) if output_file.exists() else {}
        done = Done(False, self._kept(outputs, told), told.get("parameterValues", {}), printed)
        assert set(done.parameters) >= set(outputs["parameters"]), f"{name}: {done.parameters}"
        self._cache[cache_key] = done
        return done

    def _kept(self, outputs: Mapping, told: Mapping) -> dict[str, dict[str, Any]]:
        """The artifacts as the metadata store gives them back."""
        kept = {}
        for key, listed in outputs["artifacts"].items():
            artifact = dict(listed["artifacts"][0])
            for said in told.get("artifacts", {}).get(key, {}).get("artifacts", ()):
                artifact["uri"] = said.get("uri") or artifact["uri"]
                artifact["metadata"] = {**artifact["metadata"], **said.get("metadata", {})}
            # What MLMD has a kind of value for; Kubeflow refuses others.
            assert all(isinstance(v, (str, float, int, dict)) for v in artifact["metadata"].values()), (
                artifact
            )
            if not self._vertex:
                artifact["name"] = str(next(self._numbers))
                artifact["metadata"] |= {"display_name": key, "store_session_info": "null"}
            kept[key] = {name: artifact[name] for name in ("name", "uri", "metadata")}
        return kept

    def _name(self) -> str:
        place = "projects/1/locations/europe-west4/metadataStores/default"
        return f"{place}/artifacts/{next(self._numbers)}"

    def _start(self, pod: pathlib.Path, container: Mapping, execution: Mapping) -> str:
        """Runs a command as a container's launcher does; what it printed."""
        for file in execution["outputs"]["parameters"].values():
            os.makedirs(os.path.dirname(file["outputFile"]), exist_ok=True)
        for place in ("work", "home", "tmp"):
            (pod / place).mkdir(parents=True, exist_ok=True)
        described = json.dumps(execution)
        command = [part.replace("{{$}}", described) for part in (*container["command"], *container["args"])]
        assert not any("{{" in part.replace(described, "") for part in command)
        code, printed = self._end(pod, command)
        if code:
            raise StepFailed(f"{pod.name} ended with {code}: {printed[-6000:]}")
        return printed

    def _end(self, pod: pathlib.Path, command: list[str]) -> tuple[int, str]:
        """How a command ends, and what it prints."""
        environment = {
            "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.defpath]),
            "PYTHONPATH": str(self._site),
            "HOME": str(pod / "home"),
            "TMPDIR": str(pod / "tmp"),
        }
        output = pod / "printed.txt"
        if self._whole is None or pod.name in self._whole:
            if self._whole:
                self._whole.remove(pod.name)
            with open(output, "wb") as stream:
                done = subprocess.run(
                    command,
                    cwd=pod / "work",
                    env=environment,
                    stdout=stream,
                    stderr=stream,
                    timeout=550,
                    check=False,
                )
            return done.returncode, output.read_text()
        assert command[:2] == ["python", "-m"], command
        process = self._forks_of(command[2], environment)
        order = {
            "arguments": command[3:],
            "cwd": str(pod / "work"),
            "environment": environment,
            "printed": str(output),
        }
        process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline()), output.read_text()

    def _forks_of(self, module: str, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        if module not in self._forking:
            # By its path: the package that it is in is not installed in an image.
            self._forking[module] = subprocess.Popen(
                [sys.executable, walk.ROOT / "tests" / "e2e" / "forking.py", module],
                cwd=environment["HOME"],
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._forking[module]


def _parameters(root: Mapping, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run's parameters."""
    defined = root.get("inputDefinitions", {}).get("parameters", {})
    assert set(given) <= set(defined), f"{sorted(given)}: there are {sorted(defined)}"
    defaults = {name: of["defaultValue"] for name, of in defined.items() if "defaultValue" in of}
    return {**defaults, **given}


def _in_order(tasks: Mapping[str, Any], wanted: Collection[str] | None) -> list[tuple[str, Any]]:
    """Tasks after those that they depend on."""
    left = {name: task for name, task in tasks.items() if wanted is None or name in wanted}
    ordered: list[tuple[str, Any]] = []
    while left:
        ready = [name for name, task in left.items() if not set(task.get("dependentTasks", ())) & set(left)]
        assert ready, f"a circle among {sorted(left)}"
        ordered.extend((name, left.pop(name)) for name in sorted(ready))
    return ordered


def _is_cached(task: Mapping) -> bool:
    return bool(task.get("cachingOptions", {}).get("enableCache"))


def _cache_key(execution: Mapping, container: Mapping) -> str:
    key = {
        "inputs": {
            name: [artifact["name"] for artifact in listed["artifacts"]]
            for name, listed in execution["inputs"]["artifacts"].items()
        },
        "parameters": execution["inputs"]["parameterValues"],
        "outputs": {
            name: [{**artifact, "uri": "", "name": ""} for artifact in listed["artifacts"]]
            for name, listed in execution["outputs"]["artifacts"].items()
        },
        "output parameters": sorted(execution["outputs"]["parameters"]),
        "container": [container["image"], container["command"], container["args"]],
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
