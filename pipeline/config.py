"""An experiment: the settings of all rooms in one YAML file, checked before anything starts."""

import copy
import itertools
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic
import yaml

from components.behavior_example_gen import spans, windows
from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.windows.kind import WindowSettings
from components.evaluator import checks as evaluator_checks
from components.evaluator import spec as evaluator_spec
from components.infra_validator import spec as infra_spec
from components.transform import checks as transform_checks
from components.transform import spec as transform_spec
from components.vertex_deployer import spec as endpoint_spec
from pipeline import cluster as cluster_lib
from pipeline import explain
from schemas import errors, kinds, settings
from serving import retrieval as retrieval_lib
from trainer import config as trainer_config
from trainer import search
from trainer.settings import loops as loop_settings
from trainer.settings import model as model_settings
from trainer.settings import training as training_settings

EXPERIMENTS = os.path.join(os.path.dirname(__file__), "experiments")


class PushSpec(settings.Settings):
    """Where a blessed model goes.

    Attributes:
    destination: the folder that a server watches; None is `serving/NAME` in the run's folder. `~` is the home
      folder; variables are refused.
    endpoint: of Vertex AI, that a pushed model is then deployed to; None is none.
    """

    destination: settings.Path | None = None
    endpoint: endpoint_spec.EndpointSpec | None = None


class ValidationSpec(settings.Settings):
    """How far the windows of two splits, or of two spans, may differ.

    Attributes:
    max_skew: the largest allowed difference of a value's share (L-infinity) between the
      training windows and those of another split, and of the share that has no value; of numbers, the
      largest Jensen-Shannon divergence.
    max_drift: the same between the training windows of two spans.
    error_rate: the probability that any difference stops a run although none of the populations behind
      the windows differ by more: a difference that chance may explain is a warning. None or 0 lets the
      bare distances decide.
    max_shrink: which share of the training windows of the span before may be missing, as of a day that was delivered in part.
      None: any.
    """

    max_skew: float = pydantic.Field(default=0.2, gt=0, le=1)
    max_drift: float = pydantic.Field(default=0.2, gt=0, le=1)
    error_rate: float | None = pydantic.Field(default=0.01, ge=0, lt=0.5)
    max_shrink: float | None = pydantic.Field(default=0.5, gt=0, lt=1)


class BeamSpec(settings.Settings):
    """Where Beam runs.

    Attributes:
    args: of Beam's runner, as `--runner=DataflowRunner`; by default the embedded one. (`DirectRunner`, Beam's own
      default, first tries a runner in Go, which it downloads.)
    """

    args: tuple[str, ...] = (
        "--runner=FnApiRunner",
        "--direct_running_mode=in_memory",
        "--direct_num_workers=1",
        # The embedded runner starts no containers; but without an image TFX packs a copy of itself, for workers
        # elsewhere, into a new folder of 42 MB that nobody removes: seconds for each component.
        "--sdk_container_image=unused",
    )


if TYPE_CHECKING:
    Window = WindowSettings
else:
    # Of the kinds that there are now.
    Window = windows.any_window()


class Experiment(settings.Settings):
    """An experiment: the settings of a run.

    Attributes:
      name: of the run's folder and, by default, of the folder that its models are pushed to (requests call the model
        `model`): lower-case letters, digits and `-` (not first), at most 63 characters.
      window: how examples are cut from the log.
      model: what is trained.
      loss: what training minimises; by default the one that fits the model.
      loop: the training procedure.
      retrieval: how the served model finds the items with the highest scores.
    """

    name: str = pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    log: window_spec.LogSpec
    window: Window = windows.get(kinds.DEFAULT_KIND).settings(kind=kinds.DEFAULT_KIND)
    split: window_spec.SplitSpec = window_spec.SplitSpec()
    validation: ValidationSpec = ValidationSpec()
    features: transform_spec.FeaturesSpec = transform_spec.FeaturesSpec()
    model: trainer_config.ModelSettings
    loss: trainer_config.LossSettings = pydantic.Field(default_factory=trainer_config.default_loss)
    loop: trainer_config.LoopSettings = loop_settings.FitSettings(name="fit")
    training: training_settings.TrainingSettings = training_settings.TrainingSettings()
    tuning: search.TuningSettings | None = None
    evaluation: evaluator_spec.EvaluationSpec = evaluator_spec.EvaluationSpec()
    gate: evaluator_spec.GateSpec = evaluator_spec.GateSpec()
    infra: infra_spec.InfraSpec = infra_spec.InfraSpec()
    retrieval: retrieval_lib.RetrievalSettings = retrieval_lib.EXACT
    push: PushSpec = PushSpec()
    beam: BeamSpec = BeamSpec()
    cluster: cluster_lib.ClusterSpec = cluster_lib.ClusterSpec()

    def with_log(self, **changes: Any) -> "Experiment":
        """The same experiment of a log with other settings, which are not checked again."""
        return self.model_copy(update={"log": self.log.model_copy(update=changes)})

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Experiment":
        for column in self.model.needs_columns:
            if getattr(self.log.columns, column) is None:
                raise ValueError(f"model {self.model.name} needs log.columns.{column}, found none")
        trainer_config.check_model(self.model, self.loss, self.loop, self.training)
        trainer_config.check_loop(self.model, self.loss, self.loop, self.training)
        self.model.check_window(self.window)
        self.loss.check_window(self.window)
        self.loop.check_window(self.window)
        windows.get(self.window.kind).check(self.window, self.log, self.split)
        if self.tuning is not None and self.model.pretrained is not None:
            raise ValueError(
                f"tuning trains from initial weights: leave model.base_model out, or tuning; found {self.model.pretrained}"
            )
        retrieval_lib.check(self.retrieval, self.model.objective, self.model.dot_products)
        self._check_target_behavior()
        transform_checks.check(self.features, self.log.columns, self.window, self.model)
        evaluator_checks.check(
            self.evaluation, self.gate, self.model.objective, self.window, self.model.ranks_scenes
        )
        return self

    def reads(self) -> tuple[settings.Reads, ...]:
        """See `settings.Settings.reads`: what another part than their own decides on."""
        labels = (
            settings.Reads(
                ("window.labels",),
                self.model.objective != "ranking",
                "models of labels or of users' embeddings",
            ),
        )
        return (
            settings.Reads(
                ("validation.max_drift",), spans.has_marks(self.log.path), "{SPAN} or a date in log.path"
            ),
            *(labels if hasattr(self.window, "labels") else ()),
            *trainer_config.reads(self.model, self.loss, self.loop, self.training),
            *evaluator_checks.reads(self.evaluation, self.gate, self.model.objective, self.window),
        )

    def _check_target_behavior(self) -> None:
        wanted, targets = getattr(self.model, "target_behavior", None), self.split.target_behaviors
        if wanted is not None and tuple(targets or ()) != (wanted,):
            raise model_settings.WrongWindow(
                f"model.target_behavior: what is trained for is evaluated: set split.target_behaviors: "
                f"[{wanted}], found {list(targets) if targets else 'none'}"
            )

    @property
    def trainer(self) -> trainer_config.TrainerSettings:
        """What the Trainer needs."""
        return trainer_config.TrainerSettings(
            model=self.model, loss=self.loss, loop=self.loop, training=self.training
        )

    def to_yaml(self) -> str:
        """The experiment with every default written out."""
        return yaml.dump(json.loads(self.to_json()), Dumper=Dumper, sort_keys=False)


def find(name: str) -> str:
    """The path of an experiment file, from a path or the name of one that comes with Footfall.

    Raises:
      errors.InputError: if there is neither.
    """
    try:
        path = settings.expand_home(name)
    except ValueError as error:
        raise errors.InputError(str(error)) from error
    if os.path.isfile(path):
        return path
    shipped = os.path.join(EXPERIMENTS, f"{name}.yaml")
    if os.path.isfile(shipped):
        return shipped
    raise errors.InputError(
        f"{name}: no such file, and no experiment of that name; there are {', '.join(shipped_names())}"
    )


def shipped_names() -> list[str]:
    """The experiments that come with Footfall."""
    return sorted(name[: -len(".yaml")] for name in os.listdir(EXPERIMENTS) if name.endswith(".yaml"))


_INT, _FLOAT, _TIME = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
_EXPONENT = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
    """YAML in which a number is decimal, 1e-3 too, and what YAML 1.1 takes for others stays the text that it is.

    An id like 00123 (to YAML 1.1 octal), 0x1F, 12:30 (base 60), 1_000, +5 or 2024-01-31 would become another one. Keys
    are text as it is written, also `no`, `on` and `null`, as a behaviour may be called. One that comes twice is refused, where
    YAML's own loader drops what came first.
    """

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in known if tag not in (_INT, _FLOAT, _TIME)]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Before `<<` is resolved, which may well give a key once more."""
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                where = key.start_mark
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", where)
            seen.add(key.value)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Before a mapping is made of a node."""
        super().flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                key.tag = self.DEFAULT_SCALAR_TAG


_Loader.add_implicit_resolver(_INT, re.compile(r"(0|-?[1-9][0-9]*)$"), list("-0123456789"))
for _pattern in (
    _EXPONENT,
    re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+([eE][-+]?[0-9]+)?)$"),
    re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
):
    _Loader.add_implicit_resolver(_FLOAT, _pattern, list("-+.0123456789"))


class Dumper(yaml.SafeDumper):
    """Writes what `load` and YAML 1.1 read: a text that is a number to either is in quotes."""


Dumper.add_implicit_resolver(_FLOAT, _EXPONENT, list("-+0123456789"))


def read_value(text: str) -> Any:
    """A value as it stands in an experiment file.

    Raises:
      yaml.YAMLError: if it is not YAML.

    >>> read_value("[8, 1e-3, 00123, 12:30]")
    [8, 0.001, '00123', '12:30']
    """
    return _own(yaml.load(text, _Loader))


def _own(value: Any) -> Any:
    """With a mapping or list of its own at each place where an alias has put one of another's."""
    if isinstance(value, dict):
        return {key: _own(one) for key, one in value.items()}
    return [_own(one) for one in value] if isinstance(value, list) else value


def load(
    path: str,
    overrides: Sequence[str] = (),
    must_be_read: Collection[str] | None = None,
    text: bytes | None = None,
) -> Experiment:
    """Reads and checks an experiment file.

    Args:
      path: of the YAML file.
      overrides: `a.b=value`, with the value as in YAML.
      text: what the file had when it was read before; None reads it.
      must_be_read: keys, or parts, of which a setting is refused that nothing reads, at no point of its `tuning` either, or that
        comes to nothing; None: of the whole file. What a point of a sweep inherits from its file may well have no meaning
        in it, and a run that is there has been run.

    Raises:
      errors.InputError: one line with the file, the key, what was found and what is allowed.

    >>> experiment = load(find("ml100k-sasrec"), ["training.epochs=5"])
    >>> experiment.model.name, experiment.training.epochs
    ('sasrec', 5)
    """
    if text is None:
        with open(path, "rb") as stream:
            text = stream.read()
    try:
        values = _own(yaml.load(text.decode("utf-8"), _Loader))
    except UnicodeDecodeError as error:
        raise errors.InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        raise errors.InputError(f"{path}{where}: not YAML: {getattr(error, 'problem', error)}") from error
    if not isinstance(values, dict):
        raise errors.InputError(f"{path}: an experiment is a mapping of keys, found {type(values).__name__}")
    for change in overrides:
        override(values, change)
    try:
        experiment = Experiment.from_values(values)
    except pydantic.ValidationError as error:
        raise errors.InputError(f"{path}: " + "; ".join(explain.lines(error, Experiment))) from error
    if experiment.tuning is not None:
        _check_space(path, values, experiment, experiment.tuning)
    vain = [
        said
        for key, said in in_vain(experiment)
        if must_be_read is None or any(f"{key}.".startswith(f"{part}.") for part in must_be_read)
    ]
    if vain:
        raise errors.InputError(f"{path}: " + "; ".join(dict.fromkeys(vain)))
    return experiment


_Fault = TypeVar("_Fault")
_CORRECTION = ("loss.negative_sampling", "loss.logq_correction")


def in_vain(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """The keys of settings that no new run may have, set for nothing or by mistake, each with what is wrong with it."""
    space = {} if experiment.tuning is None else experiment.tuning.space
    yield from (
        (one.key, str(one))
        for one in experiment.unread()
        if _idle_in_all(experiment, space, one.key) is not None
    )
    unshown = retrieval_lib.unshown(experiment.retrieval)
    if unshown is not None:
        yield from ((f"retrieval.{name}", unshown) for name in ("recall", "queries"))
    miscorrected = _miscorrected_in_all(experiment, space)
    if miscorrected is not None:
        yield from ((key, miscorrected) for key in ("model.name", "loss.name", *_CORRECTION))


def _miscorrected_in_all(experiment: Experiment, space: Mapping[str, search.Range]) -> str | None:
    """Why the loss of each point of a search would be corrected by other counts than those of targets; else None."""
    points = _points(experiment, space, [key for key in _CORRECTION if key in space])
    return _in_all(points, lambda point: point.model.miscorrected(point.loss))


def _check_space(
    path: str, values: Mapping[str, Any], experiment: Experiment, tuning: search.TuningSettings
) -> None:
    """Refuses a search over a setting that is not there, or over values that it cannot have.

    Values that only do not go together are left to the search, which counts such a trial as failed; but not those
    that do not suit the windows, of which a trial knows nothing.
    """
    optimizers = tuning.space.get("training.optimizer")
    rated = (
        "learning_rate" in experiment.training.model_fields_set or "training.learning_rate" in tuning.space
    )
    if optimizers is not None and "sgd" in optimizers.values and not rated:
        # A trial has all settings, and would take Adam's default for a rate that was given.
        raise errors.InputError(
            f"{path}: tuning.space.training.optimizer: sgd needs training.learning_rate, in the file or in space: the "
            f"default, {experiment.training.learning_rate:g}, is Adam's"
        )
    for key, allowed in tuning.space.items():
        part = key.split(".")[0]
        for value in allowed.probes:
            probed = copy.deepcopy(dict(values))
            if probed.get(part) is None and part in ("loss", "loop"):
                # Of a part that the file leaves out a search has settings, too: those of the kind that it is by default.
                probed[part] = {"name": getattr(experiment, part).name}
            try:
                _put(probed, key, value)
                Experiment.from_values(probed)
            except errors.InputError as error:
                raise errors.InputError(f"{path}: tuning.space.{key}: {error}") from error
            except pydantic.ValidationError as error:
                # The file itself fits: what is found deeper than a part is of this key.
                if any(
                    len(explain.without_tags(found["loc"])) > 1
                    or isinstance(found.get("ctx", {}).get("error"), model_settings.WrongWindow)
                    for found in error.errors(include_url=False)
                ):
                    said = "; ".join(explain.lines(error, Experiment))
                    raise errors.InputError(f"{path}: tuning.space: {said}") from error
    for key in tuning.space:
        idle = _idle_in_all(experiment, tuning.space, key)
        if idle is not None:
            raise errors.InputError(f"{path}: tuning.space.{idle}")


def _idle_in_all(experiment: Experiment, space: Mapping[str, search.Range], key: str) -> settings.Idle | None:
    """A setting, of a search or beside one, that nothing reads, whatever any other one of the search is; else None."""
    points = _points(experiment, space, [key] if key in space else [])
    return _in_all(points, lambda point: {one.key: one for one in point.idle()}.get(key))


def _in_all(points: Iterable[Experiment], fault: Callable[[Experiment], _Fault | None]) -> _Fault | None:
    """A fault that all points have, as the last of them has it; None where one has none, or there is no point."""
    found = None
    for point in points:
        found = fault(point)
        if found is None:
            return None
    return found


def _points(
    experiment: Experiment, space: Mapping[str, search.Range], keys: Sequence[str]
) -> Iterator[Experiment]:
    """What a search makes of an experiment: all combinations of values of some keys, each alone and beside one other key's."""
    owns = [dict(zip(keys, values)) for values in itertools.product(*(space[key].probes for key in keys))]
    others = [
        {},
        *({other: value} for other in space if other not in keys for value in space[other].probes),
    ]
    for own, other in itertools.product(owns, others):
        changes = {**own, **other}
        if not changes:
            yield experiment
            continue
        values = json.loads(experiment.to_json())
        for name, value in changes.items():
            _put(values, name, value)
        try:
            point = Experiment.from_values(values)
        except pydantic.ValidationError:
            # Values that do not go together say nothing of one of them.
            continue
        yield point


def override(values: dict[str, Any], override: str) -> None:
    """Puts `a.b=value` into values.

    Raises:
      errors.InputError: if it is not of that form.

    >>> values = {"model": {"name": "sasrec"}}
    >>> override(values, "model.dim=32")
    >>> values
    {'model': {'name': 'sasrec', 'dim': 32}}
    """
    key, equals, text = override.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w@./-]*", key):
        raise errors.InputError(f"--set takes KEY=VALUE, as training.epochs=5; found {override!r}")
    try:
        _put(values, key, read_value(text))
    except yaml.YAMLError as error:
        raise errors.InputError(f"--set {override}: the value is not YAML") from error
    except errors.InputError as error:
        raise errors.InputError(f"--set {override}: {error}") from error


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        if values.get(parent) is None:
            values[parent] = {}
        values = values[parent]
        if not isinstance(values, dict):
            raise errors.InputError(f"{parent} holds no keys")
    values[last] = value
