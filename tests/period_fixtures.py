"""Windows of a period, their transform graph, and a model of items and scenes that is cheap to make."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.transform import spec, vocabulary
from components.transform.windows import period as preprocessing
from schemas import load, names
from serving import export
from tests import fixtures
from trainer.models import scoring

LENGTH, DIM = 8, 4
PAST_MS = 86_400_000
SCENES = ("home", "search", "cart", "live", "feed")
ATTRIBUTES = {
    "item": {"brand": {"column": "brand"}},
    "context": {"price": {"column": "price", "type": "numeric"}},
}
_INTS = (names.FUTURE_TIMESTAMP, names.MOMENT, names.NEW_TARGETS)


def window(
    items: Sequence[str],
    future: Sequence[str],
    new: int,
    recent: int = 0,
    scenes: Sequence[str] = ("home", "search"),
) -> dict[str, Any]:
    """A period whose last `new` events are new targets, of which the last `recent` are recent."""
    made = fixtures.window(items, future[0], recent=recent, scenes=[scenes[n % 2] for n in range(len(items))])
    first = made[names.TARGET_TIMESTAMP]
    return {
        **made,
        names.TARGET_SCENE: scenes[0],
        names.FUTURE_ITEM_ID: list(future),
        names.FUTURE_SCENE: [scenes[n % 2] for n in range(len(future))],
        names.FUTURE_TIMESTAMP: [first + 1500 * n for n in range(len(future))],
        names.MOMENT: first - 500,
        names.NEW_TARGETS: new,
        names.SEEN_ITEM_ID: list(items),
    }


def random_windows(count: int = 30, seed: int = 1) -> list[dict[str, Any]]:
    """Windows of random items `i0` to `i8` in random scenes."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        items, future = ([f"i{v}" for v in rng.integers(0, 9, rng.integers(1, LENGTH))] for _ in range(2))
        new = int(rng.integers(0, len(items) + len(future)))
        scenes = [str(scene) for scene in rng.choice(SCENES, 2, p=[0.4, 0.3, 0.15, 0.1, 0.05])]
        made.append(window(items, future, new, new // 2, scenes))
    return made


def with_attributes(made: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """A window whose events have a brand and a price (see `ATTRIBUTES`), of some unknown."""
    rng = np.random.default_rng(seed)
    for prefix, events in (
        (names.HISTORY_PREFIX, names.HISTORY_ITEM_ID),
        (names.FUTURE_PREFIX, names.FUTURE_ITEM_ID),
    ):
        number = len(made[events])
        made[f"{prefix}item_brand"] = [str(brand) for brand in rng.choice(["", "a", "b", "c"], number)]
        prices = rng.uniform(0, 100, number).astype(np.float32)
        made[f"{prefix}context_price"] = np.where(rng.random(number) < 0.2, np.nan, prices).tolist()
    return made


def serialize(values: dict[str, Any]) -> bytes:
    """A window as a serialized tf.Example."""
    floats = [name for name in values if name.endswith("_price")]
    example = tf.train.Example.FromString(
        fixtures.serialize({name: value for name, value in values.items() if name not in (*_INTS, *floats)})
    )
    for name in floats:
        example.features.feature[name].float_list.value.extend(values[name])
    for name in _INTS:
        value = values[name]
        example.features.feature[name].int64_list.value.extend(value if isinstance(value, list) else [value])
    return example.SerializeToString()


def settings_of(
    attributes: bool = False, options: dict[str, dict[str, Any]] | None = None
) -> spec.TransformSettings:
    """Periods with scenes, of a day before the moment; with the attributes of events of `with_attributes`, and options."""
    return spec.TransformSettings.from_values(
        {
            "window": {"kind": "period", "past": PAST_MS / 1000, "future": 3600.0, "length": LENGTH},
            "columns": {"scene": "scene", **(ATTRIBUTES if attributes else {})},
            "features": {"options": {"context_price": {"buckets": 4}, **(options or {})}},
        }
    )


def analysed(
    folder: str,
    windows: Sequence[dict[str, Any]],
    attributes: bool = False,
    options: dict[str, dict[str, Any]] | None = None,
) -> tft.TFTransformOutput:
    """The transform graph of windows with the settings of `settings_of`, written to a folder."""
    config = settings_of(attributes, options).pack()
    known = {"item_brand": "categorical", "context_price": "numeric"} if attributes else {}
    fixtures.transform_once(
        folder,
        windows,
        load.period_window_schema(False, True, known),
        lambda inputs: preprocessing.preprocessing_fn(inputs, config),
        made_of=("period", windows, config),
    )
    return tft.TFTransformOutput(os.path.join(folder, "transform"))


class Scenes(scoring.DotProduct):
    """Ranks scenes by a table of small whole numbers, so that some tie."""

    def __init__(self, size: int):
        self.table = tf.constant(np.random.default_rng(2).integers(-2, 3, [size, DIM]).astype(np.float32))

    def item_table(self) -> tf.Tensor:
        """`[S, D]`."""
        return self.table


class Model(fixtures.ToyModel):
    """Ranks scenes by the sum of the items' embeddings, turned round."""

    def __init__(self, size: int, scenes: int):
        super().__init__(size, DIM)
        self._held = {"scenes": Scenes(scenes)}

    @property
    def scenes(self) -> Scenes:
        """Ranks scenes."""
        return self._held["scenes"]

    def scene_query(self, features: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """`[B, D]`."""
        return tf.round(self.encode(features)[:, ::-1])

    def queries(self, features: dict[str, tf.Tensor], training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """Of items and of scenes."""
        return self.query(features), self.scene_query(features)


def export_toy_model(folder: str) -> str:
    """Exports a model below `folder` and returns the SavedModel's folder, `<folder>/model`."""
    output = analysed(folder, random_windows())
    known = vocabulary.Vocabulary.load(output)
    target = os.path.join(folder, "model")
    export.export_model(Model(known.size, len(known.scenes)), output, target, objective="ranking")
    return target
