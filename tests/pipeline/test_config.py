"""Experiment files: what is wrong with one is said in one line, before anything starts."""

import json
import pathlib
import re

import pydantic
import pytest
import yaml
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.behavior_example_gen import spec
from components.behavior_example_gen.windows.exposure import ExposureWindow
from pipeline import config, window_schema
from schemas import errors, names
from trainer import config as trainer_config
from trainer import search

GOOD = {"name": "mine", "log": {"path": "log.csv"}, "model": {"name": "sasrec"}}


def load(tmp_path, values, overrides=(), must_be_read=None):
    path = tmp_path / "experiment.yaml"
    path.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return config.load(str(path), overrides, must_be_read)


def with_values(**parts):
    return {**GOOD, **parts}


@pytest.mark.parametrize(
    "values,words",
    [
        (with_values(modle={}), ["modle: unknown key; did you mean model?"]),
        (
            with_values(model={"name": "sasrec", "dims": 8}),
            ["model.dims: unknown key; did you mean dim?", "dropout"],
        ),
        (
            with_values(log={"path": "x", "columns": {"user": "u", "usr_id": "x"}}),
            ["log.columns.usr_id: unknown key"],
        ),
        (
            with_values(model={"name": "sasrec", "dim": "64"}),
            ['model.dim: takes a whole number; found "64"'],
        ),
        (
            with_values(model={"name": "sasrec", "dim": 10, "heads": 3}),
            ["model: dim must be a multiple of heads (3), found 10"],
        ),
        (
            with_values(model={"name": "sasrek"}),
            ["model.name: must be one of", "popularity", 'did you mean sasrec? found "sasrek"'],
        ),
        (
            with_values(window={"length": 0}),
            ["window.length: must be at least 1; found 0"],
        ),
        (
            with_values(window={"length": 5, "stride": 6}),
            ["window: stride must be at most length (5)", "found 6"],
        ),
        (
            with_values(window={"length": 5, "min_history": 6}),
            ["window: min_history must be at most length (5)"],
        ),
        (with_values(window={"recent_share": 0}), ["window.recent_share: must be above 0; found 0"]),
        (with_values(window={"recent_share": 1}), ["window.recent_share: must be below 1; found 1"]),
        (
            with_values(window={"kind": "next", "train": "last", "stride": 2}),
            ["window.stride: found 2, which nothing reads: it goes with train: sliding"],
        ),
        (
            with_values(window={"kind": "nxt"}),
            ['window.kind: must be one of next, period, exposure; did you mean next? found "nxt"'],
        ),
        (
            with_values(
                window={"kind": "period", "past": "1d", "future": "1h"},
                features={"options": {"item_id": {"encode": "z_score"}}},
            ),
            [
                "features.options.item_id.encode: item_id is categorical, which has min_count, max_size; found z_score"
            ],
        ),
        (
            with_values(features={"options": {"item_id": {"min_count": 5}}}),
            [
                "features.options: no such feature of model sasrec with window: {kind: next}, found item_id; there are none"
            ],
        ),
        (
            with_values(training={"seed": 2**32 - 1}),
            ["training.seed: must be at most 4294967294; found 4294967295"],
        ),
        (
            {**GOOD, "training": {"batch_size": 2**31, "length_buckets": 10**30}},
            [
                "training.batch_size: must be at most 2147483647; found 2147483648",
                "training.length_buckets: must be at most 2147483647 or null; found 1" + 30 * "0",
            ],
        ),
        (
            with_values(tuning={"space": {"model.blocks": [2, 2**31]}}),
            ["tuning.space: model.blocks: must be at most 2147483647; found 2147483648"],
        ),
        (
            with_values(tuning={"space": {"model.blocks": {"low": 2, "high": 2**31}}}),
            ["tuning.space.model.blocks.high: must be at most 2147483647 or null; found 2147483648"],
        ),
        (
            with_values(evaluation={"cutoffs": [5, 2**31]}),
            ["evaluation.cutoffs: must be at most 2147483647; found [5, 2147483648]"],
        ),
        (
            with_values(model={"name": "mlp", "tower": [8, 10**11]}),
            ["model.tower: must be at most 2147483647; found [8, 100000000000]"],
        ),
        (
            with_values(loop={"name": "tp", "discriminator_hidden": [2**31]}),
            ["loop.discriminator_hidden: must be at most 2147483647; found [2147483648]"],
        ),
        (with_values(window=50), ["window: takes keys, first kind (next, period, exposure); found 50"]),
        (
            with_values(loop={"name": "tp", "inner_step": 2}),
            ["loop.inner_step: unknown key; did you mean inner_steps?", "adversary"],
        ),
        (
            with_values(loop={"name": "tp", "adversary": float("inf")}),
            ["loop.adversary: takes a finite number; found Infinity"],
        ),
        (
            with_values(training={"clip_norm": float("inf")}),
            ["training.clip_norm: takes a finite number or null; found Infinity"],
        ),
        (
            with_values(gate={"min": {"ndcg@10": float("nan")}}),
            ["gate.min.ndcg@10: takes a finite number; found NaN"],
        ),
        (
            with_values(gate={"max_drop": float("nan")}),
            ["gate.max_drop: takes a finite number or null; found NaN"],
        ),
        (
            with_values(split={"by": ["leave_one_out"], "eval_from": 0.7}),
            ["split.eval_from: found 0.7, which nothing reads: it goes with by: time"],
        ),
        (
            with_values(split={"by": ["leave_one_out", "time"], "targets": "first"}),
            ["split.targets: found first, which nothing reads: it goes with by: time, without leave_one_out"],
        ),
        (
            with_values(split={"by": ["time"], "held_out_share": 0.3}),
            ["split.held_out_share: found 0.3, which nothing reads: it goes with by: held_out_users"],
        ),
        (
            with_values(loop={"name": "tp", "inner_steps": 0}),
            ["loop.inner_steps: must be at least 1; found 0"],
        ),
        (
            with_values(loop={"name": "tp"}, window={"length": 4}),
            ["loop.adversary_events: ", "at most window.length (4), or null, found 5"],
        ),
        (
            with_values(loop={"name": "pt"}),
            ['loop.name: must be one of fit, tp, logistic_regression; found "pt"'],
        ),
        (
            with_values(
                loop={"name": "tp", "user_batch": 4, "users_per_step": 2}, training={"batch_size": 64}
            ),
            ["training.batch_size: found 64", "it goes with loop: {name: fit}", "(2 * 4)"],
        ),
        (
            with_values(split={"by": ["time"], "eval_from": 0.9, "test_from": 0.8}),
            ["split: eval_from must come before test_from"],
        ),
        (
            with_values(split={"by": ["time"], "eval_from": 0.5, "test_from": "2020-01-01"}),
            [
                "split:",
                "both shares, both times before the end, or both moments, found 0.5 and 2020-01-01T00:00:00",
            ],
        ),
        (
            with_values(split={"by": ["time"], "eval_from": "-7d", "test_from": "-14d"}),
            ["split: eval_from must come before test_from, found -7d and -14d"],
        ),
        (
            with_values(split={"by": ["time"], "eval_from": "-7d", "test_from": 0.9}),
            ["both shares, both times before the end, or both moments, found -7d and 0.9"],
        ),
        (
            with_values(split={"by": ["time"], "eval_from": "-2 weeks", "test_from": "-7d"}),
            [
                "split.eval_from: takes a share between 0 and 1, a time before the log's end, as -7d, or an ISO 8601 moment"
            ],
        ),
        (
            with_values(split={"by": ["time"], "eval_from": "soon", "test_from": "2020-01-01"}),
            ["split.eval_from:", "found 'soon'"],
        ),
        (with_values(split={"by": ["time", "time"]}), ["split: by takes one rule or two different ones"]),
        (
            with_values(split={"target_behaviors": ["buy"]}),
            ["needs log.columns.behavior, found none"],
        ),
        (
            with_values(split={"target_behaviors": []}),
            ["split: target_behaviors names at least one behaviour"],
        ),
        (
            with_values(log={"path": "x", "filter": {"min_item_event": 5}}),
            ["log.filter.min_item_event: unknown key; did you mean min_item_events?", "min_user_events"],
        ),
        (
            with_values(log={"path": "x", "filter": {"min_user_events": 0}}),
            ["log.filter.min_user_events: must be at least 1"],
        ),
        (
            with_values(tuning={"space": {"model.dims": [8, 16]}}),
            ["tuning.space: model.dims: unknown key; did you mean dim?"],
        ),
        (
            with_values(tuning={"space": {"loop.inner_steps": [1, 2]}}),
            ["tuning.space: loop.inner_steps: unknown key"],
        ),
        (
            with_values(tuning={"space": {"loss.negatives": [4, 8]}}),
            ["tuning.space: loss.negatives: unknown key"],
        ),
        (
            with_values(tuning={"space": {"model.dim": {"low": 8.5, "high": 16}}}),
            ["tuning.space: model.dim: takes a whole number; found 8.5"],
        ),
        (
            with_values(tuning={"space": {"model.dropout": [0.1, 1.5]}}),
            ["tuning.space: model.dropout: must be below 1; found 1.5"],
        ),
        (
            with_values(tuning={"space": {"model.dim": {"lo": 8, "high": 16}}}),
            ["tuning.space.model.dim.lo: unknown key; did you mean low?"],
        ),
        (
            with_values(tuning={"space": {"model.dim": {"low": 16, "high": 8}}}),
            ["tuning.space.model.dim: a range goes up, found 16 to 8"],
        ),
        (
            with_values(tuning={"space": {"model.dim": [8, "16"]}}),
            ["tuning.space.model.dim.choices: choices are numbers, texts or true and false"],
        ),
        (
            with_values(tuning={"space": {"window.length": [10, 20]}}),
            ["tuning: all points have the same windows", "found window.length"],
        ),
        (
            with_values(tuning={"space": {"training.seed": [1, 2]}}),
            ["tuning: space takes no training.seed"],
        ),
        (
            with_values(tuning={"space": {"training.warm_start": ["none", "last_blessed"]}}),
            ["tuning: space takes no training.warm_start: tuning trains from initial weights"],
        ),
        (
            with_values(tuning={"space": {"model.base_model": ["runs/a", "runs/b"]}}),
            ["tuning: space takes no model.base_model: tuning trains from initial weights"],
        ),
        (
            with_values(tuning={"space": {"loss.name": ["bce", "softmax"]}}),
            ["tuning: space takes no loss.name"],
        ),
        (
            with_values(tuning={"space": {"training.epochs": [1, 2]}, "training": {"epochs": 1}}),
            ["tuning: training.epochs is in space and in training"],
        ),
        (
            with_values(tuning={"space": {"model.dim": [8]}, "training": {"epoch": 1}}),
            ["tuning.training.epoch: unknown key; did you mean epochs?"],
        ),
        (
            with_values(tuning={"search": "grid", "space": {"model.dropout": {"low": 0.1, "high": 0.5}}}),
            ["tuning: a grid takes values or a step of model.dropout"],
        ),
        (
            with_values(tuning={"search": "grid", "trials": 3, "space": {"model.dim": [8, 16]}}),
            ["tuning: a grid has all its points: leave trials out, found 3"],
        ),
        (with_values(tuning={"space": {}}), ["tuning.space: "]),
        (with_values(tuning={"search": "hyperband", "space": {"model.dim": [8]}}), ["tuning.search:"]),
        (with_values(name="My Experiment"), ["name:", 'found "My Experiment"']),
        (
            with_values(gate={"metric": "auc"}),
            ["gate.metric: found auc, which is not measured; allowed: hr@5"],
        ),
        (with_values(training={"epochs": -1, "batch_size": 0}), ["training.epochs:", "training.batch_size:"]),
        ({"name": "mine", "model": {"name": "sasrec"}}, ["log: missing"]),
        ("- a\n- b\n", ["an experiment is a mapping of keys, found list"]),
        ("name: [\n", ["line 2: not YAML"]),
        ("name: a\nmodel: {name: sasrec}\nmodel: {name: caser}\n", ["line 3", "model is there twice"]),
    ],
)
def test_one_line_with_the_file_the_key_and_what_is_allowed(tmp_path, values, words):
    with pytest.raises(errors.InputError) as caught:
        load(tmp_path, values)
    message = str(caught.value)
    assert "experiment.yaml" in message and "\n" not in message
    for word in words:
        assert word in message, message


PERIOD = {"kind": "period", "past": "7d", "future": "1d"}
LABELS = {**PERIOD, "labels": {"back": {"any_of": {}}}}
ROWS = {
    "log": {"path": "log.csv", "columns": {"label": {"click": "clicked"}}},
    "window": {"kind": "exposure", "steps": ["click"]},
    "model": {"name": "mlp"},
}
WITH_BEHAVIORS = {"path": "log.csv", "columns": {"behavior": "b", "scene": "s"}}


def of_columns(**columns):
    return {"log": {"path": "log.csv", "columns": columns}}


def model(name, **values):
    """With the windows and columns of the model."""
    given = {"log": WITH_BEHAVIORS, "model": {"name": name, **values}}
    if name.startswith(("user", "byb", "msdp", "dspnet", "scene", "contra")):
        given["window"] = LABELS if name == "byb_labels" else PERIOD
    return {**(ROWS if name == "bpcm" else {}), **given, **({"log": ROWS["log"]} if name == "bpcm" else {})}


FROZEN = {"base_model": "runs/byb", "frozen": True, "tower": []}
FITTED = {**model("byb_labels", **FROZEN), "loop": {"name": "logistic_regression"}}
# Parts that differ from GOOD, the key that nothing reads, and what it goes with.
UNREAD = [
    (
        of_columns(item={"tag": {"column": "t", "separator": ","}}),
        "log.columns.item.tag.separator",
        "type: multi",
    ),
    ({"log": {"path": "log.csv", "label_minus_one": "no"}}, "log.label_minus_one", "columns.label"),
    ({"log": {"path": "log", "format": "jsonl", "quote": "'"}}, "log.quote", "format: csv or tsv"),
    ({"log": {"path": "log.csv", "quote": "", "escape": "\\"}}, "log.escape", "quote: '\"'"),
    ({"log": {"path": "log", "format": "tsv", "escape": "\\"}}, "log.escape", "quote: '\"'"),
    ({"log": {"path": "log", "format": "parquet", "encoding": "gbk"}}, "log.encoding", "csv, tsv or jsonl"),
    ({"log": {"path": "log.csv", "spans": 2}}, "log.spans", "{SPAN} or a date in path"),
    ({"window": {"train": "last", "stride": 2}}, "window.stride", "train: sliding"),
    ({"window": {**PERIOD, "overlap": True}}, "window.overlap", "stride or at"),
    ({"window": LABELS}, "window.labels", "models of labels or of users' embeddings"),
    ({**ROWS, "window": {**ROWS["window"], "censored": "mark"}}, "window.censored", "horizon"),
    (
        {"window": {**LABELS, "recent_share": 0.2}, "model": {"name": "mlp"}},
        "window.recent_share",
        "models of next items",
    ),
    ({"split": {"by": ["leave_one_out"], "test_from": 0.95}}, "split.test_from", "by: time"),
    ({"validation": {"max_drift": 0.1}}, "validation.max_drift", "{SPAN} or a date in log.path"),
    (
        {
            **ROWS,
            **of_columns(label={"click": "c"}, context={"age": {"column": "a", "type": "numeric"}}),
            "features": {"options": {"context_age": {"buckets": 5, "encode": "z_score"}}},
        },
        "features.options.context_age.buckets",
        "encode: buckets, without boundaries",
    ),
    (model("bert4rec", mask_ratio=0.5, last_share=1), "model.mask_ratio", "last_share below 1"),
    (
        model("bpcm", hidden=8, aggregation=False, conversion=False, calibrator=0),
        "model.hidden",
        "aggregation: true",
    ),
    (model("bpcm", gate=False, attention=False), "model.gate", "attention: true and aggregation: true"),
    (
        model("bpcm", conversion_reads="passed", conversion=False),
        "model.conversion_reads",
        "conversion: true",
    ),
    (model("casm", context=False, behavior_dim=8), "model.behavior_dim", "context: true"),
    (
        {**model("casm", weighted="positives"), "loss": {"name": "bce"}},
        "model.weighted",
        "behavior_weights or target",
    ),
    (model("dspnet", apr=0, prior="laplace"), "model.prior", "apr above 0"),
    (model("dspnet", apr=0, discriminator_hidden=[]), "model.discriminator_hidden", "apr above 0"),
    (model("dspnet", ccr=0, contrast_equal=False), "model.contrast_equal", "ccr above 0"),
    (model("contrarec", contrast=0, temperature=0.5), "model.temperature", "contrast above 0"),
    (model("msdp", consistency=0, mask_ratio=0.5), "model.mask_ratio", "consistency above 0"),
    (model("user_msdp", consistency=0, mask_ratio=0.5), "model.mask_ratio", "consistency above 0"),
    (model("user_next", bucket="hour"), "model.bucket", "encoder: buckets"),
    (model("user_next", activity=False), "model.activity", "encoder: buckets"),
    (model("user_autoencoder", heads=2), "model.heads", "encoder: buckets or causal"),
    (model("user_autoencoder", ffn_ratio=2), "model.ffn_ratio", "a predictor"),
    (model("byb", encoder="gru", predictor=False, ffn_ratio=2), "model.ffn_ratio", "a predictor"),
    (model("byb", encoder="gru", max_buckets=5), "model.max_buckets", "encoder: buckets"),
    (
        model("byb", stop_gradient=False, momentum=0, momentum_schedule="cosine"),
        "model.momentum_schedule",
        "stop_gradient: true",
    ),
    (
        model("byb", bucket="none", max_bucket_events=5),
        "model.max_bucket_events",
        "a bucket of hour, day or week",
    ),
    (
        model("byb", min_spread=0, min_rank=0, collapse_epochs=5),
        "model.collapse_epochs",
        "min_spread or min_rank",
    ),
    (model("byb_labels", frozen=True), "model.frozen", "base_model"),
    (
        model("byb_labels", frozen=True, base_rate=0.1, base_model="runs/byb"),
        "model.base_rate",
        "frozen: false",
    ),
    (
        {"loss": {"name": "bce", "popularity_exponent": 0.5}},
        "loss.popularity_exponent",
        "negative_sampling: popularity",
    ),
    (
        {"loss": {"name": "bpr_max", "negative_sampling": "in_batch", "shared_negatives": True}},
        "loss.shared_negatives",
        "negative_sampling: uniform or popularity",
    ),
    (
        {"loss": {"name": "sampled_softmax", "logq_correction": False}},
        "loss.logq_correction",
        "popularity or in_batch",
    ),
    (
        {"loss": {"name": "bce", "negative_sampling": "unmet", "logq_correction": False}},
        "loss.logq_correction",
        "popularity or in_batch",
    ),
    (
        {"loop": {"name": "tp", "adversary": 0, "discriminator_steps": 2}},
        "loop.discriminator_steps",
        "adversary above 0",
    ),
    (
        {"loop": {"name": "tp", "adversary": 0, "shuffled_classes": True}},
        "loop.shuffled_classes",
        "adversary above 0",
    ),
    (
        {"loop": {"name": "tp", "classes": "apart", "users_per_step": 1}},
        "loop.classes",
        "users_per_step of 2 or more",
    ),
    ({"loop": {"name": "tp", "classes": "same", "inner_steps": 1}}, "loop.classes", "inner_steps of 2"),
    (model("msdp", scene_weight=0, scene_dim=8), "model.scene_dim", "scene_weight above 0"),
    (model("contrarec", scene_weight=0, scene_dim=8), "model.scene_dim", "scene_weight above 0"),
    ({**model("popularity"), "training": {"learning_rate": 5}}, "training.learning_rate", "is trained"),
    ({**model("popularity"), "training": {"xla": True}}, "training.xla", "is trained, which popularity"),
    (
        {**model("popularity"), "training": {"mixed_precision": True}},
        "training.mixed_precision",
        "is trained",
    ),
    (
        {"loop": {"name": "tp", "inner_steps": 1, "inner_learning_rate": 0.1}},
        "loop.inner_learning_rate",
        "inner_steps of 2 or more",
    ),
    ({"training": {"calibration": "platt"}}, "training.calibration", "models of labels"),
    ({"training": {"label_share": 0.5}}, "training.label_share", "models of labels"),
    ({**ROWS, "training": {"length_buckets": 1}}, "training.length_buckets", "models of windows of events"),
    ({"loop": {"name": "tp"}, "training": {"batch_size": 8}}, "training.batch_size", "loop: {name: fit}"),
    ({"training": {"optimizer": "lazy_adam"}}, "training.optimizer", "a loss that draws negatives"),
    (
        {"window": PERIOD, "loss": {"name": "softmax"}, "training": {"optimizer": "lazy_adam"}},
        "training.optimizer",
        "a loss that draws negatives",
    ),
    (
        {**model("msdp"), "training": {"optimizer": "lazy_adam"}},
        "training.optimizer",
        "a loss that draws negatives",
    ),
    ({**ROWS, "evaluation": {"exclude_seen": False}}, "evaluation.exclude_seen", "models of next items"),
    ({**ROWS, "evaluation": {"cutoffs": [5]}}, "evaluation.cutoffs", "models of next items"),
    (
        {**model("byb"), "evaluation": {"sampled_negatives": 99}},
        "evaluation.sampled_negatives",
        "models of next items",
    ),
    (
        {**model("byb_labels", base_model="runs/byb"), "training": {"warm_start": "last_blessed"}},
        "training.warm_start",
        "frozen: true",
    ),
    ({**FITTED, **model("byb_labels", **FROZEN, dropout=0.2)}, "model.dropout", "a tower"),
    ({**FITTED, "training": {"epochs": 5}}, "training.epochs", "a loop that trains by steps"),
    ({**FITTED, "training": {"warm_start": "last_blessed"}}, "training.warm_start", "by steps"),
    ({**FITTED, "loss": {"name": "step_bce", "weights": {"back": 2}}}, "loss.weights", "a loop with a loss"),
    ({"gate": {"min_positives": 5}}, "gate.min_positives", "models of labels"),
    ({"gate": {"min_slice_examples": 5}}, "gate.min_slice_examples", "slices"),
    ({**ROWS, "gate": {"metric": "auc_pr", "max_drop": None}}, "gate.metric", "gate.max_drop"),
    (
        {"gate": {"slices": ["user_group"], "max_drop": None, "min_lift_over_floor": None}},
        "gate.slices",
        "gate.min_lift_over_floor or gate.max_drop",
    ),
    ({"infra": {"server": "embedded", "image": "mine:1"}}, "infra.image", "server: auto or docker"),
    (
        {"cluster": {"resources": {"Trainer": {"accelerators": 2}}}},
        "cluster.resources.Trainer.accelerators",
        "accel",
    ),
    (
        {"cluster": {"trainer_job": {"machine_type": "n1", "accelerators": 2}}},
        "cluster.trainer_job.accelerators",
        "accelerator",
    ),
]


@pytest.mark.parametrize("parts,key,by", UNREAD, ids=[key for _, key, _ in UNREAD])
def test_what_nothing_reads_is_refused(tmp_path, parts, key, by):
    values = with_values(
        **{**parts, **({"evaluation": {"slices": ["user_group"]}} if "slices" in key else {})}
    )
    with pytest.raises(errors.InputError) as caught:
        load(tmp_path, values)
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(
        rf"experiment\.yaml: {re.escape(key)}: found .*, which nothing reads: it goes with ", message
    )
    assert by in message.partition("it goes with ")[2]
    (idle,) = [one for one in load(tmp_path, values, must_be_read=()).unread() if one.key == key]
    # The default may be written out.
    assert load(tmp_path, values, [f"{key}={json.dumps(idle.default)}"]).unread() == []


def test_of_a_model_that_nothing_is_trained_of_no_loss_or_loop_is_read(tmp_path):
    popularity = with_values(**model("popularity"))
    for part, given in (("loss", {"name": "gbce"}), ("loop", {"name": "tp"}), ("loss.name", "bce")):
        words = rf"{part[:4]}: found .*, which nothing reads: it goes with a model that is trained, which popularity is"
        with pytest.raises(errors.InputError, match=words):
            load(tmp_path, popularity, [f"{part}={json.dumps(given)}"])
    # Defaults may be written out, and a seed is any run's.
    written = ['loss={"name": "softmax"}', 'loop={"name": "fit"}', "training={seed: 3, epochs: 50}"]
    assert load(tmp_path, popularity, written).training.seed == 3
    for key, values in (("training.learning_rate", [0.1, 0.2]), ("training.batch_size", [8, 16])):
        with pytest.raises(errors.InputError, match=f"tuning.space.{key}: found .*, which nothing reads"):
            load(tmp_path, {**popularity, "tuning": {"space": {key: values}}})
    # A point of a sweep may leave what it inherits.
    trained = with_values(loss={"name": "gbce"}, training={"epochs": 3})
    assert load(tmp_path, trained, ["model={name: popularity}"], must_be_read=["model"]).loss.name == "gbce"


def test_a_recall_that_the_queries_cannot_show_is_refused(tmp_path):
    few = with_values(retrieval={"name": "ivf", "queries": 100})
    words = r"yaml: retrieval: a recall of 0\.98 is not shown by 100 queries, at most 0\.97 is: queries has to be at least 150$"
    for must_be_read in (None, ["retrieval"], ["retrieval.recall"]):
        with pytest.raises(errors.InputError, match=words):
            load(tmp_path, few, must_be_read=must_be_read)
    for change in ("queries=150", "recall=0.95"):
        assert load(tmp_path, few, [f"retrieval.{change}"]).retrieval.name == "ivf"
    # What a point of a sweep inherits, or a run has been run with.
    for must_be_read in (["model"], ["retrieval.lists"], ()):
        assert load(tmp_path, few, must_be_read=must_be_read).retrieval.queries == 100


def test_a_correction_by_counts_that_are_not_those_of_targets_is_refused(tmp_path):
    in_batch = {"name": "bce", "negative_sampling": "in_batch"}
    counted = with_values(**model("contrarec"), loss=in_batch)
    words = "yaml: model contrarec does not know how often items are the one target of a window: [^;]*; [^;]* is corrected$"
    for must_be_read in (
        None,
        ["model"],
        ["loss.name"],
        ["loss.negative_sampling"],
        ["loss.logq_correction"],
    ):
        with pytest.raises(errors.InputError, match=words):
            load(tmp_path, counted, must_be_read=must_be_read)
    assert load(tmp_path, counted, ["loss.logq_correction=false"]).loss.in_batch
    # What a point of a sweep inherits, or a run has been run with.
    for must_be_read in (["model.dim"], ["loss.negatives"], ()):
        assert load(tmp_path, counted, must_be_read=must_be_read).loss.logq_correction
    # A trial of a search that is asked for it fails.
    space = {"loss.negative_sampling": ["popularity", "in_batch"]}
    searched = {
        **counted,
        "loss": {**in_batch, "negative_sampling": "popularity"},
        "tuning": {"space": space},
    }
    found = load(tmp_path, searched)
    with pytest.raises(search.ImpossiblePoint, match="model contrarec does not know how often"):
        found.tuning.of_trial(found.trainer, {"loss.negative_sampling": "in_batch"})


def test_a_search_trains_for_no_other_behaviour_than_is_evaluated(tmp_path):
    """A trial does not know which targets eval has."""
    values = with_values(**model("casm", target_behavior="buy"), split={"target_behaviors": ["buy"]})
    load(tmp_path, {**values, "tuning": {"space": {"model.target_behavior": ["buy"]}}})
    with pytest.raises(
        errors.InputError, match=r"tuning\.space: model\.target_behavior: .*target_behaviors: \[view\]"
    ):
        load(tmp_path, {**values, "tuning": {"space": {"model.target_behavior": ["buy", "view"]}}})


@pytest.mark.parametrize(
    "loss, space, refused",
    [
        ({}, {"loss.logq_correction": [False]}, False),
        ({}, {"loss.logq_correction": [False, True]}, False),
        ({}, {"loss.logq_correction": [True]}, True),
        ({}, {"loss.negative_sampling": ["popularity"]}, False),
        ({}, {"model.dropout": [0.1, 0.2]}, True),
        ({"negative_sampling": "uniform"}, {"loss.negative_sampling": ["in_batch"]}, True),
        ({"negative_sampling": "uniform"}, {"loss.negative_sampling": ["in_batch", "popularity"]}, False),
        (
            {"negative_sampling": "popularity"},
            {"loss.negative_sampling": ["in_batch"], "loss.logq_correction": [False]},
            False,
        ),
        (
            {"negative_sampling": "popularity", "logq_correction": False},
            {"loss.negative_sampling": ["in_batch"], "loss.logq_correction": [True]},
            True,
        ),
    ],
)
def test_a_search_decides_on_the_correction_of_its_trials(tmp_path, loss, space, refused):
    values = with_values(
        **model("contrarec"),
        loss={"name": "bce", "negative_sampling": "in_batch", **loss},
        tuning={"space": space},
    )
    if refused:
        with pytest.raises(errors.InputError, match="yaml: model contrarec does not know how often items"):
            load(tmp_path, values)
    else:
        assert load(tmp_path, values).tuning is not None


def test_cuts_are_read_back_as_they_are_written(tmp_path):
    """By the components, which are given a split as JSON, and by whoever runs a run's own experiment again."""
    for cuts in (
        ("-14d", "-36h"),
        (0.5, 0.75),
        ("2024-05-01", "2024-06-01T12:30:00+02:00"),
        ("-90.5s", "-1m"),
    ):
        values = with_values(split={"by": ["time"], "eval_from": cuts[0], "test_from": cuts[1]})
        split = load(tmp_path, values).split
        assert type(split).from_json(split.to_json()) == split
        ways = (split.shares(), split.before_end(), split.moments())
        assert sorted(map(len, ways)) == [0, 0, 2] and [split.eval_from, split.test_from] in ways


def test_classes_of_several_users_or_inner_steps_are_read(tmp_path):
    for given in (
        {"classes": "apart", "users_per_step": 2, "adversary": 0, "shuffled_classes": True},
        {"classes": "same"},
        {"classes": "paired", "adversary": 0, "shuffled_classes": True},
    ):
        assert load(tmp_path, with_values(loop={"name": "tp", **given})).loop.classes == given["classes"]
    neither = {
        "name": "tp",
        "classes": "apart",
        "users_per_step": 1,
        "adversary": 0,
        "shuffled_classes": True,
    }
    with pytest.raises(errors.InputError, match=r"loop\.classes: found .*; loop\.shuffled_classes: found "):
        load(tmp_path, with_values(loop=neither))
    # A model that reads scenes has vectors of them in any case.
    assert load(tmp_path, with_values(**model("scenectc", scene_weight=0, scene_dim=8))).model.scene_dim == 8


def test_what_some_models_read_is_taken_of_these(tmp_path):
    """Gradients of a table that histories alone are read by have few rows, whatever the loss; None may be written out."""
    lazy = {"training": {"optimizer": "lazy_adam"}}
    for parts in (
        {"model": {"name": "gru4rec", "tied": False}},
        {"model": {"name": "caser"}},
        {"loss": {"name": "sampled_softmax"}},
        {**model("dspnet"), "loss": {"name": "period_bce", "negatives": 5}},
        ROWS,
        model("byb"),
    ):
        assert load(tmp_path, with_values(**{**parts, **lazy})).training.optimizer == "lazy_adam"
    assert load(tmp_path, with_values(**model("user_autoencoder", dim=6))).model.heads == 4
    pooled = model("byb", encoder="gru", bucket="hour", max_bucket_events=5, ffn_ratio=2)
    assert load(tmp_path, with_values(**pooled)).model.bucket == "hour"


def test_all_of_a_file_that_nothing_reads_is_said_at_once(tmp_path):
    parts = {"loop": {"name": "tp", "adversary": 0, "discriminator_rate": 1, "discriminator_steps": 2}}
    with pytest.raises(errors.InputError, match="loop.discriminator_rate: .*; loop.discriminator_steps: "):
        load(tmp_path, with_values(**parts))
    # A point of a sweep is asked for what it sets itself.
    adversary = ["loop.adversary=0"]
    parts["loop"]["adversary"] = 0.1
    assert (
        load(tmp_path, with_values(**parts), adversary, must_be_read=["loop.adversary"]).loop.adversary == 0
    )
    for asked in ("loop", "loop.discriminator_rate"):
        with pytest.raises(errors.InputError, match="loop.discriminator_rate"):
            load(tmp_path, with_values(**parts), adversary, must_be_read=[asked])
    assert (
        load(tmp_path, with_values(**parts), adversary, must_be_read=["loop.discriminator"]).loop.adversary
        == 0
    )


def test_a_search_over_what_nothing_reads(tmp_path):
    def searched(loop, space):
        return with_values(loop={"name": "tp", **loop}, tuning={"space": space})

    rates = {"loop.discriminator_rate": [1.0, 10.0]}
    with pytest.raises(
        errors.InputError,
        match="tuning.space.loop.discriminator_rate: found .*, which nothing reads: it goes with adv",
    ):
        load(tmp_path, searched({"adversary": 0.0}, rates))
    # What one point has no use for, another one may.
    strengths = {"loop.adversary": [0.0, 0.1]}
    load(tmp_path, searched({"adversary": 0.0}, {**rates, **strengths}))
    found = load(tmp_path, searched({"discriminator_rate": 1.0}, strengths))
    off = search.merge(found.trainer, {"loop.adversary": 0.0})
    assert [one.key for one in off.loop.unread()] == ["discriminator_rate"]


@pytest.mark.parametrize(
    "parts,space",
    [
        (
            {"loop": {"name": "tp", "classes": "apart", "users_per_step": 1}},
            {"loop.users_per_step": [1, 8]},
        ),
        (
            {"loop": {"name": "tp", "adversary": 0, "discriminator_rate": 5.0}},
            {"loop.adversary": {"low": 0, "high": 0.1}},
        ),
        (
            {"loss": {"name": "sampled_softmax", "logq_correction": False}},
            {"loss.negative_sampling": ["uniform", "in_batch"]},
        ),
    ],
)
def test_what_some_point_of_a_search_reads_may_be_in_the_file(tmp_path, parts, space):
    load(tmp_path, with_values(**parts, tuning={"space": space}))
    # Not so what none of them does.
    ((part, given),) = parts.items()
    (key,) = set(given) - {"name", "adversary", "users_per_step"}
    for tuning in (None, {"space": {"model.dropout": [0.1, 0.2]}}):
        with pytest.raises(errors.InputError, match=rf"yaml: {part}\.{key}: found .*, which nothing reads"):
            load(tmp_path, with_values(**parts, tuning=tuning))


@pytest.mark.parametrize(
    "parts,words",
    [
        ({"gate": {"min": {"ndcg@10": 1.2}}}, "gate.min: found 1.2 for ndcg@10, which is 1 at most"),
        (
            {**ROWS, "gate": {"min": {"auc/click": 70}}},
            "gate.min: found 70 for auc/click, which is 1 at most",
        ),
        ({**ROWS, "gate": {"max": {"log_loss": -1}}}, "gate.max: found -1 for log_loss, which is 0 at least"),
        (
            {"gate": {"min_lift_over_floor": 5}},
            "gate.min_lift_over_floor: found 5, and no model .* more than 1:",
        ),
        (
            {**ROWS, "gate": {"min_lift_over_base_rate": 0.7}},
            "min_lift_over_base_rate: found 0.7, .* more than 0.693:",
        ),
        (
            model("byb", min_spread=0) | {"gate": {"max": {"effective_rank": 0.5}}},
            "effective_rank, which is 1 at",
        ),
    ],
)
def test_a_gate_that_no_model_could_pass(tmp_path, parts, words):
    with pytest.raises(errors.InputError, match=words):
        load(tmp_path, with_values(**parts))


def test_labels_of_rows_where_steps_are_events(tmp_path):
    window = {"kind": "exposure", "steps": ["buy"], "exposure": "view", "horizon": "1d"}
    of_rows = of_columns(behavior="b", label={"buy": "bought"})
    with pytest.raises(
        errors.InputError, match="log.columns.label goes with .* a row per exposure.*found buy"
    ):
        load(tmp_path, with_values(**{**ROWS, **of_rows, "window": window}))


def test_filters_that_no_window_fills(tmp_path):
    caser = {"model": {"name": "caser", "markov": 6}}
    with pytest.raises(errors.InputError, match=r"model.markov must be at most window.length \(5\), found 6"):
        load(tmp_path, with_values(window={"length": 5}, **caser))
    load(tmp_path, with_values(window={"length": 6}, **caser))


def test_overrides(tmp_path):
    found = load(
        tmp_path,
        GOOD,
        ["training.epochs=3", "split.by=[leave_one_out]", "gate.max_drop=null", "gate.min.ndcg@10=0.1"],
    )
    assert found.training.epochs == 3 and found.split.by == ("leave_one_out",)
    assert found.gate.max_drop is None
    for bad, words in (
        ("training.epochs", "KEY=VALUE"),
        ("name.x=1", "holds no keys"),
        ("training.epochs=[", "not YAML"),
        ("gate.min.auc/buy=0.7", "gate.min: found auc/buy, which is not measured"),
    ):
        with pytest.raises(errors.InputError, match=words):
            load(tmp_path, GOOD, [bad])


# What YAML 1.1 takes for another number, or for a date.
_AS_WRITTEN = [
    "00123",
    "010",
    "0x1F",
    "0b11",
    "12:30",
    "12:30:45.5",
    "1_000",
    "+5",
    "-0",
    "2024-01-31",
    "2024-02-30",
]


def of_labels(written):
    return f"""
name: mine
log:
  path: log.csv
  missing: {{ids: [{written}], item_id: {written}}}
  columns: {{behavior: b, item: {{category: {written}}}}}
window:
  kind: period
  past: 7d
  future: 1d
  labels: {{{written}: {{any_of: {{item_category: [{written}, 5]}}}}, b: {{none_of: {{item_id: {written}}}}}}}
split: {{by: [time], eval_from: 2023-11-14, test_from: 2023-11-14T22:31:44.5+01}}
model: {{name: mlp}}
"""


@pytest.mark.parametrize("written", _AS_WRITTEN)
def test_a_text_that_looks_like_a_number_stays_as_it_is_written(tmp_path, written):
    text = of_labels(written).replace(f"{{{written}: ", "{a: ")
    found = load(tmp_path, text, [f"window.labels.c.next.item_id={written}"])
    assert load(tmp_path, found.to_yaml()) == found
    assert found.log.missing.ids == found.log.missing.item_id == (written,)
    assert found.log.columns.item["category"].column == written
    labels = found.window.labels
    assert labels["a"].any_of == {"item_category": (written, "5")}
    assert labels["b"].none_of == labels["c"].next == {"item_id": (written,)}
    # Where a number is expected, it is refused.
    for key in ("training.epochs", "training.learning_rate", "window.future", "window.labels.b.within"):
        with pytest.raises(errors.InputError, match=f"{key}.*found .{re.escape(written)}"):
            load(tmp_path, text, [f"{key}={written}"])


def test_keys_are_as_they_are_written(tmp_path):
    assert list(load(tmp_path, of_labels("010")).window.labels) == ["010", "b"]
    assert config.read_value("{1: a, 010: b, 1.50: c, 1e3: d, 2024-01-31: e}") == dict(
        zip(["1", "010", "1.50", "1e3", "2024-01-31"], "abcde")
    )
    # Of two that are the same truth to YAML 1.1, one would be lost.
    assert config.read_value("{no: a, off: b, Yes: c, on: d, null: e, ~: f}") == dict(
        zip(["no", "off", "Yes", "on", "null", "~"], "abcdef")
    )


@pytest.mark.parametrize("written", ["1e-3", "1e3", "5", "1.5", "yes", "null"])
def test_a_text_in_quotes_is_written_in_quotes(tmp_path, written):
    found = load(tmp_path, of_labels(f"'{written}'").replace(f"{{'{written}': ", "{a: "))
    assert found.window.labels["b"].none_of == {"item_id": (written,)}
    assert load(tmp_path, found.to_yaml()) == found


def test_moments_need_no_quotes(tmp_path):
    text = of_labels("x")
    for written, expected in (
        ("2024-01-31", "2024-01-31T00:00:00+00:00"),
        ("2024-01-31T06:00:00Z", "2024-01-31T06:00:00+00:00"),
        ("2024-01-31 06:00:00.25 -05", "2024-01-31T06:00:00.250000-05:00"),
        ("2024-01-31T06:00:00.123456789+0130", "2024-01-31T06:00:00.123456+01:30"),
    ):
        for one in (written, f"'{written}'"):
            found = load(tmp_path, text, [f"split.test_from={one}", f"window.at=[{one}]"])
            assert found.split.test_from.isoformat() == found.window.at[0].isoformat() == expected
    with pytest.raises(
        errors.InputError, match="split.test_from: takes .* ISO 8601 moment, found '2024-02-30'"
    ):
        load(tmp_path, text, ["split.test_from=2024-02-30"])


def without_a_chain(model, **parts):
    labels = {"like": "liked", "share": "shared"}
    return with_values(
        log={"path": "log.csv", "columns": {"label": labels}},
        window={"kind": "exposure", "steps": list(labels), "chain": False},
        model=model,
        **parts,
    )


@pytest.mark.parametrize(
    "model",
    [
        {"name": "mlp"},
        {"name": "omoe"},
        {"name": "mmoe"},
        {"name": "ple"},
        {"name": "bpcm", "conversion": False, "calibrator": 0},
    ],
    ids=lambda model: model["name"],
)
def test_models_that_need_no_chain(tmp_path, model):
    experiment = load(tmp_path, without_a_chain(model))
    assert not experiment.window.chain
    assert load(tmp_path, experiment.to_yaml()) == experiment


@pytest.mark.parametrize(
    "model, words",
    [
        (
            {"name": "esmm"},
            "it multiplies the chances of the steps before; mlp, omoe, mmoe and ple need no chain",
        ),
        (
            {"name": "aitm", "calibrator": 0},
            "each step gets what the one before passes on; mlp, omoe, mmoe and ple need no chain",
        ),
        (
            {"name": "bpcm"},
            "conversion passes on from each step to the next and calibrator: 0.6 weighs violations of their order; "
            "without a chain set model.conversion: false and model.calibrator: 0",
        ),
        (
            {"name": "bpcm", "calibrator": 0},
            "conversion passes on from each step to the next; without a chain set model.conversion: false",
        ),
        (
            {"name": "bpcm", "conversion": False},
            "calibrator: 0.6 weighs violations of their order; without a chain set model.calibrator: 0",
        ),
    ],
    ids=["esmm", "aitm", "bpcm", "bpcm-conversion", "bpcm-calibrator"],
)
def test_models_that_are_built_on_a_chain(tmp_path, model, words):
    with pytest.raises(errors.InputError) as caught:
        load(tmp_path, without_a_chain(model))
    start = f"model {model['name']} needs window.chain: true, found false: "
    assert str(caught.value).endswith(start + words)
    # The same of a chain is fine.
    assert load(tmp_path, without_a_chain(model), ["window.chain=true"]).window.chain


def test_a_search_cannot_try_what_needs_a_chain(tmp_path):
    """A trial knows nothing of the windows, so that it would be trained."""
    fitting = {"name": "bpcm", "conversion": False, "calibrator": 0}
    for key, values in (("model.conversion", [False, True]), ("model.calibrator", {"low": 0.0, "high": 1.0})):
        tuning = {"space": {"model.dim": [8, 16], key: values}}
        with pytest.raises(errors.InputError, match=r"tuning\.space: .*model bpcm needs window\.chain: true"):
            load(tmp_path, without_a_chain(fitting, tuning=tuning))
        assert load(tmp_path, without_a_chain(fitting, tuning=tuning), ["window.chain=true"]).tuning
    tuning = {"space": {"model.dim": [8, 16]}}
    assert load(tmp_path, without_a_chain(fitting, tuning=tuning)).tuning
    # Values that do not go together, whatever the windows, are left to the search.
    tuning = {"space": {"model.attention": [True, False], "model.aggregation": [True, False]}}
    assert load(tmp_path, without_a_chain(fitting, tuning=tuning)).tuning


def test_weights_are_of_steps_and_labels_that_the_window_has(tmp_path):
    of_rows = without_a_chain({"name": "mlp"})
    of_periods = with_values(**{**model("byb_labels"), "window": LABELS})
    for values, known, names_of in ((of_rows, "share", "like, share"), (of_periods, "back", "back")):
        assert load(tmp_path, values, [f"loss.weights={{{known}: 2}}", "loss.name=step_bce"])
        words = rf"loss\.weights: the window has no step or label 'baack'; it has {names_of}$"
        with pytest.raises(errors.InputError, match=words):
            load(tmp_path, values, ["loss.weights={baack: 2}", "loss.name=step_bce"])
        with pytest.raises(errors.InputError, match=rf"tuning\.space: {words}"):
            load(tmp_path, {**values, "tuning": {"space": {"loss.weights.baack": [1, 2]}}})
        assert load(tmp_path, {**values, "tuning": {"space": {f"loss.weights.{known}": [1.0, 2.0]}}}).tuning


def test_a_search_over_optimizers_names_a_rate_for_gradient_descent(tmp_path):
    """A trial has the default as if it were given, which is Adam's."""
    tuning = {"space": {"training.optimizer": ["adam", "sgd"]}}
    with pytest.raises(
        errors.InputError, match=r"tuning\.space\.training\.optimizer: sgd needs training\.learning_rate"
    ):
        load(tmp_path, without_a_chain({"name": "mlp"}, tuning=tuning))
    assert load(
        tmp_path, without_a_chain({"name": "mlp"}, tuning=tuning), ["training.learning_rate=0.1"]
    ).tuning
    tuning["space"]["training.learning_rate"] = [0.01, 0.1]
    assert load(tmp_path, without_a_chain({"name": "mlp"}, tuning=tuning)).tuning


def test_an_order_is_neither_gated_nor_repaired_without_a_chain(tmp_path):
    for change, words in (
        ("gate.max.chain_violations=0.1", "gate.max: found chain_violations, which is not measured"),
        ("window.inconsistent=fill", "inconsistent says what becomes of a later step without an earlier one"),
        ("window.keep_negatives=0.5", "keep_negatives below 1 needs chain: true"),
    ):
        with pytest.raises(errors.InputError, match=words):
            load(tmp_path, without_a_chain({"name": "mlp"}), [change])
    with pytest.raises(errors.InputError, match="window.chain: unknown key"):
        load(tmp_path, GOOD, ["window.chain=false"])


def test_exposures_have_a_schema_of_their_own(tmp_path):
    columns = {"label": {"click": "clicked"}, "user": {"age": {"column": "age", "type": "numeric"}}}
    experiment = load(tmp_path, GOOD).model_copy(
        update={
            "log": spec.LogSpec.from_values({"path": "log.csv", "columns": columns}),
            "window": ExposureWindow(kind="exposure", steps=("click",), history=5),
            "validation": config.ValidationSpec(max_skew=0.4),
        }
    )
    path = window_schema.write(experiment, str(tmp_path / "schema"))
    schema = text_format.Parse(pathlib.Path(path).read_text(), schema_pb2.Schema())
    found = {feature.name: feature for feature in schema.feature}
    assert {"label_click", "user_age", names.HISTORY_ITEM_ID, *names.SLICES} <= set(found)
    assert names.TARGET_ITEM_ID not in found and names.HISTORY_BEHAVIOR not in found
    assert found["user_age"].skew_comparator.jensen_shannon_divergence.threshold == 0.4


def test_the_trainer_gets_the_loop(tmp_path):
    """By way of TFX's custom config, as the other parts."""
    found = load(tmp_path, with_values(loop={"name": "tp", "inner_steps": 3, "discriminator_hidden": [8, 4]}))
    assert found.loop.discriminator_hidden == (8, 4)
    sent = found.trainer.pack()
    assert trainer_config.TrainerSettings.unpack(sent) == found.trainer
    assert load(tmp_path, GOOD).trainer.loop.name == "fit"
    # Windows are short for an adversary alone that is shown so many of their events.
    for short in ({"adversary": 0}, {"adversary_events": None}, {"adversary_events": 4}):
        assert (
            load(tmp_path, with_values(loop={"name": "tp", **short}, window={"length": 4})).window.length == 4
        )


def test_a_search_survives_being_written_out(tmp_path):
    space = {
        "model.dim": [15, 16],  # the first goes with no even number of heads, which a trial finds out
        "training.learning_rate": {"low": 0.0003, "high": 0.01, "log": True},
        "model.dropout": {"low": 0.1, "high": 0.5, "step": 0.1},
        "training.xla": [True, False],
    }
    found = load(tmp_path, with_values(tuning={"trials": 7, "space": space, "training": {"epochs": 2}}))
    assert found.tuning.space["model.dim"].choices == (15, 16)
    assert found.tuning.space["training.learning_rate"].low == 0.0003
    assert found.tuning.training.epochs == 2 and found.tuning.training.patience is None
    assert load(tmp_path, found.to_yaml()) == found
    assert load(tmp_path, with_values(tuning={"space": space}), ["tuning=null"]).tuning is None


def test_moments_are_utc_unless_they_say_otherwise():
    split = spec.SplitSpec.from_values({"eval_from": "2020-01-01", "test_from": "2020-01-01T01:30:00+01:00"})
    assert split.test_from.timestamp() - split.eval_from.timestamp() == 1800
    assert spec.SplitSpec.from_json(split.to_json()) == split


@pytest.mark.parametrize("name", config.shipped_names())
def test_shipped_experiments_load_and_survive_being_written_out(name, tmp_path):
    found = config.load(config.find(name))
    assert found.name == name
    with open(config.find(name), encoding="utf-8") as stream:
        assert stream.readline().startswith("# ")
    assert load(tmp_path, found.to_yaml()) == found


def test_an_unknown_experiment_lists_those_that_are_there():
    with pytest.raises(errors.InputError, match="ml100k-popularity, ml100k-sasrec"):
        config.find("nothing")


def test_the_experiment_on_exposures_in_the_docs_is_the_one_that_is_shipped(request, tmp_path):
    name = "exposures-example"
    page = (request.config.rootpath / "docs" / "windows.md").read_text(encoding="utf-8")
    (block,) = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.S) if f"name: {name}\n" in text]
    (tmp_path / "mine.yaml").write_text(block)
    assert config.load(str(tmp_path / "mine.yaml")) == config.load(config.find(name))


def test_numbers_may_be_written_as_in_yaml_1_2(tmp_path):
    found = load(tmp_path, with_values(training={"epochs": 2}), ["training.learning_rate=1e-3"])
    assert found.training.learning_rate == 0.001
    (tmp_path / "latin.yaml").write_bytes("name: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(errors.InputError, match="latin.yaml: not UTF-8"):
        config.load(str(tmp_path / "latin.yaml"))


def test_the_error_rate_of_comparisons_is_checked():
    assert config.ValidationSpec().error_rate == 0.01
    assert config.ValidationSpec.from_values({"error_rate": None}).error_rate is None
    for wrong in (-0.1, 0.5, "low"):
        with pytest.raises(pydantic.ValidationError, match="error_rate"):
            config.ValidationSpec.from_values({"error_rate": wrong})


def test_times_of_a_run_are_read_again_as_they_were():
    """In seconds: whole numbers without a unit are refused in what a person writes alone."""
    values = {
        "name": "mine",
        "log": {"path": "log.csv"},
        "window": {"kind": "period", "past": "30d", "future": "1.5h", "stride": "90m"},
        "model": {"name": "dspnet"},
    }
    values["log"]["columns"] = {"scene": "scene"}
    first = config.Experiment.from_values(values)
    assert (first.window.past, first.window.future, first.window.stride) == (30 * 86_400, 5400, 5400)
    written = first.to_yaml()
    assert "past: 2592000.0\n" in written
    assert config.Experiment.from_values(yaml.safe_load(written)) == first


def test_what_an_alias_repeats_is_changed_in_one_place(tmp_path):
    text = (
        "name: mine\nlog: {path: log.csv}\nmodel: {name: sasrec, dim: 8}\n"
        "training: &t {epochs: 7}\ntuning: {space: {model.dim: [8, 16]}, training: *t}\n"
    )
    found = load(tmp_path, text, ["training.epochs=50"])
    assert found.training.epochs == 50 and found.tuning.training.epochs == 7
