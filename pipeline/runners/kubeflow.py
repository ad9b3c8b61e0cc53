"""Compiles an experiment to a Kubeflow Pipelines v2 spec, which Vertex AI takes too; see `targets`."""

import json
import logging
import os
import posixpath
from collections.abc import Mapping
from typing import Any

import yaml

import schemas  # noqa: F401  selects Keras 2
from components.behavior_example_gen import zones
from pipeline import config, datasets, parameters, progress, window_schema
from pipeline.runners import custom_job, targets, whole
from schemas import pushed

_PROGRESS = logging.getLogger(progress.LOGGER)


def schema_place(experiment: config.Experiment, root: str) -> str:
    """Where a compiled pipeline reads the schema of its windows."""
    return posixpath.join(root, experiment.name, "schema", window_schema.file_name(experiment))


def compile_pipeline(
    experiment: config.Experiment, output: str, root: str, image: str, target: str = targets.DEFAULT
) -> tuple[str, str]:
    """Writes the spec of an experiment, and the schema of its windows beside it; nothing is run or read.

    Args:
      experiment: of `config.load`; its log's path should be one that the cluster can read.
      output: the spec's path, `.yaml` or `.json`.
      root: of everything the pipeline keeps: artifacts, schema, checkpoints, pushed models.
        The schema is expected at `schema_place`.
      image: with Footfall and its locked environment.
      target: a key of `targets.TARGETS`.

    Returns:
      The paths of the spec and of the schema.

    Raises:
      errors.InputError: if the backend cannot have the settings, see `targets.check` and `cluster.ClusterSpec.apply`.
    """
    targets.check(experiment, target)
    _warn_of_fixed_moments(experiment)
    parts = {"log": experiment.log, "window": experiment.window, "split": experiment.split}
    for sentence in zones.told_of(parts, experiment.log.timezone):
        _PROGRESS.warning("%s", sentence)
    from tfx.orchestration import data_types
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline import code, pipeline
    from pipeline.runners import kubeflow_step

    os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    base = posixpath.join(root, experiment.name)
    changeable = parameters.of(experiment)
    dag = pipeline.create_pipeline(
        experiment.with_log(path=datasets.resolve(experiment.log.path)),
        pipeline_root=posixpath.join(base, "pipeline_root"),
        schema_path=schema_place(experiment, root),
        checkpoint_root=posixpath.join(base, "checkpoints"),
        accepted_root=posixpath.join(base, "accepted_statistics"),
        serving_dir=posixpath.join(base, pushed.SERVING),
        code=code.versions(),
        deploy=True,
        run={
            name: data_types.RuntimeParameter(name, type(one.default), one.default, one.text)
            for name, one in changeable.items()
        },
        trainer_job=custom_job.request(experiment, image),
    )
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
            default_image=image,
            default_commands=[*kubeflow_step.COMMAND, "--code", code.of_all()],
            use_pipeline_spec_2_1=True,
        )
    )
    job = _runnable(runner.run(dag, write_out=False))
    _default(job["pipelineSpec"], changeable)
    experiment.cluster.apply(job["pipelineSpec"], uncached=_OBSERVERS + _PUSHERS)
    _write(output, job)
    schema = f"{os.path.splitext(output)[0]}.schema.pbtxt"
    whole.write(schema, window_schema.text(experiment))
    return output, schema


def _warn_of_fixed_moments(experiment: config.Experiment) -> None:
    """A pipeline that runs again and again goes on to train on the same days where these are written down."""
    split, window = experiment.split, experiment.window
    fixed = ["split.eval_from", "split.test_from"] if "time" in split.by and split.moments() else []
    if getattr(window, "at", None):
        fixed.append("window.at")
    if experiment.cluster.schedule and fixed:
        _PROGRESS.warning(
            "cluster.schedule: %s: moments that are the same in each run, so that events after them are never trained on; %s",
            ", ".join(fixed),
            "times before its end, as -14d and -7d, and window.stride move with the log"
            if "window.at" in fixed
            else "times before its end, as -14d and -7d, move with the log",
        )


# They look at what changes outside of the pipeline, see `components.observing`.
_OBSERVERS = ("LogState", "LiveModel", "BaseModel")
# They leave alone what is there already, and put back what was taken away since.
_PUSHERS = ("Pusher", "VertexDeployer")


def _runnable(job: dict[str, Any]) -> dict[str, Any]:
    """A job that TFX has compiled, with what no cluster could run put right.

    TFX names the producers of parameters by names that no task has. The root, which it tells beside the specification,
    would be Kubeflow's own, `minio://`, of whoever uploads the specification alone.
    """
    job["pipelineSpec"]["defaultPipelineRoot"] = job["runtimeConfig"]["gcsOutputDirectory"]
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    for task in tasks.values():
        for value in task.get("inputs", {}).get("parameters", {}).values():
            source = value.get("taskOutputParameter")
            if source and source["producerTask"] not in tasks:
                source["producerTask"] = source["producerTask"].removesuffix("_task")
    return job


def _default(pipeline: dict[str, Any], changeable: Mapping[str, parameters.Parameter]) -> None:
    """Writes what runs have that name no value of their own, which TFX leaves out."""
    for name, given in pipeline["root"]["inputDefinitions"]["parameters"].items():
        given.update(
            defaultValue=changeable[name].default, description=changeable[name].text, isOptional=True
        )


def _write(output: str, job: dict[str, Any]) -> None:
    """The specification as YAML, or the whole job as JSON."""
    if output.endswith(".json"):
        text = json.dumps(job, sort_keys=True)
    else:
        text = yaml.safe_dump(job["pipelineSpec"], sort_keys=True)
    whole.write(output, text)
