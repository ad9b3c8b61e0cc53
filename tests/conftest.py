"""What every test shares."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest

import schemas  # noqa: F401  selects Keras 2 before any test imports TensorFlow

_SHARED_DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """A function from a file's name below the data folder to its path; skips where it is absent."""

    def find(name: str) -> pathlib.Path:
        path = _SHARED_DATA / name
        if not path.exists():
            pytest.skip(f"needs {path}")
        return path

    return find
