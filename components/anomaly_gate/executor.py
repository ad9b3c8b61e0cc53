"""Reads and makes the anomalies that stop a pipeline."""

import dataclasses
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from typing import Any

from google.protobuf import message
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components import whole
from components.anomaly_gate import shifts
from schemas import errors, names

_ANOMALIES = "SchemaDiff.pb"
# Of a value in a message.
_SHOWN = 60
_PROGRESS = logging.getLogger("footfall.progress")


class Executor(base_executor.BaseExecutor):
    """Executor of AnomalyGate."""

    def Do(
        self,
        input_dict: dict[str, list[Any]],
        output_dict: dict[str, list[Any]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks; see `component.AnomalyGate`.

        Raises:
          errors.InputError: naming the split, the feature and the anomaly.
        """
        statistics = artifact_utils.get_single_instance(input_dict["statistics"])
        anomalies = artifact_utils.get_single_instance(input_dict["anomalies"])
        schema = _schema(artifact_utils.get_single_instance(input_dict["schema"]).uri)
        output = artifact_utils.get_single_instance(output_dict["comparisons"])
        accepted = _accepted(exec_properties)

        found: list[tuple[str, str, anomalies_pb2.AnomalyInfo]] = []
        for split in artifact_utils.decode_split_names(anomalies.split_names):
            path = os.path.join(anomalies.uri, f"Split-{split}", _ANOMALIES)
            read = anomalies_pb2.Anomalies.FromString(_read_bytes(path))
            found.extend((f"split {split}", name, info) for name, info in read.anomaly_info.items())

        train = _statistics(statistics, names.TRAIN)
        before = accepted.before(statistics.span) if accepted else None
        if accepted and before is None:
            _PROGRESS.info(
                "nothing to compare span %d with: no earlier span of these settings passed", statistics.span
            )
        pairs = _pairs(train, statistics, before)
        compared = compare(pairs, schema, exec_properties.get("error_rate"))
        for label, result in compared.items():
            folder = os.path.join(output.uri, f"Split-{label.replace(' ', '-')}")
            fileio.makedirs(folder)
            with fileio.open(os.path.join(folder, _ANOMALIES), "wb") as stream:
                stream.write(result.SerializeToString())
            found.extend((label, name, info) for name, info in result.anomaly_info.items())
        output.split_names = artifact_utils.encode_split_names(
            [label.replace(" ", "-") for label in compared]
        )

        stopping = _shrunk(train, statistics.span, before, exec_properties.get("max_shrink"))
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


def _shrunk(
    train: statistics_pb2.DatasetFeatureStatisticsList,
    span: int,
    before: tuple[int, statistics_pb2.DatasetFeatureStatisticsList] | None,
    max_shrink: float | None,
) -> list[str]:
    """That the training windows are far fewer than those of the span before, as of a delivery that is not whole."""
    if before is None or max_shrink is None:
        return []
    found, earlier = _count(train), _count(before[1])
    if found >= (1.0 - max_shrink) * earlier:
        return []
    return [
        f"span {span} has {found:,} training windows, {1 - found / earlier:.0%} fewer than the {earlier:,} of span {before[0]}: "
        f"more than validation.max_shrink ({max_shrink:g}); is it whole?"
    ]


def _count(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> int:
    return int(statistics.datasets[0].num_examples)


def _accepted(exec_properties: dict[str, Any]) -> "_Accepted | None":
    """Those of the log that a run reads; None where no drift is measured."""
    root, path = exec_properties.get("accepted_root"), exec_properties.get("log_path")
    if not root:
        return None
    if path and path != exec_properties.get("usual_path"):
        root = os.path.join(root, f"log-{hashlib.sha256(path.encode()).hexdigest()[:12]}")
    return _Accepted(root)


class _Accepted:
    """Statistics of the training windows of the spans that passed, a file a span."""

    def __init__(self, root: str):
        self._root = root

    def _path(self, span: int) -> str:
        return os.path.join(self._root, f"span-{span}.pb")

    def before(self, span: int) -> tuple[int, statistics_pb2.DatasetFeatureStatisticsList] | None:
        """The newest span before `span` whose statistics can be read, and these; None where there is none."""
        listed = fileio.listdir(self._root) if fileio.exists(self._root) else []
        spans = [
            int(match[1]) for match in (re.fullmatch(r"span-(\d+)\.pb", name) for name in listed) if match
        ]
        for earlier in sorted((found for found in spans if found < span), reverse=True):
            path = self._path(earlier)
            try:
                read = statistics_pb2.DatasetFeatureStatisticsList.FromString(_read_bytes(path))
            except message.DecodeError:
                read = None
            # An empty file is a message, too.
            if read is not None and read.datasets:
                return earlier, read
            _PROGRESS.warning("%s is damaged: the span before it is compared with, if there is one", path)
        return None

    def add(self, span: int, train: statistics_pb2.DatasetFeatureStatisticsList) -> None:
        """Keeps those of a span, whole or not at all."""
        whole.write(self._path(span), train.SerializeToString())


@dataclasses.dataclass(frozen=True)
class _Pair:
    """Two sets of windows to compare.

    Attributes:
      names: of both, as a message calls them.
      statistics: of both.
      comparator: the schema's, `skew_comparator` or `drift_comparator`.
      setting: of the experiment, which bounds the difference.
    """

    names: tuple[str, str]
    statistics: tuple[statistics_pb2.DatasetFeatureStatisticsList, ...]
    comparator: str
    setting: str

    @property
    def label(self) -> str:
        return " against ".join(self.names)


def _pairs(
    train: statistics_pb2.DatasetFeatureStatisticsList,
    statistics: Any,
    before: tuple[int, statistics_pb2.DatasetFeatureStatisticsList] | None,
) -> list[_Pair]:
    pairs = [
        _Pair(
            (split, names.TRAIN),
            (_statistics(statistics, split), train),
            "skew_comparator",
            "validation.max_skew",
        )
        for split in (names.EVAL, names.TEST)
    ]
    if before is not None:
        span, earlier = before
        ours = f"{names.TRAIN} of span {statistics.span}"
        pairs.append(
            _Pair((ours, f"span {span}"), (train, earlier), "drift_comparator", "validation.max_drift")
        )
    return pairs


def compare(
    pairs: Sequence[_Pair], schema: schema_pb2.Schema, error_rate: float | None
) -> dict[str, anomalies_pb2.Anomalies]:
    """Compares the features for which the schema has comparators; see `shifts`.

    Args:
      pairs: sets of windows.
      schema: with the bounds.
      error_rate: the probability that any difference stops the run although none is beyond its bound; None or
        0 asks for the distances alone.

    Returns:
      By the pair's label: a difference that chance may explain is a warning, another one an error.
    """
    todo = []
    for pair in pairs:
        bounds = {feature.name: _bound(feature, pair.comparator) for feature in schema.feature}
        bounds = {name: bound for name, bound in bounds.items() if bound}
        both = [shifts.samples(listed, bounds) for listed in pair.statistics]
        todo += [(pair, name, bound, [found[name] for found in both]) for name, bound in bounds.items()]
    result = {pair.label: anomalies_pb2.Anomalies() for pair in pairs}
    for pair, feature_name, bound, (ours, theirs) in todo:
        shift = shifts.between(ours, theirs, bound)
        if shift is None or shift.distance <= bound:
            continue
        p = min(1.0, shift.p * len(todo))
        sure = not error_rate or p < error_rate
        info = result[pair.label].anomaly_info[feature_name]
        info.path.step.append(feature_name)
        info.severity = anomalies_pb2.AnomalyInfo.ERROR if sure else anomalies_pb2.AnomalyInfo.WARNING
        info.short_description = f"differs by more than {pair.setting} ({bound:g})" + (
            "" if sure else ", which may be chance"
        )
        info.description = _describe(pair, shift, (ours, theirs), p if error_rate else None)
    return result


def _bound(feature: schema_pb2.Feature, comparator: str) -> float:
    """The bound of a feature; 0 where it has none."""
    found = getattr(feature, comparator)
    return found.infinity_norm.threshold or found.jensen_shannon_divergence.threshold


def _describe(
    pair: _Pair, shift: shifts.Shift, both: tuple[shifts.Sample, shifts.Sample], p: float | None
) -> str:
    if shift.shares is None:
        text = f"their histograms have a Jensen-Shannon divergence of {shift.distance:.2f}"
    else:
        shares = " and ".join(f"{share:.1%} in {name}" for share, name in zip(shift.shares, pair.names))
        what = "what has no value is" if shift.value is None else f"{shift.value[:_SHOWN]!r} has"
        text = f"{what} {shares}, {shift.distance:.2f} apart"
    users = " and ".join(f"{count:,}" for count in shift.users)
    noun = "users" if any(sample.users < sample.windows for sample in both) else "windows"
    if p is not None:
        text += f" (of {users} {noun}; by chance with a probability of {'below 0.0001' if p < 0.0001 else f'{p:.2g}'})"
    return text


def _statistics(artifact: Any, split: str) -> statistics_pb2.DatasetFeatureStatisticsList:
    return stats_artifact_utils.load_statistics(artifact, split).proto()


def _schema(uri: str) -> schema_pb2.Schema:
    return io_utils.SchemaReader().read(os.path.join(uri, "schema.pbtxt"))


def _read_bytes(path: str) -> bytes:
    with fileio.open(path, "rb") as stream:
        return stream.read()
