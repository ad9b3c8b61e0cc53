"""What the standard Evaluator decides, without Beam: in tenths of a second, where a pipeline of TFMA takes many.

The metrics, the validation against thresholds and the files are those of TFMA; what is done here is what is between
them: each example is answered, and goes into its slices. `test_verdict` and `test_conversion_verdict` show that whole
runs of the Evaluator decide the same.
"""

import dataclasses
import numbers
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.writers import metrics_plots_and_validations_writer as writers
from tfx import types
from tfx.components.evaluator import constants

from components.evaluator import verdict
from schemas import names
from tests.components.evaluator import harness


def evaluate(
    directory: pathlib.Path,
    examples: pathlib.Path,
    config: config_pb2.EvalConfig,
    candidate: str | types.Artifact,
    baseline: str | None = None,
    splits: Sequence[str] = (names.TEST,),
    stub_class: Any = harness.Stub,
) -> harness.Evaluated:
    """As `harness.evaluate`."""
    config = tfma.utils.update_eval_config_with_defaults(
        config, has_baseline=baseline is not None, rubber_stamp=True
    )
    tfma.utils.verify_eval_config(config)
    rows = [row for split in splits for row in _rows(examples / f"Split-{split}")]
    models = {tfma.CANDIDATE_KEY: candidate, **({tfma.BASELINE_KEY: baseline} if baseline else {})}
    answers = {name: _answers(model, rows, stub_class) for name, model in models.items()}
    found = _measured(config, rows, answers)
    evaluation, blessing = directory / "evaluation", directory / "blessing"
    _write(evaluation, config, found)
    validation = tfma.load_validation_result(str(evaluation))
    blessing.mkdir(parents=True)
    name = constants.BLESSED_FILE_NAME if validation.validation_ok else constants.NOT_BLESSED_FILE_NAME
    (blessing / name).touch()
    return harness.Evaluated(str(evaluation), str(blessing), validation.validation_ok)


def _rows(folder: pathlib.Path) -> list[bytes]:
    files = sorted(map(str, folder.iterdir()))
    return list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())


def _answers(model: str | types.Artifact, rows: list[bytes], stub_class: Any) -> dict[str, np.ndarray]:
    """What a model's `evaluate` gives for all examples, by output."""
    if not rows:
        return {}
    if isinstance(model, str):
        stub = stub_class(model)
        answered = stub.evaluate(tf.constant(rows))
    else:
        loaded = tf.saved_model.load(os.path.join(model.uri, "Format-Serving"))
        answered = loaded.signatures["evaluate"](examples=tf.constant(rows))
    return {name: value.numpy() for name, value in answered.items()}


def _extracts(rows: list[bytes], answers: dict[str, dict[str, np.ndarray]]) -> Iterator[dict[str, Any]]:
    """As TFMA's of each example: predictions by model where there are several."""
    for number, row in enumerate(rows):
        predictions = {
            model: {name: values[number : number + 1] for name, values in outputs.items()}
            for model, outputs in answers.items()
        }
        features = {
            name: np.array(getattr(feature, feature.WhichOneof("kind")).value)
            for name, feature in tf.train.Example.FromString(row).features.feature.items()
            if feature.WhichOneof("kind")
        }
        yield {
            tfma.FEATURES_KEY: features,
            tfma.PREDICTIONS_KEY: predictions if len(predictions) > 1 else predictions[tfma.CANDIDATE_KEY],
        }


def _measured(
    config: config_pb2.EvalConfig, rows: list[bytes], answers: dict[str, dict[str, np.ndarray]]
) -> dict[Any, dict[tfma.metrics.MetricKey, Any]]:
    """The metrics by TFMA's key of a slice."""
    (computation,) = metric_specs.to_computations(config.metrics_specs, eval_config=config)
    combiner = computation.combiner
    sums: dict[Any, Any] = {}
    for extract in _extracts(rows, answers):
        (element,) = computation.preprocessors[0].process(extract)
        for spec in config.slicing_specs:
            values = [extract[tfma.FEATURES_KEY][name] for name in spec.feature_keys]
            key = tuple((name, value[0].decode()) for name, value in zip(spec.feature_keys, values))
            sums[key] = combiner.add_input(sums.get(key) or combiner.create_accumulator(), element)
    return {
        key: _with_differences(combiner.extract_output(combiner.compact(found)))
        for key, found in sums.items()
    }


def _with_differences(
    metrics: dict[tfma.metrics.MetricKey, Any],
) -> dict[tfma.metrics.MetricKey, Any]:
    """With those from the baseline's that TFMA adds, of numbers and arrays of them."""
    added = {}
    for key, value in metrics.items():
        of_baseline = key.make_baseline_key(tfma.BASELINE_KEY)
        if not key.is_diff and key != of_baseline and of_baseline in metrics:
            if isinstance(value, (numbers.Number, np.ndarray)):
                added[key.make_diff_key()] = value - metrics[of_baseline]
    return {**metrics, **added}


def _write(folder: pathlib.Path, config: config_pb2.EvalConfig, found: dict[Any, Any]) -> None:
    """Writes an evaluation as TFMA does."""
    folder.mkdir(parents=True)
    run = config_pb2.EvalRun(eval_config=config, version=tfma.version.VERSION)
    (folder / "eval_config.json").write_text(json_format.MessageToJson(run))
    with tf.io.TFRecordWriter(str(folder / "metrics-00000-of-00001.tfrecord")) as writer:
        for each in found.items():
            writer.write(writers.convert_slice_metrics_to_proto(each, None).SerializeToString())
    combined = writers.CombineValidations(config, rubber_stamp=True)
    validation = combined.create_accumulator()
    for each in found.items():
        validation = combined.add_input(validation, metrics_validator.validate_metrics(each, config))
    with tf.io.TFRecordWriter(str(folder / "validations.tfrecord")) as writer:
        writer.write(combined.extract_output(validation).SerializeToString())


def assert_equal(one: verdict.Verdict, other: verdict.Verdict) -> None:
    """Fails unless two verdicts say the same, but for the rounding of sums in another order."""
    _compare(dataclasses.asdict(one), dataclasses.asdict(other), "verdict")


def _compare(one: Any, other: Any, where: str) -> None:
    if isinstance(one, dict):
        assert set(one) == set(other), where
        for key in one:
            _compare(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, tuple) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other)):
            _compare(*pair, f"{where}[{number}]")
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6, abs=1e-9, nan_ok=True), where
    else:
        assert one == other, where
