"""Where `footfall predict` and `serve` find the model of a run."""

import pytest

from pipeline import ask, config
from schemas import errors


@pytest.fixture
def run_dir(tmp_path):
    """A function that writes the folder of a run as a run does, by where its experiment pushes."""

    def write(destination=None):
        source = tmp_path / "shop.yaml"
        source.write_text("name: shop\nlog: {path: shop.csv}\nmodel: {name: sasrec}\n")
        overrides = [] if destination is None else [f"push.destination={destination}"]
        folder = tmp_path / "runs" / "shop"
        folder.mkdir(parents=True)
        (folder / "experiment.yaml").write_text(config.load(str(source), overrides).to_yaml())
        return folder

    return write


def test_a_run_that_pushes_to_its_folder(run_dir):
    folder = run_dir()
    with pytest.raises(errors.InputError, match="no version of a model there; a run pushes to serving/NAME"):
        ask.model_dir(str(folder))
    (folder / "serving" / "shop" / "7").mkdir(parents=True)
    assert ask.model_dir(str(folder)) == str(folder / "serving" / "shop")


def test_a_run_that_pushes_to_a_local_folder_elsewhere(run_dir, tmp_path):
    served = tmp_path / "served"
    folder = run_dir(served)
    # Of a time when it pushed to its own folder: not what is live.
    (folder / "serving" / "shop" / "7").mkdir(parents=True)
    with pytest.raises(errors.InputError, match=f"this run pushes to {served}$"):
        ask.model_dir(str(folder))
    (served / "8").mkdir(parents=True)
    assert ask.model_dir(str(folder)) == str(served)


def test_a_run_that_pushes_to_a_bucket_names_it(run_dir):
    folder = run_dir("gs://bucket/models/shop")
    with pytest.raises(errors.InputError, match="no version of a model there.* gs://bucket/models/shop$"):
        ask.model_dir(str(folder))


@pytest.mark.parametrize("text", ["", "[", "push: gs://bucket", "push: {destination: null}", "\x00"])
def test_an_experiment_that_says_nothing_of_it(tmp_path, text):
    (tmp_path / "experiment.yaml").write_text(text)
    (tmp_path / "serving" / "shop" / "7").mkdir(parents=True)
    assert ask.model_dir(str(tmp_path)) == str(tmp_path / "serving" / "shop")
