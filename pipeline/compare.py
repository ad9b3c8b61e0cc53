"""Compares two trained models on the test examples that both have: is B better than A, and how sure is that?

The Evaluator keeps metrics, not ranks or probabilities: the `evaluate` signature of each run's model is
asked again for the rank of every test target (the probabilities of every test exposure), once; the
answer stays beside the run.
"""

import dataclasses
import functools
import gc
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import yaml

from components.evaluator import ranks as rank_metrics
from components.evaluator import sentences, spec, verdict
from pipeline import lineage, paired, paired_scores
from schemas import errors, names
from schemas import text as text_lib

POINT = "point.json"
EXPERIMENT = "experiment.yaml"
_CACHE = "compare"
_CATALOGUE_SIZE = "catalogue_size"
# Outputs of `evaluate` that are kept of windows.
_ASKED = (names.RANK, names.CANDIDATES, _CATALOGUE_SIZE)
# What tells the examples of each kind of window apart.
_KEYS = {
    "next": [names.USER_ID, names.TARGET_ITEM_ID, names.TARGET_TIMESTAMP],
    "exposure": [names.USER_ID, names.ITEM_ID, names.TIMESTAMP],
}
_NOUNS = {"next": "windows", "exposure": "exposures"}
# Scores that are in memory at once: 128 MB of float32.
_SCORES = 1 << 25
_MOST_WINDOWS = 512
_MOST_EXPOSURES = 8192
# What tells the runs of one setting apart.
_NOT_SETTINGS = ("name", "training.seed", "push.destination")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained model and the windows that it was made with.

    Attributes:
      folder: of the run, where its ranks are kept.
      model_uri, examples_uri: of the artifacts of Trainer and BehaviorExampleGen.
      settings: of the experiment, by dotted key.
    """

    folder: str
    model_uri: str
    examples_uri: str
    settings: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Of its windows."""
        return self.settings.get("window.kind") or "next"

    @property
    def steps(self) -> tuple[str, ...]:
        """Of its chain, where it has exposures."""
        return tuple(self.settings.get("window.steps") or ())


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric on one slice; None is what has no value.

    Attributes:
      metric: as `ndcg@10` or `auc/buy`; `relaimpr/buy` is RelaImpr (BPCM, eq. 14) of B over A, in `difference`.
      a, b: means over windows (and over seeds, where there are several).
      a_sd, b_sd: standard deviation of the mean between seeds; None for a single run.
      difference: b - a; `low` and `high` bound its 95 % interval (None where the users have no spread).
      p: two-sided.
    """

    metric: str
    a: float | None
    b: float | None
    a_sd: float | None
    b_sd: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclasses.dataclass(frozen=True)
class SliceRows:
    """All metrics on one slice: pairs of feature and value, empty for all; `windows` counts exposures, too."""

    slice: verdict.Slice
    windows: int
    users: int
    rows: tuple[Row, ...]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
      a, b: the folders of the runs on both sides.
      only_a, only_b: test windows of one side that the other has not; they are left out.
      incomplete: windows that not all runs of a side have; they are left out, too.
      differing: settings of A and B that differ, `(key, A's, B's)`.
      notes: what a reader should know before believing the numbers.
      method: how interval and p value were made.
      slices: all windows first.
      main: the metric that says which is better.
      noun: what is counted, `windows` or `exposures`.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    only_a: int
    only_b: int
    incomplete: int
    differing: tuple[tuple[str, str, str], ...]
    notes: tuple[str, ...]
    method: Mapping[str, Any]
    slices: tuple[SliceRows, ...]
    main: str
    noun: str = "windows"

    def to_json(self) -> str:
        """One line of JSON; a bound that does not exist is null."""
        plain = dataclasses.asdict(self)
        for part in plain["slices"]:
            part["slice"] = dict(part["slice"])
            part["metrics"] = {row.pop("metric"): row for row in part.pop("rows")}
        return json.dumps(plain, ensure_ascii=False, allow_nan=False)


def find_runs(text: str) -> list[Trained]:
    """The runs of an argument: a run's folder, several with commas between, or a folder of runs.

    Raises:
      errors.InputError: if there is no run, or one has no trained model.
    """
    found: list[Trained] = []
    for folder in filter(None, text.split(",")):
        if _is_run(folder):
            found.append(_trained(folder))
            continue
        inside = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        below = [os.path.join(folder, name) for name in inside if _is_run(os.path.join(folder, name))]
        if not below:
            raise errors.InputError(
                f"{folder}: neither the folder of a run ({lineage.METADATA} or {POINT}) nor a folder of such "
                f"folders"
            )
        found.extend(_trained(run) for run in below)
    if not found:
        raise errors.InputError(f"no run is named by {text!r}")
    return found


def _is_run(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in (lineage.METADATA, POINT))


def _trained(folder: str) -> Trained:
    point = os.path.join(folder, POINT)
    if os.path.exists(point):
        with open(point, encoding="utf-8") as stream:
            try:
                uris = json.load(stream)
            except ValueError as error:
                raise errors.InputError(f"{point}: damaged: not JSON ({error})") from error
    else:
        made = {c.id: c.outputs for c in lineage.components(folder, {})}
        wanted = {"model": ("Trainer", "Model"), "examples": ("BehaviorExampleGen", "Examples")}
        uris = {
            key: next((a.uri for a in made.get(component, ()) if a.type == kind), None)
            for key, (component, kind) in wanted.items()
        }
    for key, what in (("model", "trained model"), ("examples", "windows")):
        uri = uris.get(key)
        if not uri:
            raise errors.InputError(f"{folder}: its newest run has left no {what}")
        if "://" not in uri and not os.path.exists(uri):
            raise errors.InputError(f"{folder}: its {what} was at {uri}, where there is nothing now")
    return Trained(folder, uris["model"], uris["examples"], _settings(os.path.join(folder, EXPERIMENT)))


def _settings(path: str) -> dict[str, Any]:
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as stream:
        return flat(yaml.safe_load(stream))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[prefix + key] = value
    return result


def ranks(run: Trained) -> pd.DataFrame:
    """Where the model of a run ranks the target of each of its test windows.

    Asked of the model once; then read from `compare/` in the run's folder.

    Returns:
      A row a window: the key, the slices, `rank` (float64, infinite for a target outside the
      catalogue), `catalogue_size` and, unless the model is too old to tell, `candidates`.

    Raises:
      errors.InputError: if there are no test windows, or the model has no `evaluate` signature.
    """
    return _kept("ranks", run, _ask_ranks)


def probabilities(run: Trained) -> pd.DataFrame:
    """What the model of a run says of each of its test exposures.

    Asked of the model once; then read from `compare/` in the run's folder.

    Returns:
      A row an exposure: the key, the slices, and for each step its probability (by the step's name, float32)
      and `label_STEP` (int64, -1 if unknown).

    Raises:
      errors.InputError: if there are no test exposures, or the model does not answer for the steps.
    """
    return _kept("probabilities", run, _ask_probabilities)


def _kept(name: str, run: Trained, ask: Callable[[str, Trained], pd.DataFrame]) -> pd.DataFrame:
    from tfx.utils import path_utils

    model_dir = path_utils.serving_model_path(run.model_uri)
    path = os.path.join(run.folder, _CACHE, f"{name}-{_fingerprint(model_dir, run.examples_uri)}.parquet")
    if os.path.exists(path):
        return pd.read_parquet(path)
    table = ask(model_dir, run)
    # A loaded model holds itself in cycles: without this, all models of a study stay in memory for long, and
    # those that are there at exit print tracebacks.
    gc.collect()
    os.makedirs(os.path.dirname(path), exist_ok=True)
    partial = f"{path}.{os.getpid()}.tmp"
    table.to_parquet(partial, index=False)
    os.replace(partial, path)
    return table


def _fingerprint(model_dir: str, examples_uri: str) -> str:
    """Of a model, its windows and what is asked; trained again in the same place it is another model."""
    import tensorflow as tf

    stat = tf.io.gfile.stat(os.path.join(model_dir, "saved_model.pb"))
    text = f"{model_dir}\n{stat.length}\n{stat.mtime_nsec}\n{examples_uri}\n{','.join(_ASKED)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _evaluate(model_dir: str, run: Trained) -> tuple[Any, Any, list[str]]:
    """The model (which must outlive its signature), its `evaluate` signature, and the files of test examples."""
    import tensorflow as tf

    from components.evaluator import config

    model = tf.saved_model.load(model_dir)
    if config.SIGNATURE not in model.signatures:
        raise errors.InputError(
            f"{run.folder}: its model has no signature {config.SIGNATURE!r}, only "
            f"{', '.join(sorted(model.signatures))}"
        )
    files = sorted(tf.io.gfile.glob(os.path.join(run.examples_uri, f"Split-{names.TEST}", "*")))
    return model, model.signatures[config.SIGNATURE], files


def _features(kind: str) -> dict[str, Any]:
    """How the key and the slices of an example are read."""
    import tensorflow as tf

    user, item, time = _KEYS[kind]
    text = tf.io.FixedLenFeature([], tf.string, default_value="")
    features = {name: text for name in (user, item, *names.SLICES)}
    features[time] = tf.io.FixedLenFeature([], tf.int64, default_value=0)
    return features


def _as_table(parts: list[dict[str, np.ndarray]], run: Trained) -> pd.DataFrame:
    """The parts of an answer, with text where they have bytes."""
    if not parts:
        raise errors.InputError(f"{run.folder}: no test {_NOUNS[run.kind]} below {run.examples_uri}")
    table = pd.DataFrame({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})
    user, item, _ = _KEYS[run.kind]
    for name in (user, item, *names.SLICES):
        table[name] = table[name].str.decode("utf-8", "replace")
    return table


def _ask_ranks(model_dir: str, run: Trained) -> pd.DataFrame:
    import tensorflow as tf

    model, evaluate, files = _evaluate(model_dir, run)
    features = _features(run.kind)
    windows = tf.data.TFRecordDataset(files, compression_type="GZIP")
    parts: list[dict[str, np.ndarray]] = []
    for first in windows.take(1).batch(1):
        size = int(evaluate(examples=first)[_CATALOGUE_SIZE][0])
        for batch in windows.batch(max(1, min(_MOST_WINDOWS, _SCORES // max(size, 1)))):
            answer = evaluate(examples=batch)
            rank = answer[names.RANK].numpy().astype(np.float64)
            part = {name: values.numpy() for name, values in tf.io.parse_example(batch, features).items()}
            part[names.RANK] = np.where(rank <= size, rank, np.inf)
            part[_CATALOGUE_SIZE] = np.full(len(rank), size)
            if names.CANDIDATES in answer:
                part[names.CANDIDATES] = answer[names.CANDIDATES].numpy()
            parts.append(part)
    del model
    return _as_table(parts, run)


def _ask_probabilities(model_dir: str, run: Trained) -> pd.DataFrame:
    import tensorflow as tf

    model, evaluate, files = _evaluate(model_dir, run)
    missing = [step for step in run.steps if step not in evaluate.structured_outputs]
    if missing or not run.steps:
        raise errors.InputError(
            f"{run.folder}: its model gives {', '.join(sorted(evaluate.structured_outputs))}, not the steps of its "
            f"experiment ({', '.join(run.steps) or 'none'})"
        )
    features = _features(run.kind)
    for step in run.steps:
        features[names.LABEL_PREFIX + step] = tf.io.FixedLenFeature([], tf.int64)
    parts: list[dict[str, np.ndarray]] = []
    for batch in tf.data.TFRecordDataset(files, compression_type="GZIP").batch(_MOST_EXPOSURES):
        answer = evaluate(examples=batch)
        part = {name: values.numpy() for name, values in tf.io.parse_example(batch, features).items()}
        part.update({step: answer[step].numpy() for step in run.steps})
        parts.append(part)
    del model
    return _as_table(parts, run)


def compare(runs_a: Sequence[Trained], runs_b: Sequence[Trained], seed: int = 0) -> Comparison:
    """Compares models, or the means of several models of one setting each.

    Windows are the same where user, target item and time of the target are, exposures where user, item and time
    are. Metrics of a side are means over its runs, before anything is tested.

    Args:
      runs_a, runs_b: of `find_runs`.
      seed: of the resamples.

    Raises:
      errors.InputError: if the two have no test window in common, or windows of different kinds.
    """
    runs = (*runs_a, *runs_b)
    kind = _one_kind(runs)
    answer = ranks if kind == "next" else probabilities
    tables = [_numbered(answer(run), _KEYS[kind]) for run in runs]
    keys = [table.index for table in tables]
    any_a, all_a = _any_and_all(keys[: len(runs_a)])
    any_b, all_b = _any_and_all(keys[len(runs_a) :])
    order = all_a.intersection(all_b).sort_values()
    if not len(order):
        raise errors.InputError(
            f"the runs have no test {_NOUNS[kind][:-1]} in common: "
            f"{', '.join(r.folder for r in runs_a)} has {len(all_a):,}, "
            f"{', '.join(r.folder for r in runs_b)} has {len(all_b):,}; {_NOUNS[kind]} are the same where "
            f"{', '.join(_KEYS[kind])} are"
        )
    tables = [table.loc[order] for table in tables]
    users = pd.factorize(order.get_level_values(names.USER_ID))[0]
    sampling: tuple[str, ...] = ()
    if kind == "next":
        cutoffs = sorted({k for run in runs for k in _cutoffs(run)})
        sampled, sampling = _sampled(runs, tables)
        measured: Any = _Ranks(tables, len(runs_a), users, cutoffs, sampled, seed)
    else:
        measured = _Probabilities(tables, len(runs_a), users, runs[0].steps, seed)
    found = tuple(
        SliceRows(value, int(chosen.sum()), len(np.unique(users[chosen])), measured.rows(chosen))
        for value, chosen in _slices(tables[0])
    )
    differing = _differing(runs_a[0].settings, runs_b[0].settings)
    metric_names = [row.metric for row in found[0].rows]
    main = spec.default_metric(kind)
    return Comparison(
        a=tuple(run.folder for run in runs_a),
        b=tuple(run.folder for run in runs_b),
        only_a=len(all_a.difference(any_b)),
        only_b=len(all_b.difference(any_a)),
        incomplete=len(any_a) - len(all_a) + len(any_b) - len(all_b),
        differing=tuple(differing),
        notes=(*_notes(runs_a, runs_b, tables, differing), *sampling),
        method={
            "interval": "95 %, percentiles of a paired bootstrap over users",
            "p": measured.p_method(),
            "resamples": measured.resamples,
            "seed": seed,
            "groups_of_users": measured.max_units if found[0].users > measured.max_units else None,
            "corrected_for_many_rows": False,
        },
        slices=found,
        main=main if main in metric_names else metric_names[0],
        noun=_NOUNS[kind],
    )


def _one_kind(runs: Sequence[Trained]) -> str:
    """The kind of window of all runs, which have the same steps if they have any."""
    for what, values in (("kinds of window", [r.kind for r in runs]), ("steps", [r.steps for r in runs])):
        if len(set(values)) > 1:
            other = next(index for index, value in enumerate(values) if value != values[0])
            raise errors.InputError(
                f"the runs have different {what}: {runs[0].folder} has {_text(values[0])}, {runs[other].folder} "
                f"has {_text(values[other])}"
            )
    return runs[0].kind


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ", ".join(value)


class _Ranks:
    """Ranking metrics of the runs of both sides on any of their windows.

    Args:
      tables: of `ranks`, with equal rows; those of A come first.
      count_a: how many are A's.
      users: `[W]` int, codes of the windows' users.
      cutoffs: the K's.
      sampled_negatives: of the sampled metrics; None: there are none.
      seed: of the resamples.
    """

    resamples, max_units = paired.RESAMPLES, paired.MAX_UNITS

    def __init__(
        self,
        tables: Sequence[pd.DataFrame],
        count_a: int,
        users: np.ndarray,
        cutoffs: Sequence[int],
        sampled_negatives: int | None,
        seed: int,
    ):
        values = np.stack(
            [
                rank_metrics.metric_values(t[names.RANK], cutoffs, sampled_negatives, t.get(names.CANDIDATES))
                for t in tables
            ]
        )
        self._a, self._b, self._users, self._seed = values[:count_a], values[count_a:], users, seed
        self._names = spec.ranking_metrics(cutoffs, sampled_negatives)
        self._any_exact = False

    def rows(self, chosen: np.ndarray) -> tuple[Row, ...]:
        """Of the chosen windows, `[W]` bool."""
        found, exact = _rows(
            self._a[:, chosen], self._b[:, chosen], self._users[chosen], self._names, self._seed
        )
        self._any_exact |= exact
        return found

    def p_method(self) -> str:
        """How the p values of the rows were made."""
        return "two-sided, paired randomisation (sign-flip) over users" + (
            ", all assignments where users are few" if self._any_exact else ""
        )


class _Probabilities:
    """Metrics of exposures of the runs of both sides; see `_Ranks`.

    Raises:
      errors.InputError: if the runs do not have the same labels.
    """

    resamples, max_units = paired_scores.RESAMPLES, paired_scores.MAX_UNITS

    def __init__(
        self, tables: Sequence[pd.DataFrame], count_a: int, users: np.ndarray, steps: Sequence[str], seed: int
    ):
        columns = [names.LABEL_PREFIX + step for step in steps]
        self._labels = tables[0][columns].to_numpy()
        for table in tables[1:]:
            differing = int((table[columns].to_numpy() != self._labels).any(axis=1).sum())
            if differing:
                raise errors.InputError(
                    f"{differing:,} of {len(users):,} exposures have other labels in one run than in another: their "
                    f"windows know of other events (horizon, censored, inconsistent)"
                )
        values = np.stack([table[list(steps)].to_numpy() for table in tables])
        self._a, self._b = values[:count_a], values[count_a:]
        self._users, self._steps, self._seed = users, tuple(steps), seed

    def rows(self, chosen: np.ndarray) -> tuple[Row, ...]:
        """Of the chosen exposures, `[N]` bool."""
        codes = np.unique(self._users[chosen], return_inverse=True)[1]
        found = paired_scores.compare(
            self._a[:, chosen], self._b[:, chosen], self._labels[chosen], codes, self._steps, self._seed
        )
        return tuple(self._row(name, one) for name, one in found.items())

    def _row(self, name: str, found: paired_scores.Difference) -> Row:
        bounded = found.low < found.high
        return Row(
            metric=name,
            a=_number(found.a.mean()) if len(found.a) else None,
            b=_number(found.b.mean()) if len(found.b) else None,
            a_sd=_number(found.a.std(ddof=1)) if len(found.a) > 1 else None,
            b_sd=_number(found.b.std(ddof=1)) if len(found.b) > 1 else None,
            difference=_number(found.difference),
            low=found.low if bounded else None,
            high=found.high if bounded else None,
            p=_number(found.p),
        )

    def p_method(self) -> str:
        """How the p values of the rows were made."""
        return "two-sided, of the same bootstrap: twice the smaller share of resamples on one side of zero"


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _any_and_all(keys: Sequence[pd.MultiIndex]) -> tuple[pd.MultiIndex, pd.MultiIndex]:
    """The keys that any, and those that all of the runs have."""
    return (
        functools.reduce(lambda found, other: found.union(other), keys),
        functools.reduce(lambda found, other: found.intersection(other), keys),
    )


def _numbered(table: pd.DataFrame, key: Sequence[str]) -> pd.DataFrame:
    """Examples by their key; those with an equal key are told apart by their order."""
    table = table.assign(occurrence=table.groupby(list(key), sort=False).cumcount())
    return table.set_index([*key, "occurrence"])


def _cutoffs(run: Trained) -> Sequence[int]:
    return run.settings.get("evaluation.cutoffs") or spec.EvaluationSpec().cutoffs


def _sampled(runs: Sequence[Trained], tables: Sequence[pd.DataFrame]) -> tuple[int | None, tuple[str, ...]]:
    """How many negatives the sampled metrics have (None: there are none of these), and notes on it."""
    asked = {run.settings.get("evaluation.sampled_negatives") for run in runs} - {None}
    if not asked:
        return None, ()
    silent = [run.folder for run, table in zip(runs, tables) if names.CANDIDATES not in table]
    if len(asked) > 1:
        why = f"the runs ask for {' and '.join(map(str, sorted(asked)))} negatives"
    elif silent:
        why = f"the model of {', '.join(silent)} does not tell how many candidates it ranks; train it anew"
    else:
        (negatives,) = asked
        return negatives, (
            f"{spec.SAMPLED_PREFIX}{negatives} metrics rank among {negatives} other candidates drawn at "
            f"random: expected values, only for comparison with papers that report those.",
        )
    return None, (f"Sampled metrics are left out: {why}.",)


def _slices(first: pd.DataFrame) -> list[tuple[verdict.Slice, np.ndarray]]:
    """Each slice, and which windows are in it, `[W]` bool; the slices are A's."""
    found: list[tuple[verdict.Slice, np.ndarray]] = [(verdict.OVERALL, np.ones(len(first), bool))]
    for feature in names.SLICES:
        of_windows = first[feature].to_numpy()
        for value in sorted(set(of_windows) - {""}, key=verdict.value_order):
            found.append((((feature, value),), of_windows == value))
    return found


def _rows(
    a: np.ndarray, b: np.ndarray, users: np.ndarray, metric_names: Sequence[str], seed: int
) -> tuple[tuple[Row, ...], bool]:
    """The metrics of one slice: `[runs, W, M]` of both sides and `[W]` users."""
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    codes = np.unique(users, return_inverse=True)[1]
    result = paired.compare(mean_b - mean_a, codes, seed)
    sd_a, sd_b = _between(a), _between(b)
    rows = []
    for index, name in enumerate(metric_names):
        low, high = float(result.low[index]), float(result.high[index])
        # Equal differences (no hit at all, say) tell nothing about their spread.
        bounded = low < high
        rows.append(
            Row(
                metric=name,
                a=float(mean_a[:, index].mean()),
                b=float(mean_b[:, index].mean()),
                a_sd=None if sd_a is None else float(sd_a[index]),
                b_sd=None if sd_b is None else float(sd_b[index]),
                difference=float(result.difference[index]),
                low=low if bounded else None,
                high=high if bounded else None,
                p=float(result.p[index]),
            )
        )
    return tuple(rows), result.exact


def _between(values: np.ndarray) -> np.ndarray | None:
    """Standard deviation of the mean between runs: `[runs, W, M]` to `[M]`."""
    return values.mean(axis=1).std(axis=0, ddof=1) if len(values) > 1 else None


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    keys = [key for key in dict.fromkeys((*a, *b)) if key not in _NOT_SETTINGS]
    shown = {key: tuple(str(side[key]) if key in side else "–" for side in (a, b)) for key in keys}
    return [(key, left, right) for key, (left, right) in shown.items() if left != right]


def _notes(
    runs_a: Sequence[Trained],
    runs_b: Sequence[Trained],
    tables: Sequence[pd.DataFrame],
    differing: Sequence[tuple[str, str, str]],
) -> list[str]:
    notes = []
    for side, runs in (("A", runs_a), ("B", runs_b)):
        keys = {key for run in runs[1:] for key, _, _ in _differing(runs[0].settings, run.settings)}
        if keys:
            notes.append(f"The runs of {side} differ in more than their seed: {', '.join(sorted(keys))}.")
        seeds = [run.settings.get("training.seed") for run in runs]
        if len(runs) > 1 and len(set(seeds)) < len(seeds):
            notes.append(f"Several runs of {side} have the same seed.")
    if any(key == "evaluation.exclude_seen" for key, _, _ in differing):
        notes.append("Only one side leaves seen items out of the ranking: the ranks do not mean the same.")
    sizes = sorted({int(table[_CATALOGUE_SIZE].iloc[0]) for table in tables if _CATALOGUE_SIZE in table})
    if len(sizes) > 1:
        notes.append(
            f"The catalogues differ ({', '.join(f'{n:,}' for n in sizes)} items): ranks are among as many."
        )
    if len(runs_a) + len(runs_b) > 2:
        notes.append(
            "Interval and p value tell how the difference of these trained models varies between users; "
            "± is the standard deviation between seeds."
        )
    return notes


def table(found: Comparison) -> str:
    """The comparison as text for a terminal."""
    lines = [_side("A", found.a), _side("B", found.b)]
    lines += [f"   {key}: {a} -> {b}" for key, a, b in found.differing]
    overall = found.slices[0]
    lines.append(
        f"{overall.windows:,} test {found.noun} of {overall.users:,} users in both; only in A {found.only_a:,}, "
        f"only in B {found.only_b:,}"
        + (f", not in all runs of a side {found.incomplete:,}" if found.incomplete else "")
    )
    lines += found.notes
    header = ("", "A", "B", "B - A", "95 % interval", "p")
    cells: list[tuple[str, ...]] = []
    for part in found.slices:
        title = f"{sentences.slice_name(part.slice)}: {part.windows:,} {found.noun}, {part.users:,} users"
        cells.append((title,))
        for row in part.rows:
            interval = "–" if row.low is None else f"[{row.low:+.4f}, {row.high:+.4f}]"
            cells.append(
                (
                    f"  {row.metric}",
                    _mean(row.a, row.a_sd),
                    _mean(row.b, row.b_sd),
                    "–" if row.difference is None else f"{row.difference:+.4f}",
                    interval,
                    "–" if row.p is None else f"{row.p:.4f}",
                )
            )
    widths = [max(len(row[i]) for row in (header, *cells) if len(row) > 1) for i in range(len(header))]
    lines.append("")
    for row in (header, *cells):
        text = "  ".join(
            cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))
        )
        lines.append(row[0] if len(row) == 1 else text.rstrip())
    method = found.method
    lines += ["", f"Interval: {method['interval']}. p: {method['p']}.", _small_print(method)]
    # A line break in a name makes no line of its own.
    return "\n".join(map(text_lib.visible, lines))


def _small_print(method: Mapping[str, Any]) -> str:
    groups = f"users in {method['groups_of_users']:,} random groups, " if method["groups_of_users"] else ""
    return (
        f"{groups}{method['resamples']:,} resamples, seed {method['seed']}; p is not corrected for the number of "
        f"rows."
    )


def _side(name: str, folders: Sequence[str]) -> str:
    return f"{name}: {side_name(folders)}" + (f" ({len(folders)} runs)" if len(folders) > 1 else "")


def side_name(folders: Sequence[str]) -> str:
    """The runs of a side in few words: what they share is said once."""
    parents = {os.path.dirname(os.path.normpath(folder)) for folder in folders}
    if len(folders) == 1 or len(parents) > 1:
        return ", ".join(folders)
    return f"{parents.pop()}: {', '.join(os.path.basename(os.path.normpath(folder)) for folder in folders)}"


def _mean(value: float | None, deviation: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if deviation is None else f"{value:.4f} ± {deviation:.4f}"


def page(found: Comparison) -> str:
    """The comparison as one HTML page that asks for nothing else."""
    import datetime

    from pipeline import report

    metric_names = [row.metric for row in found.slices[0].rows]
    overall = next(row for row in found.slices[0].rows if row.metric == found.main)
    return report.render(
        "compare_template.html",
        "",
        {
            "found": found,
            "sides": (side_name(found.a), side_name(found.b)),
            "overall": found.slices[0],
            "main": overall,
            "status": _status(overall),
            "panels": [_panel(found, index, report.ticks) for index in range(len(metric_names))],
            "small_print": _small_print(found.method),
            "written": datetime.datetime.now(datetime.timezone.utc),
        },
    )


def _status(row: Row) -> dict[str, str]:
    """The main metric in one sentence; `kind` colours it."""
    name = row.metric.upper()
    if row.low is None or row.low <= 0 <= row.high or row.p >= 1 - paired.LEVEL:
        return {"kind": "open", "label": "No clear difference", "title": f"{name} of A and B may be equal"}
    better = (row.difference > 0) != spec.lower_is_better(row.metric)
    side, other = ("B", "A") if better else ("A", "B")
    return {
        "kind": "good" if better else "bad",
        "label": f"{side} is better",
        "title": f"{name} of {side} is above {other}'s",
    }


def _panel(found: Comparison, index: int, ticks: Any) -> dict[str, Any]:
    """One metric by slice: geometry of the differences and their intervals, 960 wide."""
    left, right, top, row_height = 250.0, 930.0, 16.0, 32.0
    parts = [(part, part.rows[index]) for part in found.slices]
    bounds = [bound for _, row in parts for bound in (row.difference, row.low, row.high) if bound is not None]
    bounds = bounds or [0.0]
    marked = ticks(min(0.0, *bounds), max(0.0, *bounds), 7)
    scale = (right - left) / (marked[-1] - marked[0])

    def x(value: float) -> float:
        return round(left + (value - marked[0]) * scale, 1)

    rows = [
        {
            "name": sentences.slice_name(part.slice),
            "part": part,
            "row": row,
            "x": None if row.difference is None else x(row.difference),
            "low": None if row.low is None else x(row.low),
            "high": None if row.high is None else x(row.high),
            "y": top + row_height * (number + 0.5),
        }
        for number, (part, row) in enumerate(parts)
    ]
    bottom = top + row_height * len(rows)
    return {
        "metric": parts[0][1].metric,
        "title": parts[0][1].metric.upper(),
        "better": "left" if spec.lower_is_better(parts[0][1].metric) else "right",
        "rows": rows,
        "ticks": [(x(tick), f"{tick:+g}" if tick else "0") for tick in marked],
        "zero": x(0.0),
        "top": top,
        "bottom": bottom,
        "height": bottom + 30,
        "row_height": row_height,
    }
