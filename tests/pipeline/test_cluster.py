"""What the settings of a cluster make of a compiled pipeline."""

import copy
import random

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


@pytest.mark.parametrize("memory", ["", "32", "16 G", "16GB", "-1G", "G"])
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


def test_variables_are_of_every_step():
    made = applied(env={"B": "2", "A": "1"})["deploymentSpec"]["executors"]
    for executor in made.values():
        found = json_format.ParseDict(
            executor["container"], pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec()
        )
        assert [(one.name, one.value) for one in found.env] == [("A", "1"), ("B", "2")]


# Made up, and in two parts, so that no scanner takes them for real ones.
@pytest.mark.parametrize(
    "name, value",
    [
        ("DB_PASSWORD", "hunter2"),
        ("HF_TOKEN", "x"),
        ("authToken", "x"),
        ("TOKEN_2", "x"),
        ("AWS_SECRET_ACCESS_KEY", "abc"),
        ("AWS_SECRET_ACCESS_KEY", "/K7MDENG" + "/bPxRfiCYEXAMPLEKEY"),
        ("DB_PASSWORD", "/hunter2"),
        ("DB_PASSWORD", "/hunter.2x9Qz8Lm"),
        ("TOKEN", "/v1/a1B2c3"),
        ("AWS_SECRET_ACCESS_KEY", "/mnt/q8Zr3LmX0vT5" + "bWc7"),
        ("LOGIN", "AKIA" + "ABCDEFGHIJKLMNOP"),
        ("KEYFILE", "-----BEGIN " + "PRIVATE KEY-----"),
        ("URL", "https://me:" + "word@example.com/x"),
        ("SESSION", "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0.x"),
        ("OTHER", "q8Zr3LmX0vT5bWc7" + "NdK2yPf9HsJ4"),
    ],
)
def test_a_secret_is_no_part_of_a_specification(name, value):
    with pytest.raises(pydantic.ValidationError, match=f"looks like a secret in {name}") as refused:
        cluster.ClusterSpec.from_values({"env": {name: value}})
    # A value that is refused must not be told in its turn.
    assert value not in refused.value.errors()[0]["msg"]


@pytest.mark.parametrize(
    "name, value",
    [
        ("TF_CPP_MIN_LOG_LEVEL", "2"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/var/run/secrets/key.json"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/credentials"),
        ("TOKEN", "/tokens"),
        ("PRIVATE_KEY", "/run/secrets/dbA1B2"),
        ("SECRET_STORE", "/mnt/secrets/v1a2B3c4"),
        ("KEYSTORE_PASSWORD", "/store.p12"),
        ("API_KEY", "/key.json"),
        ("API_KEY", "/mnt/a//prod-371408-0a1b2c3d4e5f.json"),
        ("API_TOKEN_FILE", "/run/secrets/kubernetes.io/..data/ServiceAccount2/clientKey.pem"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/mnt/secrets/gcpSA.json"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/var/secrets/my-project-1a2B3c.json"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/secrets/sa@proj.json"),
        ("API_KEY_FILE", "/run/secrets/openAI2"),
        ("SECRETS_DIR", "/secrets"),
        ("CREDENTIALS", "/a/x:/b/y"),
        ("TOKEN", "/secrets" + 20 * "/20240101" + "/key=1"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("CUDA_VISIBLE_DEVICES", "0,1"),
        ("XLA_FLAGS", "--xla_gpu_autotune_level=2"),
        ("MAX_TOKENS", "512"),
        ("TOKENIZER", "wordpiece"),
        ("PROJECT", "analytics-platform-prod-371408"),
        ("BUCKET", "acme-recommendations-prod-8172"),
        ("JOB", "our_company_prod_models_europe_west4"),
        ("MODEL_BUCKET", "gs://our-models/of-2024/recommenders-of-the-shop"),
    ],
)
def test_what_is_no_secret_is_let_through(name, value):
    assert cluster.ClusterSpec.from_values({"env": {name: value}}).env == {name: value}


def test_a_random_secret_that_begins_with_a_slash_is_no_path():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    rng = random.Random(1)
    for _ in range(2000):
        assert cluster.looks_secret("AWS_SECRET_ACCESS_KEY", "/" + "".join(rng.choices(letters, k=39)))


@pytest.mark.parametrize(
    "values, words",
    [
        ({"schedule": "0 30 4 * * *"}, "five fields of cron"),
        ({"schedule": "daily"}, "five fields of cron"),
        ({"labels": {"Team": "a"}}, "lower-case letters"),
        ({"labels": {"team": "A b"}}, "lower-case letters"),
        ({"network": "default"}, "projects/NUMBER/global/networks/NAME"),
        ({"env": {"1X": "a"}}, "letters, digits and _"),
    ],
)
def test_other_settings_are_refused(values, words):
    with pytest.raises(pydantic.ValidationError, match=words):
        cluster.ClusterSpec.from_values(values)


@pytest.mark.parametrize(
    "job, words",
    [
        ({}, "machine_type"),
        ({"machine_type": "n1-standard-8", "workers": 0}, "workers"),
        ({"machine_type": "n1-standard-8", "disk_gb": 10}, "disk_gb"),
        ({"machine_type": "n1-standard-8", "region": "Europe"}, "region"),
        ({"machine_type": "n1-standard-8", "timeout": "soon"}, "takes a time above 0, as 7d, 12h"),
    ],
)
def test_other_settings_of_a_custom_job_are_refused(job, words):
    with pytest.raises(pydantic.ValidationError, match=words):
        cluster.ClusterSpec.from_values({"trainer_job": job})
