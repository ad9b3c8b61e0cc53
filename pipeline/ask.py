"""What `footfall predict` does: reads histories or exposures, asks a model and writes its answers."""

import argparse
import dataclasses
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from schemas import errors, figures, names, pushed, versions
from serving import address as address_lib

_MAX_K = (1 << 31) - 1
# Of the values that a model does not know.
_NAMED = 10
# Of what was asked, in an error: so many characters.
_SHOWN = 60
# Between a file and a number, in a place.
_LINE = "line"
# Of an embedding that is printed for a person.
_DIMENSIONS = 8


def predict(options: argparse.Namespace) -> int:
    """Asks the model of the command line; see `cli.serve` for its options."""
    if not 1 <= options.k <= _MAX_K:
        raise errors.InputError(f"-k takes a number from 1 to {_MAX_K}, found {options.k}")
    # argparse demands one of the options.
    given = next(
        way for way in ASKING.values() if any(getattr(options, name) is not None for name in way.options)
    )
    options.now = _moment(options.now, options.model)
    asked, places = given.read(options)
    if not os.path.exists(options.model) and _may_be_address(options.model):
        try:
            address = address_lib.check(options.model)
        except ValueError as error:
            raise errors.InputError(f"{error} (Nor is there such a folder.)") from error
        return _ask(address, options, given, asked, places)
    folder = model_dir(options.model)
    _import_tensorflow()
    from serving import server

    with server.Server(folder, options.name) as embedded:
        return _ask(f"127.0.0.1:{embedded.grpc_port}", options, given, asked, places)


def _may_be_address(text: str) -> bool:
    """Whether this is meant as an address; a name without a colon that is no folder may be a host."""
    return ":" in text or os.sep not in text


def model_dir(path: str) -> str:
    """A folder with versions: the path itself, or where its run pushes.

    Raises:
      errors.InputError: if there is none.
    """
    if _has_versions(path):
        return path
    destination = _destination(path)
    if destination is not None:
        if _has_versions(destination):
            return destination
        raise errors.InputError(f"{path}: no version of a model there; this run pushes to {destination}")
    own = os.path.join(path, pushed.SERVING)
    found = [os.path.join(own, name) for name in (sorted(os.listdir(own)) if os.path.isdir(own) else ())]
    if len(found) == 1:
        return found[0]
    raise errors.InputError(
        f"{path}: no version of a model there; a run pushes to serving/NAME when its model is blessed"
    )


def _has_versions(path: str) -> bool:
    return bool(os.path.isdir(path) and versions.found(os.listdir(path)))


def _destination(run_dir: str) -> str | None:
    """`push.destination` of a run's experiment; None where it has none, or cannot be read."""
    return pushed.destination(_experiment(run_dir))


def _experiment(run_dir: str) -> str:
    """The text of a run's experiment; nothing where it cannot be read."""
    try:
        with open(os.path.join(run_dir, pushed.EXPERIMENT), encoding="utf-8") as stream:
            return stream.read()
    except (OSError, ValueError):
        return ""


def _import_tensorflow() -> None:
    from pipeline import progress

    progress.import_tensorflow()


def _ask(
    address: str, options: argparse.Namespace, given: "Asking", asked: list[Any], places: list[str]
) -> int:
    _import_tensorflow()
    import grpc

    from serving import client as client_lib
    from serving import training_times

    def warn(text: str) -> None:
        warnings.warn(text, training_times.TimeWarning, stacklevel=2)

    with client_lib.Client(address, options.name, timeout_s=10.0, odd_times=warn) as client:
        try:
            fitting = ASKING[client.objective()]
            if fitting.options != given.options:
                flags = " or ".join(f"--{name}" for name in fitting.options)
                raise errors.InputError(f"{options.model}: {fitting.model}, ask it with {flags}")
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", UserWarning)
                if options.items is not None and options.now is None:
                    # Items without times have just been met, however long ago the training was.
                    warnings.simplefilter("ignore", training_times.TimeWarning)
                lines = fitting.lines(client, asked, places, options)
        except grpc.RpcError as error:
            raise errors.InputError(client_lib.explain(error, address)) from error
        except ValueError as error:
            raise errors.InputError(str(error)) from error
    for warning in said:
        if warning.category in (UserWarning, training_times.TimeWarning):
            _warn(str(warning.message))
    for line in lines:
        print(line)
    return 0


def _warn(text: str) -> None:
    print(f"footfall: warning: {text}", file=sys.stderr)


def _name_unknown(unknown: Mapping[str, Sequence[str]], what: str) -> None:
    for name, values in unknown.items():
        _warn(f"{name} {_first([repr(value) for value in values])}: {what}")


def _first(shown: Sequence[str]) -> str:
    """The first of some values, and how many more there are."""
    named = ", ".join(shown[:_NAMED])
    return f"{named} and {len(shown) - _NAMED} more" if len(shown) > _NAMED else named


def _warn_of_empty(
    client: Any,
    signature: str,
    places: Sequence[str],
    histories: Sequence[Any],
    moments: Sequence[int | None],
) -> None:
    """Says which histories are answered although no event of them counts."""
    from serving import counted

    takes = client.metadata()[signature].inputs
    found = client.without_events(signature, histories, moments)
    if counted.are_exposures(takes):
        # An exposure may be a user's first event, in training, too.
        found = [number for number in found if histories[number]]
        said = "no event of history is before timestamp, so the answer is that of a user without history"
    else:
        asked_at = names.MOMENT in takes
        why = " in the period before the moment that the model was trained on" if asked_at else ""
        said = f"no event{why}, so the answer is that of any user without history; training had none"
    if not found:
        return
    first, *others = (places[number] for number in found)
    # All are lines of one file, which is named once.
    shown = [first, *(place.rpartition(f" {_LINE} ")[2] for place in others)]
    _warn(f"{_first(shown)}: {said}")


def _items(client: Any, histories: list[Any], places: list[str], options: argparse.Namespace) -> list[str]:
    from serving import vocabularies

    excluded = _ids(options.exclude)
    answers = client.recommend(histories, options.k, excluded, options.now, places)
    _name_unknown(
        client.unknown(vocabularies.of_histories(histories)),
        "not known to the model, which takes it for any unknown value",
    )
    _warn_of_empty(client, "recommend", places, histories, [options.now] * len(histories))
    unknown = client.unknown({names.HISTORY_ITEM_ID: excluded}) if excluded else {}
    if unknown:
        _name_unknown(
            {names.ITEM_ID: unknown[names.HISTORY_ITEM_ID]}, "not known to the model: nothing to exclude"
        )
    scenes = (
        client.recommend_scenes(histories, options.k, options.now, places)
        if client.ranks_scenes()
        else [None] * len(answers)
    )
    return [
        _json_of(items, following) if options.json else _line_of(items, following)
        for items, following in zip(answers, scenes)
    ]


def _json_of(items: Any, following: Any) -> str:
    """An answer of items and, of a model that ranks them, next scenes."""
    found = {"item_id": items.item_ids, "score": items.scores}
    if following is not None:
        found["scene"] = {"scene": following.scenes, "score": following.scores}
    return json.dumps(found, ensure_ascii=False)


def _line_of(items: Any, following: Any) -> str:
    line = _scored(items.item_ids, items.scores)
    return line if following is None else f"{line}  |  scenes: {_scored(following.scenes, following.scores)}"


def _scored(values: Sequence[str], scores: Sequence[float]) -> str:
    return "  ".join(f"{value} ({score:.3f})" for value, score in zip(values, scores))


def _embeddings(
    client: Any, histories: list[Any], places: list[str], options: argparse.Namespace
) -> list[str]:
    from serving import vocabularies

    found = client.embed(histories, options.now, places)
    takes = client.metadata()["embed"].inputs
    _warn_of_empty(client, "embed", places, histories, [options.now] * len(histories))
    _name_unknown(
        client.unknown(vocabularies.of_histories(histories, takes)),
        "not known to the model, which takes it for any unknown value",
    )
    if options.json:
        return [json.dumps({"embedding": row.tolist()}) for row in found]
    return [
        f"{len(row)} dimensions, length {float((row**2).sum()) ** 0.5:.3f}: "
        + "  ".join(f"{value:.3f}" for value in row[:_DIMENSIONS])
        + ("  ..." if len(row) > _DIMENSIONS else "")
        for row in found
    ]


def _probabilities(
    client: Any, exposures: list[Any], places: list[str], options: argparse.Namespace
) -> list[str]:
    from serving import requests, vocabularies

    takes = client.metadata()[requests.PREDICT].inputs
    now = options.now
    if now is not None and names.MOMENT not in takes:
        raise errors.InputError("--now is for models of periods; an exposure has its own timestamp")
    if now is not None:
        exposures = _at(exposures, now)
    answers = client.predict_exposures(exposures, places)
    histories = [row.get(requests.HISTORY_KEY) or () for row in exposures]
    moments = [row.get(names.MOMENT if names.MOMENT in takes else names.TIMESTAMP) for row in exposures]
    _warn_of_empty(client, requests.PREDICT, places, histories, moments)
    _name_unknown(
        client.unknown(vocabularies.of_exposures(takes, exposures)),
        "not known to the model, which takes it for any unknown value",
    )
    if options.json:
        return [json.dumps(answer, ensure_ascii=False) for answer in answers]
    return [
        "  ".join(f"{step} {figures.metric(chance)}" for step, chance in answer.items()) for answer in answers
    ]


def _at(exposures: Sequence[Mapping[str, Any]], now: int) -> list[Mapping[str, Any]]:
    """Rows with a moment; one that is None is told no more than one that is left out."""
    return [row if row.get(names.MOMENT) is not None else {**row, names.MOMENT: now} for row in exposures]


def _moment(text: str | None, path: str) -> int | None:
    """The moment of --now in ms; warns if it names no zone and `path` is a run whose log is not in UTC."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    from components.behavior_example_gen import spec, zones

    try:
        moment = zones.in_utc(spec.read_moment(text))
    except ValueError as error:
        raise errors.InputError(
            f"--now takes ms since 1970 or a time as 2024-06-01T12:00:00Z (UTC where it names no zone), found {text!r}"
        ) from error
    for sentence in zones.told("--now", [moment], pushed.timezone(_experiment(path))):
        _warn(sentence)
    return round(moment.timestamp() * 1000)


def _ids(text: str) -> list[str]:
    """Ids with commas between them; blanks around an id are none of it."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _exposures(options: argparse.Namespace) -> tuple[list[dict[str, Any]], list[str]]:
    if options.exposure is not None:
        found = [("--exposure", options.exposure)]
    else:
        found = _lines(options.exposures, "exposure")
    exposures = []
    for place, text in found:
        exposure = _from_json(place, text)
        if not isinstance(exposure, dict):
            raise errors.InputError(
                f"{place}: an exposure is an object with user_id, item_id and timestamp; of a model of labels of periods, one "
                f"with history and what the model takes of the user, as user_id; found {json.dumps(exposure)[:_SHOWN]}"
            )
        exposures.append(exposure)
    return exposures, [place for place, _ in found]


def _histories(options: argparse.Namespace) -> tuple[list[list[dict[str, Any]]], list[str]]:
    if options.items is not None:
        items = _ids(options.items)
        if not items:
            raise errors.InputError("--items: ids with commas between them, found none")
        # No times are given: all has happened just before now.
        now = (int(time.time() * 1000) if options.now is None else options.now) - len(items)
        events = [
            {"item_id": item, "timestamp": now + number, "behavior": options.behavior, "scene": options.scene}
            for number, item in enumerate(items)
        ]
        return [events], ["--items"]
    histories, found = [], _lines(options.history, "history")
    for place, text in found:
        history = _from_json(place, text)
        if not isinstance(history, list) or not all(isinstance(e, dict) and "item_id" in e for e in history):
            raise errors.InputError(f"{place}: a history is a list of events with item_id and timestamp")
        histories.append(history)
    return histories, [place for place, _ in found]


def _lines(path: str, what: str) -> list[tuple[str, str]]:
    """The lines of a file that are not empty, each with its place.

    Raises:
      errors.InputError: if there is none, or the file cannot be read.
    """
    try:
        stream = sys.stdin if path == "-" else open(path, encoding="utf-8")
    except OSError as error:
        raise errors.InputError(f"{path}: {error.strerror}") from error
    with stream:
        try:
            found = [
                (f"{path} {_LINE} {number}", line) for number, line in enumerate(stream, 1) if line.strip()
            ]
        except UnicodeDecodeError as error:
            raise errors.InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    if not found:
        raise errors.InputError(f"{path}: one {what} per line, found none")
    return found


def _from_json(place: str, text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise errors.InputError(f"{place}: JSON that is nested too deeply") from error
    except ValueError as error:
        raise errors.InputError(f"{place}: not JSON: {error}") from error


@dataclasses.dataclass(frozen=True)
class Asking:
    """How models of an objective are asked on the command line.

    Attributes:
      model: what such a model is called.
      options: one of which says what to ask.
      read: what is asked, from the options, and where each of it is from, for messages.
      lines: asks a `serving.client.Client`; the answers as text.
    """

    model: str
    options: tuple[str, ...]
    read: Callable[[argparse.Namespace], tuple[list[Any], list[str]]]
    lines: Callable[[Any, list[Any], list[str], argparse.Namespace], list[str]]


# By the objective.
ASKING = {
    "ranking": Asking("a model of next items", ("items", "history"), _histories, _items),
    "labels": Asking("a model of labels", ("exposure", "exposures"), _exposures, _probabilities),
    "user_embedding": Asking("a model of users' embeddings", ("items", "history"), _histories, _embeddings),
}
