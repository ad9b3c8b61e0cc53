"""What a backend can be given of an experiment."""

import pytest

from pipeline import config
from pipeline.runners import targets
from schemas import errors

_EXAMPLE = "gs://BUCKET/footfall"
_LOG = "log.path=gs://b/*.csv"


def load(*overrides):
    return config.load(config.find("ml100k-sasrec"), list(overrides))


@pytest.mark.parametrize(
    "overrides, root, target, words",
    [
        ([], "gs://bucket/root", "kubeflow", ["log.path is "]),
        ([_LOG], _EXAMPLE, "kubeflow", ["--root is an example"]),
        (
            [_LOG, "push.destination=models"],
            "out",
            "kubeflow",
            [
                "--root is out: the launcher of Kubeflow takes gs://, s3://, minio:// alone",
                "push.destination is models",
            ],
        ),
        ([_LOG, "push.destination=/mnt/models"], "gs://b/out", "kubeflow", []),
        (
            ["log.path=/mnt/*.csv", "push.destination=/gcs/b/models"],
            "gs://b/out",
            "vertex",
            ["log.path is /mnt/*.csv, of this machine"],
        ),
        (
            ["log.path=~/clicks.csv", "push.destination=/home/me/models"],
            "gs://b/out",
            "kubeflow",
            [
                "log.path is /home/me/clicks.csv, of this machine: set it to one that the cluster can read",
                "push.destination is /home/me/models, of this machine: a pod pushes to its own disk",
            ],
        ),
        ([_LOG], "/volume", "kubeflow", ["no path of a volume"]),
        ([_LOG], "minio://mlpipeline/x", "kubeflow", ["reads and writes no minio://"]),
        ([_LOG], "s3://bucket/x", "kubeflow", ["reads and writes no s3://"]),
        ([_LOG], "s3://bucket/x", "vertex", ["the launcher of Vertex AI takes gs:// alone"]),
        (
            [_LOG, "push.destination=s3://b/m"],
            "gs://bucket/x",
            "vertex",
            ["push.destination is s3://b/m: TensorFlow"],
        ),
    ],
)
def test_what_a_cluster_cannot_reach_is_told(overrides, root, target, words, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    found = targets.out_of_reach(load(*overrides), root, target, _EXAMPLE)
    assert len(found) == len(words) and all(word in line for word, line in zip(words, found))


@pytest.mark.parametrize(
    "base, words",
    [
        ("runs/online-retail-byb", ["model.base_model is runs/online-retail-byb, of this machine"]),
        ("~/models/byb", ["model.base_model is /home/me/models/byb, of this machine"]),
        ("/mnt/models/byb", []),
        ("gs://bucket/models/byb", []),
        ("s3://bucket/models/byb", ["model.base_model is s3://bucket/models/byb: TensorFlow"]),
    ],
)
def test_a_pretrained_model_that_a_cluster_cannot_reach_is_told(base, words, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    overrides = [_LOG, f"model.base_model={base}"]
    experiment = config.load(config.find("online-retail-byb-finetuned"), overrides)
    found = targets.out_of_reach(experiment, "gs://bucket/root", "kubeflow", _EXAMPLE)
    assert len(found) == len(words) and all(word in line for word, line in zip(words, found))


def test_what_needs_a_volume_that_the_spec_does_not_have_is_told():
    base = ["model.base_model=/mnt/byb", "push.destination=/srv/models"]
    experiment = config.load(config.find("online-retail-byb-finetuned"), [_LOG, *base])
    found = targets.unmounted(experiment, "kubeflow")
    assert [line.split(": ")[0] for line in found] == [
        "model.base_model is /mnt/byb",
        "push.destination is /srv/models",
    ]
    assert "where no pod has one, a pod pushes to its own disk" in found[1]
    # Vertex AI mounts buckets there, and nothing elsewhere.
    assert not targets.unmounted(load("log.path=/gcs/b/*.csv"), "vertex")
    assert not targets.unmounted(load(_LOG), "kubeflow")


def test_what_is_told_of_file_systems_is_what_tensorflow_does():
    tf = pytest.importorskip("tensorflow")
    for scheme in ("s3", "minio"):
        with pytest.raises(tf.errors.UnimplementedError, match=f"scheme '{scheme}' not implemented"):
            tf.io.gfile.exists(f"{scheme}://bucket/x")


@pytest.mark.parametrize(
    "target, accelerator, taken",
    [
        ("kubeflow", "nvidia.com/gpu", True),
        ("kubeflow", "NVIDIA_TESLA_T4", False),
        ("vertex", "NVIDIA_TESLA_T4", True),
        ("vertex", "nvidia.com/gpu", False),
    ],
)
def test_an_accelerator_has_the_name_that_its_backend_knows(target, accelerator, taken):
    experiment = load(f"cluster.resources={{Trainer: {{accelerator: {accelerator}}}}}")
    if taken:
        targets.check(experiment, target)
        return
    with pytest.raises(errors.InputError, match=r"Trainer\.accelerator: on .* a type is written as"):
        targets.check(experiment, target)


@pytest.mark.parametrize(
    "given",
    [
        "--s3_secret_access_key=hunter2",
        "--s3_secret_access_key, hunter2",
        "'--s3_secret_access_key hunter2'",
    ],
)
def test_a_secret_among_beams_arguments_is_told_without_its_value(given):
    experiment = load(f"beam.args=[--runner=FlinkRunner, {given}, --streaming]")
    with pytest.raises(errors.InputError, match="--s3_secret_access_key looks like a secret") as refused:
        targets.check(experiment, "kubeflow")
    assert "hunter2" not in str(refused.value)
    targets.check(load(), "kubeflow")
    targets.check(
        load("beam.args=[--runner, FlinkRunner, --s3_secret_access_key, --parallelism, '2']"), "kubeflow"
    )


def test_what_a_backend_does_not_use_is_told():
    experiment = load("cluster.labels={team: a}", "cluster.network=projects/1/global/networks/n")
    assert [line.split()[0] for line in targets.unused(experiment, "kubeflow")] == [
        "cluster.labels",
        "cluster.network",
    ]
    assert not targets.unused(experiment, "vertex") and not targets.unused(load(), "kubeflow")


@pytest.mark.parametrize(
    "name, overrides, target, words",
    [
        ("ml100k-sasrec", [], "kubeflow", "Kubeflow has no custom jobs: compile with --target vertex"),
        ("ml100k-sasrec", [], "vertex", None),
        ("retailrocket-mlp", [], "vertex", None),
        ("ml100k-sasrec-tp", ["training.max_seconds=9"], "vertex", None),
        (
            "ml100k-sasrec",
            ["training.optimizer=lazy_adam", "loss.name=sampled_softmax"],
            "vertex",
            "trainer_job.workers is 2: training.optimizer: lazy_adam trains on one device",
        ),
        (
            "ml100k-sasrec",
            ["training.optimizer=lazy_adam", "loss.name=sampled_softmax", "cluster.trainer_job.workers=1"],
            "vertex",
            None,
        ),
        (
            "ml100k-sasrec",
            ["cluster.trainer_job.accelerator=nvidia.com/gpu"],
            "vertex",
            "trainer_job.accelerator: on Vertex AI a type is written as NVIDIA_TESLA_T4",
        ),
        (
            "ml100k-sasrec",
            ["cluster.resources={Trainer: {accelerator: NVIDIA_TESLA_T4}}"],
            "vertex",
            "resources.Trainer.accelerator: with cluster.trainer_job this step only waits",
        ),
    ],
)
def test_a_custom_job_that_cannot_train_is_told(name, overrides, target, words):
    job = "cluster.trainer_job={workers: 2, machine_type: n1-standard-8}"
    experiment = config.load(config.find(name), [job, *overrides])
    if words is None:
        targets.check(experiment, target)
        return
    with pytest.raises(errors.InputError, match=words):
        targets.check(experiment, target)
