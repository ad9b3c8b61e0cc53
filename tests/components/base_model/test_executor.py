"""Which pretrained model a training starts from."""

import json
import os
import shutil

import pytest
from tfx.dsl.io import fileio

from components.base_model import executor
from components.pusher import executor as pusher
from schemas import errors
from serving import networks
from tests.components.live_model import test_executor as live

EMBEDDING = {"evaluate": ["embedding"], "embed": ["embedding"]}
ASKED = {
    "dim": 64,
    "blocks": 4,
    "encoder": "causal",
    "activity": True,
    "max_bucket_events": None,
    "network": networks.described(
        ["item_id", "context_price"], {"context_price": networks.buckets(20, None)}, 120 * 86_400.0, 50
    ),
}


def look(path, asked=ASKED):
    return executor.look(path, json.dumps(asked))


@pytest.fixture
def place(tmp_path):
    """A run's folder, and a function that pushes a model below it."""
    base = str(tmp_path / "serving" / "users")

    def push(content, signatures=EMBEDDING):
        model = live.model(tmp_path / "model", content, signatures)
        return os.path.join(base, str(pusher.push(model, base)))

    return tmp_path, base, push


def test_a_run_a_folder_of_versions_and_a_version_are_the_same_model(place):
    run, base, push = place
    push("one")
    newest = push("two")
    found = look(base)
    assert found["path"] == newest
    assert look(str(run)) == look(newest) == found
    push("three")
    assert look(base)["digest"] != found["digest"] == look(newest)["digest"]


def test_in_a_bucket_which_lists_folders_with_a_slash_a_run_is_found(place, monkeypatch):
    run, base, push = place
    newest = push("one")
    listdir = fileio.listdir

    def as_a_bucket(path):
        return [f"{name}/" if os.path.isdir(os.path.join(path, name)) else name for name in listdir(path)]

    monkeypatch.setattr(fileio, "listdir", as_a_bucket)
    assert look(str(run))["path"] == look(base)["path"] == newest


def test_of_a_run_that_pushes_elsewhere_it_is_the_model_that_is_there(place):
    run, base, push = place
    newest = push("one")
    elsewhere = run / "other"
    elsewhere.mkdir()
    (elsewhere / "experiment.yaml").write_text(f"name: users\npush: {{destination: {base}}}\n")
    assert look(str(elsewhere)) == look(newest)
    # Not what an earlier run of that folder has left.
    shutil.copytree(base, elsewhere / "serving" / "users")
    assert look(str(elsewhere))["path"] == newest
    shutil.rmtree(base)
    with pytest.raises(errors.InputError, match=f"no version of a model at {base}"):
        look(str(elsewhere))


def test_what_is_no_pretrained_model_is_refused(place):
    run, base, push = place
    with pytest.raises(errors.InputError, match=f"model.base_model: no version of a model at {run}/nowhere"):
        look(str(run / "nowhere"))
    (run / "report.html").write_text("a file")
    with pytest.raises(errors.InputError, match=f"no version of a model at {run}/report.html"):
        look(str(run / "report.html"))
    path = push("ranking", live.RANKING)
    with pytest.raises(errors.InputError, match=f"{path} is a model of the objective ranking"):
        look(base)
    with pytest.raises(errors.InputError, match="of the objective ranking"):
        look(path)
    shutil.rmtree(path)
    push("damaged")
    (version,) = [name for name in os.listdir(base) if name.isdigit()]
    with open(os.path.join(base, version, "weights"), "a") as stream:
        stream.write("more")
    with pytest.raises(errors.InputError, match="every version at .* is damaged"):
        look(base)


def test_a_network_of_other_settings_is_refused_with_all_that_differs(place):
    _, base, push = place
    path = push("one")
    # One that an earlier version has pushed tells nothing.
    assert look(base, {**ASKED, "dim": 8})["path"] == path
    told = os.path.join(path, networks.SETTINGS)

    def tell(**network):
        kept = {**ASKED["network"], **network}
        with open(told, "w") as stream:
            json.dump({**ASKED, "name": "byb", "min_rank": 1.5, "network": kept}, stream)

    tell()
    assert look(path)["path"] == path
    other = {
        **ASKED,
        "dim": 32,
        "blocks": 2,
        "activity": False,
        "max_bucket_events": 7,
        "network": networks.described(
            ["item_id", "scene", "context_price"],
            {"context_price": networks.buckets(4, (1.0, 10.0))},
            90 * 86_400.0,
            60,
        ),
    }
    with pytest.raises(errors.InputError) as refused:
        look(path, other)
    assert str(refused.value) == (
        f"model.base_model: {path} was pretrained with model.dim 64, found 32; model.blocks 4, found 2; "
        "model.activity true, found false; model.max_bucket_events null, found 7; "
        "log.columns whose events have item_id, context_price, found item_id, scene, context_price; "
        "features.options.context_price {buckets: 20}, found {boundaries: [1.0, 10.0]}; window.past 120d, found 90d; "
        "window.length 50 (with encoder: causal), found 60: the same has to be set here"
    )
    # Of one of two encoders the length is no matter; a number there may be a text here.
    tell(length=None, numbers={})
    message = r"with features.options.context_price no number, found \{buckets: 20\}: the same"
    with pytest.raises(errors.InputError, match=message):
        look(path)
