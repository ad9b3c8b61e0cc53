"""The pipeline of an experiment. Pure: no file, clock or environment is read here."""

import dataclasses
import datetime
import hashlib
import json
import posixpath
from collections.abc import Mapping
from typing import Any

# Not by way of `tfx.v1`, which imports Google Cloud's clients: as many seconds as all the rest.
from tfx.components.example_validator.component import ExampleValidator
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.components.statistics_gen.component import StatisticsGen
from tfx.components.transform.component import Transform
from tfx.dsl.components.base import base_node
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2
from tfx.types.channel import Channel

from components.anomaly_gate import component as anomaly_gate
from components.base_model import component as base_model_component
from components.behavior_example_gen import component as behavior_example_gen
from components.behavior_example_gen import spans
from components.evaluator import component as evaluator_component
from components.evaluator import config as evaluator_config
from components.infra_validator import component as infra_validator
from components.live_model import component as live_model_component
from components.log_state import component as log_state_component
from components.pusher import component as pusher_component
from components.trainer import component as trainer_component
from components.transform import spec as transform_spec
from components.transform import windows
from components.tuner import component as tuner_component
from components.vertex_deployer import component as vertex_deployer
from pipeline import code as code_lib
from pipeline import config, parameters
from schemas import names
from trainer import arguments, network


def create_pipeline(
    experiment: config.Experiment,
    *,
    pipeline_root: str,
    schema_path: str,
    checkpoint_root: str,
    accepted_root: str,
    serving_dir: str,
    code: Mapping[str, str],
    metadata_path: str | None = None,
    push: bool = True,
    deploy: bool = False,
    run: Mapping[str, Any] | None = None,
    trainer_job: str | None = None,
) -> Pipeline:
    """Wires the components, from the log to the pushed model.

    Args:
      experiment: all settings.
      pipeline_root: where artifacts go, on any filesystem.
      schema_path: of the windows' schema, as text; see `window_schema`. TFX tells schemas apart by
        this path alone.
      checkpoint_root: where the Trainer and the Tuner find what interrupted ones have left.
      accepted_root: where the AnomalyGate keeps the statistics of the spans it let pass.
      serving_dir: where a blessed model is pushed, if the experiment names no other place.
      code: of `code.versions`; what other code has made is not taken from the cache.
      metadata_path: of the SQLite metadata store of local runs.
      push: False leaves out all that is done for a push: the comparison with the live
        model, the trial in a server and the Pusher. What the Evaluator says then depends on the
        model and its windows alone.
      deploy: whether what is pushed is deployed to `push.endpoint`, if the experiment has one.
      run: what each run may have otherwise than the experiment says, by the names of `parameters`: values or
        TFX's runtime parameters; what is not named is as the experiment says.
      trainer_job: of `runners.custom_job.request`; None trains in the Trainer's step.
    """
    run = run or {}
    pushed_to = experiment.push.destination or posixpath.join(serving_dir, experiment.name)
    live = [_live(experiment, pushed_to)] if push else []
    live_model = _value(live[0].outputs["live"]) if live else None
    data = _data(experiment, schema_path, accepted_root, code, run)
    trained, model = _training(experiment, data, checkpoint_root, deploy, code, run, live_model, trainer_job)
    judged = _judged(experiment, data, model, code, run, pushed_to, live_model)
    endpoint = experiment.push.endpoint
    if push and deploy and endpoint is not None:
        judged.append(vertex_deployer.VertexDeployer(judged[-1].outputs["pushed_model"], endpoint))
    return Pipeline(
        pipeline_name=experiment.name,
        pipeline_root=pipeline_root,
        components=[*data.components, *live, *trained, *judged],
        enable_cache=True,
        metadata_connection_config=(
            metadata.sqlite_metadata_connection_config(metadata_path) if metadata_path else None
        ),
        beam_pipeline_args=list(experiment.beam.args),
    )


def _live(experiment: config.Experiment, pushed_to: str) -> live_model_component.LiveModel:
    objective = experiment.model.objective
    # Labels of a pretraining's windows are for its probe alone.
    labels = experiment.window.label_names if objective == "labels" else ()
    repeats = not experiment.evaluation.exclude_seen if objective == "ranking" else None
    return live_model_component.LiveModel(pushed_to, objective, labels, experiment.window.kind, repeats)


@dataclasses.dataclass(frozen=True)
class _Data:
    """From the log to what is trained on.

    Attributes:
      components: that make it, in order.
      examples: the windows.
      profile: of the log.
      transformed: those after Transform.
      transform_graph: what Transform did.
    """

    components: list[base_node.BaseNode]
    examples: Channel
    profile: Channel
    transformed: Channel
    transform_graph: Channel


# Where a log is and how its rows are written; all else says which events, times and values windows have.
_WRITTEN = (
    "path",
    "format",
    "delimiter",
    "quote",
    "escape",
    "comment",
    "encoding",
    "header",
    "column_names",
    "max_rejected_share",
)


def _accepted(experiment: config.Experiment, root: str) -> str:
    """The folder of the statistics that are of windows cut alike: others would differ by their settings.

    Moments move on with the spans of a daily job: they are told by that they are there, and how many.
    """
    told = {
        "log": experiment.log.model_dump(exclude=set(_WRITTEN)),
        "window": experiment.window.model_dump(exclude={"shards"}),
        "split": experiment.split.model_dump(),
    }
    text = json.dumps(told, sort_keys=True, default=_moment)
    return posixpath.join(root, hashlib.sha256(text.encode()).hexdigest()[:12])


def _moment(value: object) -> str | float:
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"a setting is a value of JSON or a moment, found {value!r}")
    return "moment"


def _data(
    experiment: config.Experiment,
    schema_path: str,
    accepted_root: str,
    code: Mapping[str, str],
    run: Mapping[str, Any],
) -> _Data:
    """Cuts windows, lets the gate look at them, and transforms them; see `create_pipeline`."""
    log_state = log_state_component.LogState(
        experiment.log, path=run.get(parameters.LOG_PATH), span=run.get(parameters.SPAN)
    )
    example_gen = behavior_example_gen.BehaviorExampleGen(
        experiment.log,
        experiment.window,
        experiment.split,
        state=_value(log_state.outputs["state"]),
        code=code[code_lib.WINDOWS],
        candidates_within=experiment.evaluation.candidates_within,
    )
    examples = example_gen.outputs["examples"]
    statistics_gen = StatisticsGen(examples=examples)
    schema_gen = ImportSchemaGen(schema_file=schema_path)
    schema = schema_gen.outputs["schema"]
    example_validator = ExampleValidator(statistics=statistics_gen.outputs["statistics"], schema=schema)
    gate = anomaly_gate.AnomalyGate(
        anomalies=example_validator.outputs["anomalies"],
        statistics=statistics_gen.outputs["statistics"],
        schema=schema,
        # Without spans a second run would compare a log with itself.
        accepted_root=_accepted(experiment, accepted_root) if spans.has_marks(experiment.log.path) else None,
        log_path=run.get(parameters.LOG_PATH),
        usual_path=experiment.log.path,
        error_rate=experiment.validation.error_rate,
        max_shrink=experiment.validation.max_shrink,
        code=code[code_lib.ANOMALIES],
    )
    transform = Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn=windows.get(experiment.window.kind),
        splits_config=transform_pb2.SplitsConfig(analyze=[names.TRAIN], transform=list(names.SPLITS)),
        custom_config=transform_spec.TransformSettings(
            **_features_of(experiment), code=code[code_lib.FEATURES]
        ).pack(),
        disable_statistics=True,
    )
    transform.add_upstream_node(gate)
    return _Data(
        [log_state, example_gen, statistics_gen, schema_gen, example_validator, gate, transform],
        examples,
        example_gen.outputs["profile"],
        transform.outputs["transformed_examples"],
        transform.outputs["transform_graph"],
    )


def _training(
    experiment: config.Experiment,
    data: _Data,
    checkpoint_root: str,
    deploy: bool,
    code: Mapping[str, str],
    run: Mapping[str, Any],
    live_model: Any,
    trainer_job: str | None,
) -> tuple[list[base_node.BaseNode], Channel]:
    """Tunes where that is asked, and trains: the components and the model; see `create_pipeline`."""
    training = arguments.Arguments(
        model=experiment.model,
        loss=experiment.loss,
        loop=experiment.loop,
        training=experiment.training,
        **_features_of(experiment),
        code=code[code_lib.TRAINING],
        exclude_seen=experiment.evaluation.exclude_seen,
        retrieval=experiment.retrieval,
        checkpoint_root=checkpoint_root,
        beside_others=deploy,
        split=experiment.split,
    )
    trained_on = {
        "examples": data.transformed,
        "transform_graph": data.transform_graph,
        "train_args": trainer_pb2.TrainArgs(splits=[names.TRAIN]),
        "eval_args": trainer_pb2.EvalArgs(splits=[names.EVAL]),
    }
    base = []
    if experiment.model.pretrained is not None:
        base = [base_model_component.BaseModel(experiment.model.pretrained, network.asked(training))]
        # One that does not fit is refused before anything is read.
        data.components[0].add_upstream_node(base[0])
    tuner = None
    if experiment.tuning is not None:
        tuner = tuner_component.Tuner(
            tuner_fn="trainer.tuner.tuner_fn",
            custom_config=training.model_copy(update={"tuning": experiment.tuning}).pack(),
            epochs=run.get(parameters.EPOCHS),
            **trained_on,
        )
    warm = experiment.training.warm_start != "none"
    trainer = trainer_component.Trainer(
        run_fn="trainer.task.run_fn",
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        custom_config=training.pack(),
        epochs=run.get(parameters.EPOCHS),
        live_model=live_model if warm else None,
        base=_value(base[0].outputs["base"]) if base else None,
        profile=data.profile if base or warm else None,
        custom_job=trainer_job,
        **trained_on,
    )
    return [*base, *([tuner] if tuner else []), trainer], trainer.outputs["model"]


def _judged(
    experiment: config.Experiment,
    data: _Data,
    model: Channel,
    code: Mapping[str, str],
    run: Mapping[str, Any],
    pushed_to: str,
    live_model: Any,
) -> list[base_node.BaseNode]:
    """Measures a model, compares it with what is live, tries it in a server, and pushes it.

    Args:
      pushed_to: where it is pushed.
      live_model: what LiveModel has found; None measures the model alone.
    """
    evaluator = evaluator_component.Evaluator(
        examples=data.examples,
        example_splits=[names.TEST],
        model=model,
        eval_config=evaluator_config.eval_config(
            experiment.evaluation,
            experiment.gate,
            experiment.model.objective,
            experiment.window,
            experiment.model.ranks_scenes,
        ),
        live_model=live_model,
        code=code[code_lib.EVALUATION],
    )
    if live_model is None:
        return [evaluator]
    server_validator = infra_validator.ServerValidator(
        model=model, examples=data.examples, infra=experiment.infra, code=code[code_lib.TRIAL]
    )
    pusher = pusher_component.Pusher(
        model,
        evaluator.outputs["blessing"],
        server_validator.outputs["blessing"],
        pushed_to,
        run.get(parameters.PUSH),
    )
    return [evaluator, server_validator, pusher]


def _value(output: Any) -> Any:
    """The text that a component has found out, as a parameter of another one."""
    return output.future()[0].value


def _features_of(experiment: config.Experiment) -> dict[str, Any]:
    """What of an experiment says which features its examples have."""
    return {"window": experiment.window, "features": experiment.features, "columns": experiment.log.columns}
