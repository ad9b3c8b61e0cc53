"""What the settings of a cluster make of a compiled pipeline."""

import copy

import pydantic
import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from pipeline import cluster
from schemas import errors


def pipeline():
    task = {"componentRef": {"name": "Trainer"}, "cachingOptions": {"enableCache": True}}
    return {
        "root": {
            "dag": {
                "tasks": {
                    "Trainer": task,
                    "LogState": {**copy.deepcopy(task), "componentRef": {"name": "LogState"}},
                }
            }
        },
        "components": {name: {"executorLabel": f"{name}_executor"} for name in ("Trainer", "LogState")},
        "deploymentSpec": {
            "executors": {
                f"{name}_executor": {"container": {"image": "x"}} for name in ("Trainer", "LogState")
            }
        },
    }


def applied(**values):
    made = pipeline()
    cluster.ClusterSpec.from_values(values).apply(made, uncached=("LogState",))
    return made


def test_a_step_gets_what_it_is_given():
    given = {"cpu": 7.5, "memory": "16Gi", "accelerator": "nvidia.com/gpu", "accelerators": 2}
    made = applied(resources={"Trainer": given})
    executors = made["deploymentSpec"]["executors"]
    # In Kubeflow's own type.
    found = json_format.ParseDict(
        executors["Trainer_executor"]["container"],
        pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec(),
    ).resources
    assert found.cpu_limit == 7.5 and found.memory_limit == pytest.approx(17.179869184)
    assert (found.accelerator.type, found.accelerator.count) == ("nvidia.com/gpu", 2)
    assert "resources" not in executors["LogState_executor"]["container"]


@pytest.mark.parametrize(
    "memory, gigabytes", [("16G", 16), ("512M", 0.512), ("1.5Gi", 1.610612736), ("2000000000", 2)]
)
def test_memory_is_in_gigabytes(memory, gigabytes):
    assert cluster.ResourceSpec(memory=memory).to_spec() == {"memoryLimit": pytest.approx(gigabytes)}


@pytest.mark.parametrize("memory", ["", "16 G", "16GB", "-1G", "G"])
def test_other_quantities_are_refused(memory):
    with pytest.raises(pydantic.ValidationError, match="a number with a unit, as 16G"):
        cluster.ResourceSpec(memory=memory)


def test_retries_and_the_cache_are_of_all_tasks():
    tasks = applied(retries=3)["root"]["dag"]["tasks"]
    assert [task["retryPolicy"] for task in tasks.values()] == [{"maxRetryCount": 3}] * 2
    for name, task in tasks.items():
        json_format.ParseDict(task, pipeline_spec_pb2.PipelineTaskSpec())
        # What looks at the world is never cached.
        assert ("cachingOptions" in task) == (name == "Trainer")
    assert not any("cachingOptions" in task for task in applied(cache=False)["root"]["dag"]["tasks"].values())
    assert "retryPolicy" not in applied()["root"]["dag"]["tasks"]["Trainer"]


def test_resources_of_no_component_are_told():
    with pytest.raises(
        errors.InputError, match=r"cluster\.resources: Trainr: no such component; there are LogState, Trainer"
    ):
        applied(resources={"Trainr": {"cpu": 1}})
