"""Small real artifacts for tests: windows, a transform graph, an exported model.

`build_transform_output` runs TFT on examples in memory; `export_toy_model` exports a model
that is cheap to make, with every signature of a real one.
"""

import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

import schemas  # noqa: F401  selects Keras 2
from components.behavior_example_gen.windows.next import NextWindow
from components.transform.windows import next as preprocessing
from schemas import load, names
from serving import export
from tests import shared
from trainer.models import scoring

LENGTH = 8
_START = 1_600_000_000_000


def window(
    items: Sequence[str],
    target: str,
    behaviors: Sequence[str] | None = None,
    seen: Sequence[str] = (),
    user: str = "u",
    recent: int = 0,
    scenes: Sequence[str] | None = None,
) -> dict[str, Any]:
    """A `next` window as plain values, an hour between two events; the last `recent` targets are recent."""
    count = len(items)
    values: dict[str, Any] = {
        names.USER_ID: user,
        names.HISTORY_ITEM_ID: list(items),
        names.HISTORY_TIMESTAMP: [_START + 3_600_000 * i for i in range(count)],
        names.TARGET_ITEM_ID: target,
        names.TARGET_TIMESTAMP: _START + 3_600_000 * count,
        names.SEEN_ITEM_ID: list(seen),
        names.RECENT_TARGETS: recent,
        names.USER_FREQUENCY: names.TAIL,
        names.ITEM_FREQUENCY: names.TAIL,
        names.HISTORY_LENGTH: "1-4",
        names.USER_STATUS: names.EXISTING,
        names.USER_GROUP: "low",
    }
    if behaviors is not None:
        values[names.HISTORY_BEHAVIOR] = list(behaviors)
        values[names.TARGET_BEHAVIOR] = "view"
    if scenes is not None:
        values[names.HISTORY_SCENE] = list(scenes)
        values[names.TARGET_SCENE] = "home"
    return values


def serialize(values: dict[str, Any]) -> bytes:
    """A window as a serialized tf.Example."""
    features = {}
    for name, value in values.items():
        value = value if isinstance(value, list) else [value]
        if name in (names.HISTORY_TIMESTAMP, names.TARGET_TIMESTAMP, names.RECENT_TARGETS):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        else:
            data = [v if isinstance(v, bytes) else v.encode() for v in value]
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=data))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def random_windows(
    count: int, catalogue: int, seed: int = 0, behaviors: bool = False
) -> list[dict[str, Any]]:
    """Windows of random items `i0`, `i1`, …; together they have every item as a target."""
    rng = np.random.default_rng(seed)
    result = []
    for index in range(count):
        items = [f"i{v}" for v in rng.integers(0, catalogue, rng.integers(1, LENGTH + 1))]
        kinds = [str(k) for k in rng.choice(["view", "buy"], len(items))] if behaviors else None
        result.append(
            window(
                items,
                f"i{index % catalogue}",
                kinds,
                seen=sorted(set(items)),
                user=f"u{index}",
                recent=0 if index % 4 else min(index % 3, len(items)),
            )
        )
    return result


def build_transform_output(
    folder: str,
    windows: Sequence[dict[str, Any]],
    length: int = LENGTH,
    behaviors: bool = False,
    scenes: bool = False,
) -> tft.TFTransformOutput:
    """Analyses windows with the real `preprocessing_fn` and writes the transform graph to `folder`."""
    config = {"window": NextWindow(length=length).to_json()}
    transform_once(
        folder,
        windows,
        load.next_window_schema(behaviors, scenes),
        lambda inputs: preprocessing.preprocessing_fn(inputs, config),
        made_of=("next", windows, config, behaviors, scenes),
    )
    return tft.TFTransformOutput(os.path.join(folder, "transform"))


def transform_once(
    folder: str, examples: Sequence[Any], schema: Any, preprocessing_fn: Any, made_of: Any
) -> None:
    """Analyses examples and writes the graph to `transform` in a folder, once for all test processes."""
    metadata = dataset_metadata.DatasetMetadata(schema)

    def make(place: str) -> None:
        with (
            tempfile.TemporaryDirectory() as temporary,
            tft_beam.Context(temp_dir=temporary, force_tf_compat_v1=False),
        ):
            transform_fn = (list(examples), metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
            transform_fn | tft_beam.WriteTransformFn(place)
        # TFX Transform writes the raw schema beside the graph.
        metadata_io.write_metadata(metadata, os.path.join(place, tft.TFTransformOutput.RAW_METADATA_DIR))

    shared.once(os.path.join(folder, "transform"), made_of, make)


class ToyModel(scoring.DotProduct, tf.Module):
    """Scores an item by the mean embedding of the history; has the interface of a real model."""

    def __init__(self, catalogue: int, dim: int = 4, seed: int = 0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.table = tf.Variable(rng.normal(size=(catalogue + names.FIRST_INDEX, dim)).astype(np.float32))

    def encode(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        del training
        index = features[names.HISTORY_ITEM_INDEX]
        present = tf.cast(index != names.PADDING_INDEX, tf.float32)[:, :, tf.newaxis]
        return tf.reduce_sum(tf.gather(self.table, index) * present, axis=1)

    def query(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return self.encode(features, training)

    @property
    def serving_variables(self) -> Sequence[tf.Variable]:
        return self.variables

    def item_table(self) -> tf.Tensor:
        return self.table[names.FIRST_INDEX :]

    # As real models: no row is read that is not asked for.
    def item_vectors(self, rows: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.table, rows + names.FIRST_INDEX)

    def scores(self, query: tf.Tensor, first: Any = 0, count: Any | None = None) -> tf.Tensor:
        if count is None:
            return super().scores(query)
        return tf.matmul(query, self.item_vectors(tf.range(first, first + count)), transpose_b=True)


def export_toy_model(folder: str, catalogue: int = 20, behaviors: bool = False, seed: int = 0) -> str:
    """Exports a toy model below `folder` and returns the SavedModel's folder, `<folder>/model`."""
    windows = random_windows(max(60, catalogue), catalogue, seed, behaviors)
    output = build_transform_output(folder, windows, behaviors=behaviors)
    size = output.vocabulary_size_by_name(names.ITEM_VOCABULARY)
    target = os.path.join(folder, "model")
    export.export_model(ToyModel(size, seed=seed), output, target, objective="ranking")
    return target


def write_transformed(output: tft.TFTransformOutput, windows: Sequence[dict[str, Any]], path: str) -> str:
    """Transforms windows and writes them to `path` (gzip TFRecord), as TFX Transform does; returns it."""
    raw = tf.io.parse_example([serialize(window) for window in windows], output.raw_feature_spec())
    columns = output.transform_features_layer()(raw)
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for row in range(len(windows)):
            features = {}
            for name, column in columns.items():
                values = (
                    tf.sparse.slice(column, [row, 0], [1, column.shape[1]]).values
                    if isinstance(column, tf.SparseTensor)
                    else tf.reshape(column[row], [-1])
                )
                if values.dtype == tf.int64:
                    feature = tf.train.Feature(int64_list=tf.train.Int64List(value=values.numpy()))
                elif values.dtype == tf.float32:
                    feature = tf.train.Feature(float_list=tf.train.FloatList(value=values.numpy()))
                else:
                    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=values.numpy()))
                features[name] = feature
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return path
