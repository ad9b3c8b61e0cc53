"""A stub model with an `evaluate` signature, test windows with known ranks, and the standard Evaluator."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import executor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from pipeline.config import BeamSpec
from schemas import names

CATALOGUE = 1_000_000


class Windows(NamedTuple):
    """Test windows: a user, a slice value, and the rank that each stub model will give."""

    users: np.ndarray  # [B] str
    frequency: np.ndarray  # [B] str
    ranks: dict[str, np.ndarray]  # [B] int64 by the stub's name
    popularity: np.ndarray  # [B] int64
    candidates: np.ndarray  # [B] int64


def windows(size: int, users: int, better: float, seed: int = 7, tail_share: float = 0.5) -> Windows:
    """Windows in which model `good` beats popularity, `random` does not, and `close` nearly equals `good`."""
    rng = np.random.default_rng(seed)
    popularity = rng.integers(1, 200, size)
    good = np.maximum(1, (popularity * (1 - better)).astype(np.int64))
    close = good + (rng.random(size) < 0.05)
    return Windows(
        users=np.array([f"u{i}" for i in rng.integers(0, users, size)]),
        frequency=np.where(rng.random(size) < tail_share, names.TAIL, names.HEAD),
        ranks={"good": good, "close": close, "random": rng.integers(1, 2000, size), "worse": popularity},
        popularity=popularity,
        candidates=2000 + np.arange(size) % 50,
    )


def write_examples(data: Windows, directory: pathlib.Path, split: str = names.TEST) -> None:
    """Writes the windows as the ExampleGen does: gzip TFRecords of tf.Examples, in `Split-<split>`."""
    columns = {
        names.USER_ID: data.users,
        names.USER_FREQUENCY: data.frequency,
        "popularity": data.popularity,
        names.CANDIDATES: data.candidates,
        **data.ranks,
    }
    write_columns(columns, directory / f"Split-{split}")


def write_columns(columns: dict[str, np.ndarray], folder: pathlib.Path) -> None:
    """Writes features by name, `[B]` each, as tf.Examples."""
    folder.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    makes = {"i": _int, "f": _float, "U": _bytes}
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), options) as writer:
        for index in range(len(next(iter(columns.values())))):
            feature = {name: makes[values.dtype.kind](values[index]) for name, values in columns.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _float(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[float(value)]))


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))


def _int(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))


class Stub(tf.Module):
    def __init__(self, feature: str):
        super().__init__()
        self._feature = feature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(self, examples):
        keys = {
            names.RANK: self._feature,
            names.POPULARITY_RANK: "popularity",
            names.RECENT_POPULARITY_RANK: "popularity",
            names.CANDIDATES: names.CANDIDATES,
        }
        features = {key: tf.io.FixedLenFeature([], tf.int64) for key in keys.values()}
        parsed = tf.io.parse_example(examples, features)
        outputs = {output: parsed[key] for output, key in keys.items()}
        outputs["catalogue_size"] = tf.fill(tf.shape(parsed["popularity"]), tf.constant(CATALOGUE, tf.int64))
        return outputs


def write_model(feature: str, directory: pathlib.Path, stub_class: Any = Stub) -> types.Artifact:
    """A Model artifact whose ranks (or probabilities) are the features of that name."""
    stub = stub_class(feature)
    path = directory / f"model-{feature}"
    tf.saved_model.save(stub, str(path / "Format-Serving"), signatures={"evaluate": stub.evaluate})
    model = standard_artifacts.Model()
    model.uri = str(path)
    return model


STEPS = ("cart", "buy")


class Exposures(NamedTuple):
    """Test exposures: users, a slice value, labels `[B, 2]` of STEPS, probabilities `[B, 2]` by the stub's name."""

    users: np.ndarray
    frequency: np.ndarray
    labels: np.ndarray
    probabilities: dict[str, np.ndarray]


def exposures(size: int, users: int, seed: int = 7, unknown: float = 0.05) -> Exposures:
    """Exposures that `good` knows, `noisy` less, `wild` knows as `noisy` but is far too sure of, `constant` not."""
    rng = np.random.default_rng(seed)
    logit = -1.0 + 1.2 * rng.normal(size=size)
    labels = np.zeros((size, 2), np.int64)
    labels[:, 0] = rng.random(size) < _sigmoid(logit)
    labels[:, 1] = labels[:, 0] * (rng.random(size) < 0.5)
    labels[rng.random(size) < unknown, 1] = names.UNKNOWN_LABEL
    noisy = logit + 1.5 * rng.normal(size=size)
    wild = _sigmoid(4 * noisy)
    return Exposures(
        users=np.array([f"u{i}" for i in rng.integers(0, users, size)]),
        frequency=np.where(rng.random(size) < 0.5, names.TAIL, names.HEAD),
        labels=labels,
        probabilities={
            "good": np.stack([_sigmoid(logit), 0.5 * _sigmoid(logit)], axis=1),
            "noisy": np.stack([_sigmoid(0.5 * noisy - 0.5), 0.5 * _sigmoid(0.5 * noisy - 0.5)], axis=1),
            "wild": np.stack([wild, np.minimum(1, 1.5 * wild)], axis=1),
            "constant": np.tile([0.3, 0.15], (size, 1)),
        },
    )


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def write_exposures(data: Exposures, directory: pathlib.Path, split: str = names.TEST) -> None:
    """Writes exposures as the ExampleGen does, with the stubs' probabilities as further features."""
    columns = {
        names.USER_ID: data.users,
        names.ITEM_ID: np.array([f"i{i}" for i in range(len(data.users))]),
        names.TIMESTAMP: np.arange(len(data.users)),
        names.USER_FREQUENCY: data.frequency,
        **{names.LABEL_PREFIX + step: data.labels[:, t] for t, step in enumerate(STEPS)},
    }
    for name, values in data.probabilities.items():
        columns.update({f"{name}_{step}": values[:, t].astype(np.float32) for t, step in enumerate(STEPS)})
    write_columns(columns, directory / f"Split-{split}")


class StepsStub(tf.Module):
    """Gives the probabilities that the example's features of a name have."""

    def __init__(self, feature: str, steps: Sequence[str] = STEPS):
        super().__init__()
        self._feature, self._steps = feature, steps

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(self, examples):
        keys = {step: f"{self._feature}_{step}" for step in self._steps}
        parsed = tf.io.parse_example(
            examples, {key: tf.io.FixedLenFeature([], tf.float32) for key in keys.values()}
        )
        return {step: parsed[key] for step, key in keys.items()}


class Evaluated(NamedTuple):
    evaluation_uri: str
    blessing_uri: str
    blessed: bool


def evaluate(
    directory: pathlib.Path,
    examples: pathlib.Path,
    config: config_pb2.EvalConfig,
    candidate: str | types.Artifact,
    baseline: str | None = None,
    splits: Sequence[str] = (names.TEST,),
    stub_class: Any = Stub,
) -> Evaluated:
    """Runs the executor of TFX's Evaluator on a Model artifact, or a stub's name."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(examples)
    artifact.split_names = str(list(splits)).replace("'", '"')
    inputs: dict[str, list[types.Artifact]] = {
        "examples": [artifact],
        "model": [write_model(candidate, directory, stub_class) if isinstance(candidate, str) else candidate],
    }
    if baseline is not None:
        inputs["baseline_model"] = [write_model(baseline, directory, stub_class)]
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(directory / "evaluation"), str(directory / "blessing")
    os.makedirs(blessing.uri)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=list(BeamSpec().args), tmp_dir=str(directory / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do(
        inputs,
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": str(list(splits)).replace("'", '"'),
        },
    )
    blessed = blessing.get_int_custom_property("blessed") == 1
    return Evaluated(evaluation.uri, blessing.uri, blessed)
