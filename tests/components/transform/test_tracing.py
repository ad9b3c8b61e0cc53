"""TFT looks at one graph, and what it makes is what it makes by itself."""

import pathlib

import apache_beam as beam
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
import tensorflow_transform.beam as tft_beam
from tensorflow_transform import impl_helper
from tensorflow_transform.beam import analysis_graph_builder, analyzer_cache
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

from components.transform import tracing

WORDS = [{"word": word, "number": float(number)} for number, word in enumerate("babacab")]
FEATURES = {"word": tf.io.FixedLenFeature([], tf.string), "number": tf.io.FixedLenFeature([], tf.float32)}
SPECS = {name: tf.TensorSpec([None], feature.dtype) for name, feature in FEATURES.items()}


class Features:
    """Features of words and numbers that count how often they were traced."""

    def __init__(self):
        self.traced = 0

    def __call__(self, inputs):
        self.traced += 1
        return {
            "index": tft.compute_and_apply_vocabulary(inputs["word"], vocab_filename="words"),
            "scaled": tft.scale_to_0_1(inputs["number"]),
            "number": inputs["number"],
        }


def untuned(monkeypatch):
    tracing.tune()
    traced = impl_helper.trace_preprocessing_function
    monkeypatch.setattr(impl_helper, "trace_preprocessing_function", traced.original)


def looked_at(features, specs=SPECS):
    """All that TFX asks TFT for before it analyses."""
    whole = analyzer_cache.DatasetKey("whole")
    return (
        sorted(tft.get_analyze_input_columns(features, specs)),
        sorted(tft.get_transform_input_columns(features, specs)),
        analysis_graph_builder.get_analysis_cache_entry_keys(features, specs, {whole}, False),
        analysis_graph_builder.get_analysis_dataset_keys(features, specs, {whole}, {}, False),
    )


def test_a_graph_is_traced_once_to_be_looked_at(monkeypatch):
    with monkeypatch.context() as by_itself:
        untuned(by_itself)
        wanted = looked_at(known := Features())
    assert known.traced == 4 and wanted[:2] == (["number", "word"], ["number", "word"]) and wanted[2]
    tracing.tune()
    features = Features()
    for _ in range(2):
        assert looked_at(features) == wanted
        assert features.traced == 1
    # Of other columns, and by other features, it is another graph.
    more = {**SPECS, "other": tf.TensorSpec([None], tf.int64)}
    assert looked_at(features, more) == wanted and features.traced == 2
    assert looked_at(Features()) == wanted


def test_what_it_makes_is_what_it_makes_by_itself(monkeypatch, tmp_path):
    def made(folder: pathlib.Path):
        metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(FEATURES))
        features = Features()
        looked_at(features)
        with beam.Pipeline(runner="FnApiRunner") as pipeline, tft_beam.Context(temp_dir=str(folder / "tmp")):
            words = pipeline | beam.Create(WORDS)
            function = (words, metadata) | tft_beam.AnalyzeDataset(features)
            _ = function | tft_beam.WriteTransformFn(str(folder))
        output = tft.TFTransformOutput(str(folder))
        inputs = {name: tf.constant([row[name] for row in WORDS]) for name in FEATURES}
        transformed = output.transform_features_layer()(inputs)
        return output.vocabulary_by_name("words"), {
            name: value.numpy() for name, value in transformed.items()
        }

    tracing.tune()
    words, found = made(tmp_path / "tuned")
    with monkeypatch.context() as by_itself:
        untuned(by_itself)
        wanted_words, wanted = made(tmp_path / "untuned")
    assert words == wanted_words == [b"b", b"a", b"c"]
    assert found.keys() == wanted.keys() == {"index", "scaled", "number"}
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)
    assert found["index"].tolist() == [0, 1, 0, 1, 2, 1, 0]
