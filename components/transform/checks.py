"""Which of the settings of `features` a model has a use for: nothing would come of others. Free of TensorFlow."""

from typing import TYPE_CHECKING, Any

from components.behavior_example_gen import spec as window_spec
from schemas import names

if TYPE_CHECKING:
    # Knows all kinds of windows that are registered when it is imported; settings of models are imported before.
    from components.transform import spec

# What models read: the items and scenes of events; all that events have; or all features of an example.
ITEMS, EVENTS, FIELDS = "items", "events", "fields"

_TEXT = ("min_count", "max_size")
# The options that each type of a feature has.
_OPTIONS = {
    window_spec.CATEGORICAL: _TEXT,
    window_spec.MULTI: (*_TEXT, "max_values"),
    window_spec.NUMERIC: ("encode", "buckets", "boundaries"),
}


def check(features: "spec.FeaturesSpec", columns: window_spec.Columns, window: Any, model: Any) -> None:
    """Checks that the model reads all that is set.

    Args:
      features, columns: of the experiment.
      window: its settings.
      model: its settings, with `features_read`.

    Raises:
      ValueError: in one line, with the key, what was found and what there is.
    """
    if model.features_read != FIELDS:
        default = type(features)()
        for name in ("ids", "time", "scene", "history"):
            found = getattr(features, name)
            if found != getattr(default, name):
                raise ValueError(
                    f"features.{name}: goes with models that embed the features of an example, as mlp; model {model.name} "
                    f"reads none that it decides on: leave it out; found {_shown(found)}"
                )
    known = _types(features, columns, window, model.features_read)
    unknown = sorted(set(features.options) - set(known))
    if unknown:
        raise ValueError(
            f"features.options: no such feature of model {model.name} with window: {{kind: {window.kind}}}, found "
            f"{', '.join(unknown)}; there are {', '.join(sorted(known)) or 'none'}"
        )
    for name, option in features.options.items():
        _check_option(name, option, known[name], window)


def _check_option(name: str, option: "spec.FeatureSpec", type_: str, window: Any) -> None:
    default = type(option)()
    for key in type(option).model_fields:
        found = getattr(option, key)
        if key not in _OPTIONS[type_] and found != getattr(default, key):
            raise ValueError(
                f"features.options.{name}.{key}: {name} is {type_}, which has {', '.join(_OPTIONS[type_])}; found "
                f"{_shown(found)}"
            )
    if window.has_period and option.encode != "buckets":
        raise ValueError(
            f"features.options.{name}.encode: numbers of a history's events are told by their buckets; found "
            f"{option.encode}, which goes with window: {{kind: exposure}}"
        )


def _types(
    features: "spec.FeaturesSpec", columns: window_spec.Columns, window: Any, read: str
) -> dict[str, str]:
    """The features that have options, and the type of each."""
    if read == ITEMS and not window.has_period:
        return {}
    texts = {names.ITEM_ID} if read != FIELDS or _has_item(features, window) else set()
    if columns.scene and features.scene:
        texts.add(names.SCENE)
    if read == FIELDS and names.USER_ID in features.ids:
        texts.add(names.USER_ID)
    found = dict.fromkeys(texts, window_spec.CATEGORICAL)
    if read != ITEMS:
        found |= {
            name: attribute.type
            for name, attribute in columns.attributes().items()
            if read == FIELDS or not name.startswith(names.USER_PREFIX)
        }
    return found


def _has_item(features: "spec.FeaturesSpec", window: Any) -> bool:
    """Whether items are features: a window of a period has those of its history alone."""
    return features.history or names.ITEM_ID in features.ids and not window.has_period


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
