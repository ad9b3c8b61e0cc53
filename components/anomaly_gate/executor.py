"""Reads and makes the anomalies that stop a pipeline."""

import logging
import os
from typing import Any, Dict, Iterator, List, Optional, Tuple

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from schemas import errors, names

_ANOMALIES = "SchemaDiff.pb"
_SKEW = ("COMPARATOR_L_INFTY_HIGH", "COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH")
_PROGRESS = logging.getLogger("footfall.progress")


class Executor(base_executor.BaseExecutor):
    """Executor of AnomalyGate."""

    def Do(
        self, input_dict: Dict[str, List[Any]], output_dict: Dict[str, List[Any]], exec_properties: Dict[str, Any]
    ) -> None:
        """Checks; see `component.AnomalyGate`.

        Raises:
          errors.InputError: naming the split, the feature and the anomaly.
        """
        del exec_properties
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        anomalies = artifact_utils.get_single_instance(input_dict["anomalies"])
        schema = _schema(artifact_utils.get_single_instance(input_dict["schema"]).uri)
        output = artifact_utils.get_single_instance(output_dict["comparisons"])
        previous = input_dict.get("previous_statistics") or []

        found: List[Tuple[str, str, anomalies_pb2.AnomalyInfo]] = []
        for split in artifact_utils.decode_split_names(anomalies.split_names):
            path = os.path.join(anomalies.uri, f"Split-{split}", _ANOMALIES)
            read = anomalies_pb2.Anomalies.FromString(_read_bytes(path))
            found.extend((f"split {split}", name, info) for name, info in read.anomaly_info.items())

        train = _statistics(statistics, names.TRAIN)
        compared = dict(_comparisons(train, statistics, previous[0] if previous else None, schema))
        for label, result in compared.items():
            folder = os.path.join(output.uri, f"Split-{label.replace(' ', '-')}")
            fileio.makedirs(folder)
            with fileio.open(os.path.join(folder, _ANOMALIES), "wb") as stream:
                stream.write(result.SerializeToString())
            found.extend((label, name, info) for name, info in result.anomaly_info.items())
        output.split_names = artifact_utils.encode_split_names([label.replace(" ", "-") for label in compared])

        stopping = []
        for where, feature, info in found:
            text = f"feature {feature!r} ({where}): {info.short_description}: {info.description}"
            if info.severity == anomalies_pb2.AnomalyInfo.ERROR:
                stopping.append(text)
            else:
                _PROGRESS.warning("anomaly of %s", text)
        if stopping:
            raise errors.InputError(f"{len(stopping)} anomaly(ies) stop the run before training: " + "; ".join(stopping))


def _comparisons(
    train: statistics_pb2.DatasetFeatureStatisticsList,
    statistics: Any,
    previous: Optional[Any],
    schema: schema_pb2.Schema,
) -> Iterator[Tuple[str, anomalies_pb2.Anomalies]]:
    for split in (names.EVAL, names.TEST):
        other = _statistics(statistics, split)
        yield f"skew of {split}", _only_comparators(
            tfdv.validate_statistics(train, schema, serving_statistics=other)
        )
    if previous is not None and previous.id != statistics.id:
        before = _statistics(previous, names.TRAIN)
        yield "drift", _only_comparators(tfdv.validate_statistics(train, schema, previous_statistics=before))


def _only_comparators(anomalies: anomalies_pb2.Anomalies) -> anomalies_pb2.Anomalies:
    """Without what ExampleValidator reports already."""
    types = {anomalies_pb2.AnomalyInfo.Type.Value(name) for name in _SKEW}
    for name in list(anomalies.anomaly_info):
        if not any(reason.type in types for reason in anomalies.anomaly_info[name].reason):
            del anomalies.anomaly_info[name]
    return anomalies


def _statistics(artifact: Any, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return stats_artifact_utils.load_statistics(artifact, split).proto()


def _schema(uri: str) -> schema_pb2.Schema:
    return io_utils.SchemaReader().read(os.path.join(uri, "schema.pbtxt"))


def _read_bytes(path: str) -> bytes:
    with fileio.open(path, "rb") as stream:
        return stream.read()
