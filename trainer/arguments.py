"""What TFX hands to the Trainer and the Tuner, typed; all of it travels in their `custom_config`."""

import pydantic

from components.behavior_example_gen import spec as example_gen_spec
from components.transform import spec as transform_spec
from serving import retrieval as retrieval_lib
from trainer import config, places, search


class Arguments(transform_spec.TransformSettings, config.TrainerSettings):
    """What decides a training or a search, besides the data.

    Attributes:
      code: that trains. Unused by it; it makes the cache key depend on the code.
      exclude_seen: see `components.evaluator.spec.EvaluationSpec`; all of it that training reads, since other
        metrics of the test windows are no reason to train again.
      retrieval: of the model that is exported.
      checkpoint_root: a folder where a second run of the same training finds what an interrupted one has left.
      beside_others: whether other runs may train the same at the same time, as on a cluster.
      owner: of what is kept there, by a run of those.
      tuning: of a search.
      base_model: a model to start from; None starts anew.
      pretrained: a model whose network of users it starts from; None starts anew.
      pretrained_digest: of its files, which the history tells.
      split: of the log; None: it is not known.
      tested_from: since when (ISO 8601) the windows are that test the model; None: it is not by time, or the model starts
        from no other.
      epochs: of this run, in place of `training.epochs`; None as the settings say.
    """

    exclude_seen: bool
    retrieval: retrieval_lib.RetrievalSettings = retrieval_lib.EXACT
    checkpoint_root: str
    beside_others: bool = False
    owner: str = ""
    tuning: search.TuningSettings | None = None
    base_model: str | None = None
    pretrained: str | None = None
    pretrained_digest: str | None = None
    split: example_gen_spec.SplitSpec | None = None
    tested_from: str | None = None
    epochs: int | None = pydantic.Field(default=None, ge=0)

    def place(self, key: str) -> places.Place:
        """Where what has a key is kept, see there."""
        return places.Place(self.checkpoint_root, key, self.owner if self.beside_others else None)

    @property
    def trainer(self) -> config.TrainerSettings:
        """The settings of the training alone, with the epochs of this run."""
        parts = {part: getattr(self, part) for part in config.PARTS}
        if self.epochs is not None:
            parts["training"] = self.training.model_copy(update={"epochs": self.epochs})
        return config.TrainerSettings(**parts)
