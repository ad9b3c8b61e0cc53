"""Settings of an endpoint: what is refused, and with which words."""

import pytest

from pipeline import config
from schemas import errors

_NEEDED = [
    "push.endpoint.project=p",
    "push.endpoint.region=europe-west4",
    "push.endpoint.name=clicks",
    "push.endpoint.repository=europe-west4-docker.pkg.dev/p/mirror",
]


def load(*changes):
    return config.load(config.find("ml100k-sasrec"), [*_NEEDED, *changes]).push.endpoint


def test_an_endpoint_needs_a_place_a_name_and_an_image():
    found = load()
    assert (found.traffic, found.min_replicas, found.accelerator) == (100, 1, None)
    assert found.location == "projects/p/locations/europe-west4"
    assert config.load(config.find("ml100k-sasrec")).push.endpoint is None


@pytest.mark.parametrize(
    "change, words",
    [
        ("traffic=0", "push.endpoint.traffic: must be at least 1"),
        ("traffic=101", "push.endpoint.traffic: must be at most 100"),
        ("max_replicas=0", "push.endpoint.max_replicas: must be at least 1"),
        ("min_replicas=3", "push.endpoint: max_replicas is at least min_replicas, 3, found 1"),
        ("name=Clicks", "push.endpoint.name: takes lower-case letters, .*a letter first"),
        ("name=clicks-", "push.endpoint.name: .*no - last"),
        ("region=europe", 'push.endpoint.region: .*as europe-west4; found "europe"'),
        (
            "repository=tensorflow/serving",
            "push.endpoint.repository: takes a repository of Artifact Registry",
        ),
        ("repository=europe-docker.pkg.dev/p/r/serving:2.16.1", "push.endpoint.repository"),
        ("accelerator=nvidia.com/gpu", "push.endpoint.accelerator: .*as NVIDIA_TESLA_T4"),
        ("labels={Team: search}", "push.endpoint.labels: labels have lower-case letters"),
        ("replicas=2", "push.endpoint.replicas: unknown key; did you mean min_replicas"),
    ],
)
def test_what_vertex_ai_would_refuse_is_refused_before(change, words):
    with pytest.raises(errors.InputError, match=words):
        load(f"push.endpoint.{change}")
