"""Reads and makes the anomalies that stop a pipeline."""

import logging
import os
import re
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
        self,
        input_dict: Dict[str, List[Any]],
        output_dict: Dict[str, List[Any]],
        exec_properties: Dict[str, Any],
    ) -> None:
        """Checks; see `component.AnomalyGate`.

        Raises:
          errors.InputError: naming the split, the feature and the anomaly.
        """
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        anomalies = artifact_utils.get_single_instance(input_dict["anomalies"])
        schema = _schema(artifact_utils.get_single_instance(input_dict["schema"]).uri)
        output = artifact_utils.get_single_instance(output_dict["comparisons"])
        accepted = (
            _Accepted(exec_properties["accepted_root"]) if exec_properties.get("accepted_root") else None
        )
        before = accepted.before(statistics.span) if accepted else None

        found: List[Tuple[str, str, anomalies_pb2.AnomalyInfo]] = []
        for split in artifact_utils.decode_split_names(anomalies.split_names):
            path = os.path.join(anomalies.uri, f"Split-{split}", _ANOMALIES)
            read = anomalies_pb2.Anomalies.FromString(_read_bytes(path))
            found.extend((f"split {split}", name, info) for name, info in read.anomaly_info.items())

        train = _statistics(statistics, names.TRAIN)
        compared = dict(_comparisons(train, statistics, before, schema))
        for label, result in compared.items():
            folder = os.path.join(output.uri, f"Split-{label.replace(' ', '-')}")
            fileio.makedirs(folder)
            with fileio.open(os.path.join(folder, _ANOMALIES), "wb") as stream:
                stream.write(result.SerializeToString())
            found.extend((label, name, info) for name, info in result.anomaly_info.items())
        output.split_names = artifact_utils.encode_split_names(
            [label.replace(" ", "-") for label in compared]
        )

        stopping = []
        for where, feature, info in found:
            text = f"feature {feature!r} ({where}): {info.short_description}: {info.description}"
            if info.severity == anomalies_pb2.AnomalyInfo.ERROR:
                stopping.append(text)
            else:
                _PROGRESS.warning("anomaly of %s", text)
        if stopping:
            raise errors.InputError(
                f"{len(stopping)} anomaly(ies) stop the run before training: " + "; ".join(stopping)
            )
        if accepted:
            accepted.add(statistics.span, train)


class _Accepted:
    """Statistics of the training windows of the spans that passed, a file a span."""

    def __init__(self, root: str):
        self._root = root

    def _path(self, span: int) -> str:
        return os.path.join(self._root, f"span-{span}.pb")

    def before(self, span: int) -> Optional[statistics_pb2.DatasetFeatureStatisticsList]:
        """Those of the newest span before `span`; None where there is none."""
        listed = fileio.listdir(self._root) if fileio.exists(self._root) else []
        spans = [
            int(match[1]) for match in (re.fullmatch(r"span-(\d+)\.pb", name) for name in listed) if match
        ]
        earlier = [found for found in spans if found < span]
        if not earlier:
            return None
        return statistics_pb2.DatasetFeatureStatisticsList.FromString(_read_bytes(self._path(max(earlier))))

    def add(self, span: int, train: statistics_pb2.DatasetFeatureStatisticsList) -> None:
        """Keeps those of a span, whole or not at all."""
        fileio.makedirs(self._root)
        written = f"{self._path(span)}.{os.getpid()}.tmp"
        with fileio.open(written, "wb") as stream:
            stream.write(train.SerializeToString())
        fileio.rename(written, self._path(span), overwrite=True)


def _comparisons(
    train: statistics_pb2.DatasetFeatureStatisticsList,
    statistics: Any,
    before: Optional[statistics_pb2.DatasetFeatureStatisticsList],
    schema: schema_pb2.Schema,
) -> Iterator[Tuple[str, anomalies_pb2.Anomalies]]:
    for split in (names.EVAL, names.TEST):
        other = _statistics(statistics, split)
        yield (
            f"skew of {split}",
            _only_comparators(tfdv.validate_statistics(train, schema, serving_statistics=other)),
        )
    if before is not None:
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
