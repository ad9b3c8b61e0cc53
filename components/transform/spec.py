"""How the attributes of exposures, and of the windows of a period, become features."""

from typing import TYPE_CHECKING, Any, Literal

import pydantic

from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen import windows
from schemas import settings


class FeatureSpec(settings.Settings):
    """One feature.

    Attributes:
      min_count: a value that fewer training exposures have is out of vocabulary. In windows of a period, that fewer events
        have (each counts once however many training windows it is in, and not as the first of one); of `user_id` and the
        attributes of users, fewer training windows.
      max_size: at most this many values, the most frequent ones; None is all.
      encode: of a number: `buckets` of equal frequency, each with an embedding; `z_score` of it, or
        `log_z_score` of log(1 + x) (of a negative x: -log(1 - x)), as a number that scales an
        embedding. A missing number is 0 then: the mean.
      buckets: how many, where there are no boundaries; a missing number has one of its own.
      boundaries: where the buckets end, rising, in place of equal frequencies: as `[0, 1, 10, 100]`, which makes five.
      max_values: of a multi-valued attribute: at most this many, the first ones.
    """

    min_count: int = pydantic.Field(default=1, ge=1)
    max_size: int | None = pydantic.Field(default=None, ge=1)
    encode: Literal["buckets", "z_score", "log_z_score"] = "buckets"
    buckets: int = pydantic.Field(default=20, ge=2)
    boundaries: tuple[float, ...] | None = pydantic.Field(default=None, min_length=1)
    max_values: int = pydantic.Field(default=16, ge=1)

    @pydantic.model_validator(mode="after")
    def _check(self) -> "FeatureSpec":
        if self.boundaries is not None:
            if self.encode != "buckets":
                raise ValueError(f"boundaries go with encode: buckets, found {self.encode}")
            if not all(one < two for one, two in zip(self.boundaries, self.boundaries[1:])):
                raise ValueError(f"boundaries rise, found {list(self.boundaries)}")
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`."""
        return (
            settings.Reads(
                ("buckets",),
                self.encode == "buckets" and self.boundaries is None,
                "encode: buckets, without boundaries",
            ),
        )

    @property
    def limited(self) -> bool:
        """Whether a vocabulary is not of all values."""
        return self.min_count > 1 or self.max_size is not None

    @property
    def number_of_buckets(self) -> int:
        """Of a number that is told by its bucket."""
        return self.buckets if self.boundaries is None else len(self.boundaries) + 1


class FeaturesSpec(settings.Settings):
    """The features of models of labels, and `options` of what other models read in windows of a period.

    For models of labels all attributes of the log are among them. `byb_labels` and models of users' embeddings read what the
    events of a period's windows have, models of next items the events' items and scenes: of these they take `options`, in windows
    of a period. All else that a model does not read is refused.

    Attributes:
      ids: which ids are features; a window of a period has no item by itself, so `user_id` alone is one.
      time: whether the hour and the weekday (UTC) are: of the exposure, or of a period's moment. Moments of training may all have
        one hour (a `stride` of whole days) or weekday (of whole weeks): an hour or weekday that none has is taken for the nearest
        that one has.
      scene: whether the scene is, where the log has one; of windows of a period, those of the history's events.
      history: whether the user's history is, where the window has one: its items (with the item's
        embeddings), how long it is, how long ago it ended and, of an exposure, how often the item itself is in it, by
        behaviour; in windows of a period the attributes of its events, too.
      options: of single features by name, as `{item_id: {min_count: 5}, item_price: {encode: z_score}}`.
    """

    ids: tuple[Literal["user_id", "item_id"], ...] = ("user_id", "item_id")
    time: bool = True
    scene: bool = True
    history: bool = True
    options: dict[str, FeatureSpec] = {}

    def of(self, name: str) -> FeatureSpec:
        """The options of a feature, whether the experiment names it or not."""
        return self.options.get(name, FeatureSpec())


if TYPE_CHECKING:
    _AnyWindow = Any
else:
    # Of any of the kinds that are registered.
    _AnyWindow = windows.any_window()


class TransformSettings(settings.Packed):
    """All that decides what features there are, besides the data; in the `custom_config` of TFX's Transform.

    Attributes:
      window: how examples are cut from the log.
      features: what becomes of their attributes.
      columns: of the log.
      code: that makes the features. Unused by it; it makes the cache key depend on the code.
    """

    window: _AnyWindow
    features: FeaturesSpec = FeaturesSpec()
    columns: window_spec.Columns = window_spec.Columns()
    code: str = ""
