"""Exposures for tests: a generator with a known signal, a transform graph of them, an exported model.

An exposure is a dict of plain values by feature (`schemas.names`): text, int, float, None where a number
is missing, and lists.
"""

import os
import types
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2

import schemas  # noqa: F401  selects Keras 2
from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.exposure import ExposureWindow
from components.transform import fields, spec
from components.transform.windows import exposure as exposures
from schemas import names
from serving import export
from tests import fixtures

STEPS = ("cart", "buy")
WINDOW = ExposureWindow(kind="exposure", steps=STEPS, exposure="view", horizon=86_400.0, history=6)
COLUMNS = window_spec.Columns.from_values(
    {
        "behavior": "behavior",
        "scene": "scene",
        "item": {
            "color": "colour",
            "price": {"column": "price", "type": "numeric"},
            "tags": {"column": "tags", "type": "multi"},
        },
        "user": {"country": "country", "age": {"column": "age", "type": "numeric"}},
        "context": {"device": "device", "place": {"column": "place", "type": "numeric"}},
    }
)
FEATURES = spec.FeaturesSpec.from_values(
    {
        "options": {
            "item_price": {"encode": "log_z_score"},
            "user_age": {"encode": "z_score"},
            "context_place": {"buckets": 4},
            "item_tags": {"max_values": 3},
        }
    }
)

_START = 1_600_000_000_000
_MINUTE = 60_000
_COLORS = ("red", "green", "blue", "")
_TAGS = ("new", "sale", "eco", "rare")
_BEHAVIORS = ("view", "cart", "buy")


def generate(
    count: int, seed: int = 0, users: int = 30, items: int = 20, start: int = _START
) -> list[dict[str, Any]]:
    """Exposures a minute apart whose labels are drawn with `probabilities`.

    Attributes of users and items depend on their ids alone, so that two calls fit together.
    """
    rng = np.random.default_rng(seed)
    result = []
    for row in range(count):
        user, item = int(rng.integers(users)), int(rng.integers(items))
        time = start + _MINUTE * row
        events = int(rng.integers(0, WINDOW.history + 1))
        values: dict[str, Any] = {
            names.USER_ID: f"u{user}",
            names.ITEM_ID: f"i{item}",
            names.TIMESTAMP: time,
            names.SCENE: str(rng.choice(["home", "search"])),
            "item_color": _COLORS[item % len(_COLORS)],
            "item_price": None if item % 7 == 6 else 1.5 * item,
            "item_tags": [tag for place, tag in enumerate(_TAGS) if (item >> place) & 1],
            "user_country": "" if user % 5 == 4 else f"c{user % 3}",
            "user_age": None if user % 6 == 5 else 20.0 + user,
            "context_device": str(rng.choice(["phone", "desk"])),
            "context_place": float(rng.integers(1, 9)),
            names.HISTORY_ITEM_ID: [f"i{i}" for i in rng.integers(items, size=events)],
            names.HISTORY_BEHAVIOR: [str(b) for b in rng.choice(_BEHAVIORS, events)],
            names.HISTORY_SCENE: [f"s{n % 3}" if n % 3 else "home" for n in range(events)],
            names.HISTORY_TIMESTAMP: [
                int(t) for t in time - 1000 * np.sort(rng.integers(1, 10**6, events))[::-1]
            ],
            names.USER_FREQUENCY: names.HEAD if user < users // 5 else names.TAIL,
            names.ITEM_FREQUENCY: names.TAIL,
            names.HISTORY_LENGTH: "1-4",
            names.USER_STATUS: names.EXISTING,
            names.USER_GROUP: "low",
        }
        happened = 1
        for step, chance in zip(STEPS, _conditional(values)):
            happened *= int(rng.random() < chance)
            values[names.LABEL_PREFIX + step] = happened
        result.append(values)
    return result


def _conditional(values: dict[str, Any]) -> tuple[float, float]:
    """The chance of each step after the one before."""
    user, item = int(values[names.USER_ID][1:]), int(values[names.ITEM_ID][1:])
    met = sum(other == values[names.ITEM_ID] for other in values[names.HISTORY_ITEM_ID])
    cart = -1.5 + 2.0 * (values["item_color"] == "red") + 1.5 * (values["context_device"] == "phone")
    cart += np.cos(user) + 2.0 * min(met, 1)
    buy = -0.5 + np.sin(item) + 1.5 * (values[names.SCENE] == "search")
    return tuple(1 / (1 + np.exp(-logit)) for logit in (cart, buy))


def probabilities(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """The true chance of each step of STEPS, `[B, T]`; the best any model can do."""
    return np.cumprod([_conditional(values) for values in rows], axis=1)


def serialize(values: dict[str, Any]) -> bytes:
    """An exposure, or some of its features, as a serialized tf.Example."""
    features = {}
    for name, value in values.items():
        value = value if isinstance(value, list) else [] if value is None else [value]
        if name.endswith(names.TIMESTAMP) or name.startswith(names.LABEL_PREFIX):
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=value))
        elif _is_number(name):
            features[name] = tf.train.Feature(float_list=tf.train.FloatList(value=value))
        else:
            data = [v if isinstance(v, bytes) else v.encode() for v in value]
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=data))
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _is_number(name: str) -> bool:
    return name in ("item_price", "user_age", "context_place")


def schema() -> schema_pb2.Schema:
    """The schema of what `generate` makes."""
    result = schema_pb2.Schema()
    (values,) = generate(1)
    for name, value in values.items():
        kind = schema_pb2.BYTES
        if name.endswith(names.TIMESTAMP) or name.startswith(names.LABEL_PREFIX):
            kind = schema_pb2.INT
        feature = result.feature.add(name=name, type=schema_pb2.FLOAT if _is_number(name) else kind)
        # What may be missing, and lists, have any number of values.
        if not _is_number(name) and not isinstance(value, list):
            feature.presence.min_fraction = 1.0
            feature.shape.SetInParent()
    return result


def build_transform_output(
    folder: str,
    rows: Sequence[dict[str, Any]],
    features: spec.FeaturesSpec = FEATURES,
    window: ExposureWindow = WINDOW,
    columns: window_spec.Columns = COLUMNS,
) -> tft.TFTransformOutput:
    """Analyses exposures with the real `preprocessing_fn` and writes the transform graph to `folder`."""
    config = {"window": window.to_json(), "features": features.to_json(), "columns": columns.to_json()}
    instances = [
        {name: ([] if v is None else [v]) if _is_number(name) else v for name, v in values.items()}
        for values in rows
    ]
    fixtures.transform_once(
        folder,
        instances,
        schema(),
        lambda inputs: exposures.preprocessing_fn(inputs, config),
        made_of=("exposure", instances, config),
    )
    return tft.TFTransformOutput(os.path.join(folder, "transform"))


class LinearModel(tf.Module):
    """A weight for each value of each field and step; has the interface of a real conversion model."""

    def __init__(self, known: Sequence[fields.Field], steps: Sequence[str] = STEPS, seed: int = 0):
        super().__init__()
        self.exposures = types.SimpleNamespace(fields=tuple(known), steps=tuple(steps))
        rng = np.random.default_rng(seed)
        self._tables = {}
        for field in known:
            weights = rng.normal(size=(max(field.size, 1), len(steps))).astype(np.float32)
            self._tables[field.key] = tf.Variable(weights)

    @property
    def serving_variables(self) -> Sequence[tf.Variable]:
        return self.variables

    @property
    def inputs_read(self) -> tuple[str, ...]:
        return tuple(field.key for field in self.exposures.fields)

    @property
    def raw_inputs(self) -> tuple[str, ...]:
        return fields.raw_inputs(self.exposures.fields)

    def logits(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        del training
        total = 0.0
        for field in self.exposures.fields:
            table, value = self._tables[field.key], features[field.key]
            if field.kind == fields.VALUE:
                total += value[:, tf.newaxis] * table
            elif field.kind == fields.INDEX:
                total += tf.gather(table, value)
            else:
                present = tf.cast(value != names.PADDING_INDEX, tf.float32)[:, :, tf.newaxis]
                total += tf.reduce_sum(present * tf.gather(table, value), axis=1)
        return 0.3 * total

    def probabilities(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        return tf.math.cumprod(tf.sigmoid(self.logits(features, training)), axis=1)


def toy_rows() -> list[dict[str, Any]]:
    """What the exported model's transform graph is made of."""
    return generate(200, seed=3)


def export_toy_model(folder: str, seed: int = 0) -> str:
    """Exports a linear model below `folder` and returns the SavedModel's folder, `<folder>/model`."""
    output = build_transform_output(folder, toy_rows())
    known = fields.load_fields(output, WINDOW, FEATURES, COLUMNS)
    target = os.path.join(folder, "model")
    export.export_model(LinearModel(known, seed=seed), output, target, objective="labels")
    return target
