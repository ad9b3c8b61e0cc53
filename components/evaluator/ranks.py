"""From ranks to ranking metrics: of each model and floor, their differences, and what the gate sees of these.

A rank is all that a ranking metric of a single relevant item needs, so the report's memory
does not grow with the catalogue: see `schemas.ranks`. With the rank among what the user has not met, and the number of these,
the same metrics are given of a sampled ranking: see `sampled`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_model_analysis as tfma

from components.evaluator import gating, sampled, spec
from schemas import names
from schemas import ranks as rank_lib

LIFT_PREFIX = "lift/"
EXAMPLE_COUNT = "example_count"
# Shares of targets that cannot be recommended, and why.
UNREACHABLE_PREFIX = "unreachable/"
UNREACHABLE = {"catalogue": names.NOT_IN_CATALOGUE, "seen": names.LEFT_OUT}
# Of a ranking among candidates: another reason, which share of targets are candidates, and how many these are.
CANDIDATES = "candidates"
NO_CANDIDATE = {CANDIDATES: names.NOT_A_CANDIDATE}
CANDIDATES_PREFIX = f"{CANDIDATES}/"
SHARE, SIZE = "share", "size"


def metric_values(
    ranks: np.ndarray,
    cutoffs: Sequence[int],
    sampled_negatives: int | None = None,
    unmet: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The base metrics of each example.

    Args:
      ranks: `[B]`, 1 is best; infinity is a miss at any cutoff.
      cutoffs: the K's.
      sampled_negatives: give the sampled metrics, too.
      unmet: for the sampled metrics only: the targets' ranks `[B]` among what the users have not met, and how
        many these are, `[B]`, the target included; no numbers where a model does not tell, as the metrics then are.

    Returns:
      float64 `[B, M]`, columns as in `spec.ranking_metrics`.

    Raises:
      ValueError: if sampled metrics are wanted and `unmet` is missing.
    """
    full = rank_lib.values(ranks, cutoffs)
    if sampled_negatives is None:
        return full
    if unmet is None:
        raise ValueError(
            f"metrics among {sampled_negatives} negatives need ranks among what these are drawn from"
        )
    drawn = sampled.expected_values(*unmet, sampled_negatives, lambda r: rank_lib.values(r, cutoffs))
    drawn[np.isnan(unmet[0])] = np.nan
    return np.concatenate([full, drawn], axis=1)


def metric_key(name: str, model_name: str, is_diff: bool = False) -> tfma.metrics.MetricKey:
    # Without a mark of weighting, as the keys that MetricsSpec.thresholds looks for.
    return tfma.metrics.MetricKey(name, model_name=model_name, example_weighted=None, is_diff=is_diff)


def lost_of(gate: gating.Gate, baseline: str, value: float) -> dict[tfma.metrics.MetricKey, float]:
    """What TFMA divides the gate's drops by, on the whole split and on slices, from the baseline's metric."""
    found = gate.reference(value)
    return {
        metric_key(prefix + gate.metric, baseline): found
        for prefix in (gating.GATE_PREFIX, gating.SLICE_PREFIX)
    }


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is taken of a model's answer, in this order: its rank, those of floors, the same among what the user has not
    met and the number of these, the size of its candidate set, and why the target is unreachable.

    Attributes:
      floors: names of `spec.FLOOR_RANKS`; of a baseline none: the candidate's are on the same examples.
      sampled: whether ranks among what the user has not met are wanted, and their number.
      period: the K's of the metrics of all items of a period, which follow for the model and each floor; none
        where there is no period.
      scenes: whether the ranks of the target's scene follow after those, of the model and each floor.
      among: whether the ranking is among candidates, and the size of their set is wanted.
      may_be_old: whether a model that cannot tell the ranks for `sampled` gives what is no number, as a live one may.
    """

    floors: tuple[str, ...]
    sampled: bool
    period: tuple[int, ...] = ()
    scenes: bool = False
    among: bool = False
    may_be_old: bool = False

    @property
    def rankings(self) -> int:
        """How many ranks a target has: the model's, and those of floors."""
        return 1 + len(self.floors)

    @property
    def single(self) -> int:
        """How many values are of the single target."""
        return self.rankings + self.sampled * (self.rankings + 1) + self.among + 1

    @property
    def width(self) -> int:
        """How many values these are."""
        return self.single + self.rankings * (len(spec.period_metrics(self.period)) + self.scenes)

    def of(self, outputs: Any) -> list[float]:
        """The values of one example; ranks are infinite for a target that cannot be recommended.

        Raises:
          ValueError: if the signature gives something else.
        """
        ranked = (names.RANK, *(spec.FLOOR_RANKS[floor] for floor in self.floors))
        of_period = tuple(names.of_period(name) for name in ranked) if self.period else ()
        sets = (names.CANDIDATE_SET,) if self.among else ()
        _check((*ranked, *sets, *of_period), outputs)
        # A model from before this was told ranks what it can recommend alone.
        has_size = _has(outputs, names.CATALOGUE_SIZE)
        size = _number(outputs, names.CATALOGUE_SIZE) if has_size else np.inf
        values = [_rank(outputs, key, size) for key in ranked]
        if self.sampled:
            among = {key: rank_lib.among_unmet(key, outputs) for key in (*ranked, names.CANDIDATES)}
            lacking = [names.of_unmet(key) for key, found in among.items() if found is None]
            if lacking and self.may_be_old:
                values += [np.nan] * len(among)
            else:
                _check(lacking, outputs, " (evaluation.sampled_negatives needs it)")
                count = among.pop(names.CANDIDATES)
                values += [_rank(outputs, key, size) for key in among.values()] + [_number(outputs, count)]
        values.extend(_number(outputs, key) for key in sets)
        if _has(outputs, names.UNREACHABLE):
            values.append(_number(outputs, names.UNREACHABLE))
        else:
            # Of a model from before this was told.
            values.append(names.NOT_IN_CATALOGUE if np.isinf(values[0]) else names.REACHABLE)
        for key in of_period:
            given = np.asarray(outputs[key]).reshape(-1)
            items = rank_lib.or_infinite(given[given != names.NO_ITEM_RANK], size)
            if not len(items) or items.min() < 1:
                raise ValueError(f"{key} has ranks from 1 on of at least one item, found {given.tolist()}")
            values.extend(rank_lib.set_values(items, self.period).tolist())
        if self.scenes:
            values.extend(_scene_ranks(outputs, ranked))
        return values


def _check(wanted: Sequence[str], outputs: Any, why: str = "") -> None:
    missing = [key for key in wanted if not _has(outputs, key)]
    if missing:
        found = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise ValueError(f"the evaluate signature must give {' and '.join(missing)}{why}, found {found}")


def _rank(outputs: Any, key: Any, size: float) -> float:
    rank = _number(outputs, key)
    if rank < 1:
        raise ValueError(f"ranks start at 1, the evaluate signature gave {key} {rank:g}")
    return float(rank_lib.or_infinite(rank, size))


def _scene_ranks(outputs: Any, ranked: Sequence[str]) -> list[float]:
    """The ranks of the target's scene; not a number of a live model that ranks none."""
    if not _has(outputs, names.of_scene(names.RANK)):
        return [np.nan] * len(ranked)
    size = _number(outputs, names.of_scene(names.CATALOGUE_SIZE))
    return [float(rank_lib.or_infinite(_number(outputs, names.of_scene(name)), size)) for name in ranked]


def _has(outputs: Any, key: str) -> bool:
    return isinstance(outputs, dict) and key in outputs


def _number(outputs: Any, key: str) -> float:
    return float(np.asarray(outputs[key]).item())


@dataclasses.dataclass(frozen=True)
class _Block:
    """Columns of one model: its metrics, those of each floor, its lifts over each, shares of unreachable targets,
    its metrics minus the baseline's, and the candidates. All but the first are of the models that are no baseline."""

    own: slice
    floors: tuple[slice, ...] = ()
    lifts: tuple[slice, ...] = ()
    unreachable: slice = slice(0, 0)
    change: slice = slice(0, 0)
    candidates: slice = slice(0, 0)


def _of_scenes(ranks: np.ndarray, cutoffs: Sequence[int]) -> np.ndarray:
    """The metrics of next scenes; those of ranks that are no number are none."""
    return np.where(np.isnan(ranks)[:, None], np.nan, rank_lib.values(ranks, cutoffs))


class Columns:
    """Which metrics are computed, of which model, and how they come out of the answers.

    Args:
      model_names: of the models, in the order of an example's answers.
      baseline: the one that the others are compared with, or None.
      cutoffs, sampled_negatives: see `metric_values`.
      floors: of `spec.FLOOR_RANKS`.
      period: whether there are the metrics of all items of a period, too.
      gate: makes the `gate/` and `slice/` results; None: there are none.
      intervals: whether all values have an interval, or only what the gate asks for.
      scenes: whether there are the metrics of the next scene, too.
      among: whether ranks are among candidates; never with `sampled_negatives`.
    """

    def __init__(
        self,
        model_names: Sequence[str],
        baseline: str | None,
        cutoffs: Sequence[int],
        floors: Sequence[str],
        gate: gating.Gate | None,
        sampled_negatives: int | None,
        intervals: bool,
        period: bool = False,
        scenes: bool = False,
        among: bool = False,
    ):
        self._baseline = baseline if baseline in model_names else None
        self._compared = tuple(model for model in model_names if model != self._baseline)
        self._cutoffs, self._floors, self._gate = tuple(cutoffs), tuple(floors), gate
        self._sampled, self._intervals = sampled_negatives, intervals
        self._among, self._unreachable = among, {**UNREACHABLE, **(NO_CANDIDATE if among else {})}
        of_period = self._cutoffs if period else ()
        self._base = (
            *spec.ranking_metrics(self._cutoffs, sampled_negatives),
            *spec.period_metrics(of_period),
            *(spec.scene_metrics(self._cutoffs) if scenes else ()),
        )
        self.asked = {
            model: Asked(
                self._floors if model in self._compared else (),
                sampled_negatives is not None,
                of_period,
                scenes,
                among,
                may_be_old=model not in self._compared,
            )
            for model in model_names
        }
        self.size = 0
        self._blocks = {model: self._block(model) for model in model_names}
        # What is a difference of two metrics, for its standard error.
        self.differences = np.zeros(self.size, bool)
        for block in self._blocks.values():
            for part in (*block.lifts, block.change):
                self.differences[part] = True

    def _take(self, width: int) -> slice:
        self.size += width
        return slice(self.size - width, self.size)

    def _block(self, model: str) -> _Block:
        width = len(self._base)
        own = self._take(width)
        if model not in self._compared:
            return _Block(own)
        return _Block(
            own,
            tuple(self._take(width) for _ in self._floors),
            tuple(self._take(width) for _ in self._floors),
            self._take(len(self._unreachable)),
            self._take(width if self._baseline is not None else 0),
            self._take(2 if self._among else 0),
        )

    def all_keys(self) -> list[tfma.metrics.MetricKey]:
        """Keys of everything that `results` gives."""
        keys = [metric_key(name, model) for model in self._blocks for name in (*self._base, EXAMPLE_COUNT)]
        prefixes = [*(f"{floor}/" for floor in self._floors), *([LIFT_PREFIX] if self._floors else ())]
        for model in self._compared:
            keys += [metric_key(prefix + name, model) for prefix in prefixes for name in self._base]
            keys += [metric_key(UNREACHABLE_PREFIX + name, model) for name in self._unreachable]
            keys += [metric_key(CANDIDATES_PREFIX + name, model) for name in (SHARE, SIZE) if self._among]
            if self._baseline is not None:
                keys += [metric_key(name, model, True) for name in self._base]
            for prefix in (gating.GATE_PREFIX, gating.SLICE_PREFIX) if self._gate else ():
                if self._floors:
                    keys.append(metric_key(prefix + LIFT_PREFIX + self._gate.metric, model))
                if self._baseline is not None:
                    keys.append(metric_key(prefix + self._gate.metric, model, True))
        if self._gate and self._baseline is not None:
            keys += lost_of(self._gate, self._baseline, 0.0)
        return keys

    def values(self, answers: np.ndarray) -> np.ndarray:
        """What `asked` gives of each model, side by side, `[B, ...]`, to the values of each example, `[B, size]`."""
        found = np.empty([len(answers), self.size])
        ends = np.cumsum([asked.width for asked in self.asked.values()])
        for (model, block), all_ in zip(self._blocks.items(), np.split(answers, ends[:-1], axis=1)):
            asked, rankings = self.asked[model], (block.own, *block.floors)
            with_scenes = asked.width - asked.rankings * asked.scenes
            part, of_period, scene_ranks = np.split(all_, [asked.single, with_scenes], axis=1)
            drawn_from = part[:, asked.rankings :]
            for number, (columns, values) in enumerate(
                zip(rankings, np.split(of_period, asked.rankings, axis=1))
            ):
                unmet = (drawn_from[:, number], drawn_from[:, asked.rankings]) if asked.sampled else None
                single = metric_values(part[:, number], self._cutoffs, self._sampled, unmet)
                of_scene = [_of_scenes(scene_ranks[:, number], self._cutoffs)] if asked.scenes else []
                found[:, columns] = np.concatenate([single, values, *of_scene], axis=1)
            for floor, lift in zip(block.floors, block.lifts):
                found[:, lift] = found[:, block.own] - found[:, floor]
            if model in self._compared:
                found[:, block.unreachable] = part[:, -1:] == list(self._unreachable.values())
                if self._among:
                    outside = (names.NOT_IN_CATALOGUE, names.NOT_A_CANDIDATE)
                    found[:, block.candidates] = np.stack([~np.isin(part[:, -1], outside), part[:, -2]], 1)
        if self._baseline is not None:
            for model in self._compared:
                block = self._blocks[model]
                found[:, block.change] = found[:, block.own] - found[:, self._blocks[self._baseline].own]
        return found

    def results(
        self, count: int, means: np.ndarray, errors: np.ndarray, freedom: int
    ) -> dict[tfma.metrics.MetricKey, Any]:
        """What is given of a slice: numbers or, where there is an interval, TFMA's values with one.

        Args:
          count: of the examples.
          means, errors: `[size]`, of `values`, and their standard errors.
          freedom: degrees of freedom of these; 0 if there are none.
        """
        result: dict[tfma.metrics.MetricKey, Any] = {}

        def put(name: str, column: int, model: str, is_diff: bool = False, always: bool = False) -> Any:
            value = gating.Difference(float(means[column]), float(errors[column]), freedom)
            result[metric_key(name, model, is_diff)] = (
                tfma.types.ValueWithTDistribution(*value, value.value)
                if freedom and (self._intervals or always)
                else value.value
            )
            return value

        for model, block in self._blocks.items():
            result[metric_key(EXAMPLE_COUNT, model)] = float(count)
            for number, name in enumerate(self._base):
                put(name, block.own.start + number, model)
                gated = self._gate is not None and name == self._gate.metric
                if gated and model == self._baseline:
                    result.update(lost_of(self._gate, model, float(means[block.own.start + number])))
                for floor, columns in zip(self._floors, block.floors):
                    put(f"{floor}/{name}", columns.start + number, model)
                if block.lifts:
                    best = int(np.argmax([means[columns.start + number] for columns in block.floors]))
                    lift = put(LIFT_PREFIX + name, block.lifts[best].start + number, model, always=gated)
                    if gated:
                        own, floor = (means[of.start + number] for of in (block.own, block.floors[best]))
                        self._add_lift(result, model, lift, count, own, floor)
                if model in self._compared and self._baseline is not None:
                    change = put(name, block.change.start + number, model, True, always=gated)
                    if gated:
                        measured = bool(np.isfinite(means[block.own.start + number]))
                        self._add_drop(result, model, change, count, measured)
            if model in self._compared:
                for number, name in enumerate(self._unreachable):
                    put(UNREACHABLE_PREFIX + name, block.unreachable.start + number, model)
                for number, name in enumerate((SHARE, SIZE) if self._among else ()):
                    put(CANDIDATES_PREFIX + name, block.candidates.start + number, model)
        return result

    def _add_lift(
        self,
        result: dict[Any, Any],
        model: str,
        lift: gating.Difference,
        count: int,
        reached: float,
        floor: float,
    ) -> None:
        name, decides = LIFT_PREFIX + self._gate.metric, count >= self._gate.min_examples
        # Without a single hit there is nothing that could be above a floor.
        shown = self._gate.lift(lift) if reached > 0 else np.nan
        result[metric_key(gating.GATE_PREFIX + name, model)] = shown
        # Where neither hits anything, as among items that training has not met, a slice tells no model from another.
        decides = decides and (reached > 0 or floor > 0)
        result[metric_key(gating.SLICE_PREFIX + name, model)] = self._gate.slice_lift(lift, decides)

    def _add_drop(
        self, result: dict[Any, Any], model: str, change: gating.Difference, count: int, measured: bool
    ) -> None:
        name, decides = self._gate.metric, count >= self._gate.min_examples
        # A live model that has no such metric, as one that ranks no scenes, is none to compare with.
        drop = gating.PASSES_DROP if np.isnan(change.value) and measured else self._gate.drop(change)
        result[metric_key(gating.GATE_PREFIX + name, model, True)] = drop
        result[metric_key(gating.SLICE_PREFIX + name, model, True)] = self._gate.slice_drop(change, decides)
