"""A stub model with an `evaluate` signature, test windows with known ranks, and the standard Evaluator."""

import os
import pathlib
from typing import Dict, List, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow as tf
from tensorflow_model_analysis.proto import config_pb2
from tfx import types
from tfx.components.evaluator import executor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from schemas import names


class Windows(NamedTuple):
    """Test windows: a user, a slice value, and the rank that each stub model will give."""

    users: np.ndarray  # [B] str
    frequency: np.ndarray  # [B] str
    ranks: Dict[str, np.ndarray]  # [B] int64 by the stub's name
    popularity: np.ndarray  # [B] int64
    candidates: np.ndarray  # [B] int64


def windows(size: int, users: int, better: float, seed: int = 7, tail_share: float = 0.5) -> Windows:
    """Windows in which model `good` beats popularity, `random` does not, and `close` nearly equals `good`."""
    rng = np.random.default_rng(seed)
    popularity = rng.integers(1, 200, size)
    good = np.maximum(1, (popularity * (1 - better)).astype(np.int64))
    close = good + (rng.random(size) < 0.002)
    return Windows(
        users=np.array([f"u{i}" for i in rng.integers(0, users, size)]),
        frequency=np.where(rng.random(size) < tail_share, names.TAIL, names.HEAD),
        ranks={"good": good, "close": close, "random": rng.integers(1, 2000, size), "worse": popularity},
        popularity=popularity,
        candidates=2000 + np.arange(size) % 50,
    )


def write_examples(data: Windows, directory: pathlib.Path, split: str = names.TEST) -> None:
    """Writes the windows as the ExampleGen does: gzip TFRecords of tf.Examples, in `Split-<split>`."""
    folder = directory / f"Split-{split}"
    folder.mkdir(parents=True)
    options = tf.io.TFRecordOptions(compression_type="GZIP")
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), options) as writer:
        for index, user in enumerate(data.users):
            feature = {
                names.USER_ID: _bytes(user),
                names.USER_FREQUENCY: _bytes(data.frequency[index]),
                "popularity": _int(data.popularity[index]),
                names.CANDIDATES: _int(data.candidates[index]),
                **{name: _int(ranks[index]) for name, ranks in data.ranks.items()},
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def _bytes(value: str) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))


def _int(value: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))


class _Stub(tf.Module):
    def __init__(self, feature: str):
        super().__init__()
        self._feature = feature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def evaluate(self, examples):
        keys = {
            names.RANK: self._feature,
            names.POPULARITY_RANK: "popularity",
            names.CANDIDATES: names.CANDIDATES,
        }
        features = {key: tf.io.FixedLenFeature([], tf.int64) for key in keys.values()}
        parsed = tf.io.parse_example(examples, features)
        outputs = {output: parsed[key] for output, key in keys.items()}
        outputs["catalogue_size"] = tf.fill(tf.shape(parsed["popularity"]), tf.constant(1_000_000, tf.int64))
        return outputs


def write_model(feature: str, directory: pathlib.Path) -> types.Artifact:
    """A Model artifact whose ranks are the feature of that name."""
    stub = _Stub(feature)
    path = directory / f"model-{feature}"
    tf.saved_model.save(stub, str(path / "Format-Serving"), signatures={"evaluate": stub.evaluate})
    model = standard_artifacts.Model()
    model.uri = str(path)
    return model


class Evaluated(NamedTuple):
    evaluation_uri: str
    blessing_uri: str
    blessed: bool


def evaluate(
    directory: pathlib.Path,
    examples: pathlib.Path,
    config: config_pb2.EvalConfig,
    candidate: str,
    baseline: Optional[str] = None,
    splits: Sequence[str] = (names.TEST,),
) -> Evaluated:
    """Runs the executor of TFX's Evaluator."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(examples)
    artifact.split_names = str(list(splits)).replace("'", '"')
    inputs: Dict[str, List[types.Artifact]] = {
        "examples": [artifact],
        "model": [write_model(candidate, directory)],
    }
    if baseline is not None:
        inputs["baseline_model"] = [write_model(baseline, directory)]
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(directory / "evaluation"), str(directory / "blessing")
    os.makedirs(blessing.uri)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=DirectRunner"], tmp_dir=str(directory / "tmp"), unique_id="1"
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
