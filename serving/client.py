"""A gRPC client for the embedded server and for TensorFlow Serving.

Histories in, items out; or exposures in, probabilities out.
"""

import dataclasses
import random
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from schemas import names
from serving import address as address_lib
from serving import (
    counted,
    loaded_model,
    objectives,
    requests,
    search,
    signatures,
    training_times,
    vocabularies,
)

History = Sequence[Mapping[str, Any]]
# Tensors of a request, made of what the signature takes.
_Inputs = Callable[[Mapping[str, Any]], Mapping[str, np.ndarray]]
# The answer to rows, which have places.
_Ask = Callable[[Sequence[Any], Sequence[str]], dict[str, np.ndarray]]
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_TOO_LARGE = "larger than max"
# What no second try would change: a message over the limit, and a server that speaks HTTP/1 only.
_HOPELESS = (_TOO_LARGE, "http1.x", "HTTP/1")
# What a server says to a request that another version of the model would take.
_NOT_AS_ASKED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION)
_MAX_K = (1 << 31) - 1
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 2.0


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """Items of one history, best first, and their scores."""

    item_ids: list[str]
    scores: list[float]


@dataclasses.dataclass(frozen=True)
class NextScenes:
    """Scenes in which one history is most likely to go on, best first, and their scores."""

    scenes: list[str]
    scores: list[float]


class Client:
    """Asks one model.

    A history is a list of events, oldest first: `{"item_id": "242", "timestamp": 881250949000}`
    with `behavior` and `scene` where the log has them, and with the attributes that the model takes of events, each of which
    may be left out. A model that takes attributes refuses other keys, as they may be misspelt; one that takes none ignores
    them. Times are ms since the epoch. A time of another unit is
    an error, and one far from the times of training a warning, see `serving.training_times` and `odd_times`.

    Models of periods are asked at a moment, `now`, in ms since the epoch: a history is what lies in
    [now - past, now), and events at `now` or later count for nothing. Without it, it is right after the last event of
    each history. Of a log of days without times, pass the midnight after the last day: in training that day is
    over.

    Args:
      address: `host:port` of the gRPC interface, see `serving.address`.
      name: of the model.
      timeout_s: for a call with all its retries.
      max_batch: histories or exposures in one request; more are sent one batch after the other. There are fewer in one where
        it, or its answer, would be larger than servers take.
      max_message_bytes: of a request or an answer.
      version: to ask; by default the newest.
      label: of the version to ask, in place of its number.
      credentials: for TLS, and for tokens with it (`grpc.composite_channel_credentials`); without them nothing
        is encrypted.
      odd_times: is given the warning of each request that has times far from training, which names the first of them; by
        default there is one `training_times.TimeWarning` for each version that is asked, which names none.

    Raises:
      ValueError: if the address is none, or both a version and a label are given.
    """

    def __init__(
        self,
        address: str,
        name: str = "model",
        timeout_s: float = 5.0,
        max_batch: int = 128,
        max_message_bytes: int = 16 << 20,
        version: int | None = None,
        label: str = "",
        credentials: grpc.ChannelCredentials | None = None,
        odd_times: Callable[[str], None] | None = None,
    ):
        if version is not None and label:
            raise ValueError(f"a client asks a version or a label, found {version} and {label!r}")
        self._name, self._timeout_s, self._max_batch = name, timeout_s, max_batch
        self._version, self._label = version, label
        options = [
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
            # Where a name stands for several servers, all of them are asked.
            ("grpc.lb_policy_name", "round_robin"),
        ]
        checked = address_lib.check(address)
        self._channel = (
            grpc.insecure_channel(checked, options=options)
            if credentials is None
            else grpc.secure_channel(checked, credentials, options=options)
        )
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        # By version, as servers may have several; and the version that has answered last.
        self._signatures: dict[int, dict[str, Any]] = {}
        self._trained: dict[int, training_times.Range] = {}
        self._answered: int | None = None
        self._odd_times = odd_times
        # Trainings that a request was far from.
        self._warned: set[training_times.Range | None] = set()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def versions(self) -> dict[int, str]:
        """Versions and their state, as in `{1700000000: "AVAILABLE"}`; those that are no longer loaded are `END`."""
        request = get_model_status_pb2.GetModelStatusRequest()
        self._fill(request.model_spec)
        response = self._call(self._models.GetModelStatus, request)
        states = get_model_status_pb2.ModelVersionStatus.State
        return {status.version: states.Name(status.state) for status in response.model_version_status}

    def metadata(self) -> dict[str, Any]:
        """The signatures of the version that has answered last: name to `SignatureDef`; asked once for each."""
        return self._known()[1]

    def _known(self) -> tuple[int, dict[str, Any]]:
        """The version that has answered last, and its signatures."""
        # Threads may share a client.
        version = self._answered
        found = self._signatures.get(version) if version is not None else None
        return self._renew() if version is None or found is None else (version, found)

    def _renew(self, deadline: float | None = None) -> tuple[int, dict[str, Any]]:
        """Asks for the version that answers, and its signatures."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._fill(request.model_spec)
        response = self._call(self._prediction.GetModelMetadata, request, deadline)
        found = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(found)
        version, known = response.model_spec.version.value, dict(found.signature_def)
        self._signatures[version] = known
        self._answered = version
        return version, known

    def _fill(self, model_spec: Any) -> None:
        model_spec.name = self._name
        if self._version is not None:
            model_spec.version.value = self._version
        if self._label:
            model_spec.version_label = self._label

    def training_times(self) -> training_times.Range | None:
        """Between which times the model was trained; None of one that does not tell. Asked once for each version."""
        version, known = self._known()
        if version not in self._trained and training_times.SIGNATURE in known:
            try:
                version, answer = self._ask(
                    training_times.SIGNATURE, lambda takes: {names.TIMESTAMP: np.zeros(1, np.int64)}
                )
            except _NoSignature:
                # Another server has a version that does not tell.
                return None
            first, last = (int(answer[name][0]) for name in (training_times.FIRST, training_times.LAST))
            self._trained[version] = training_times.Range(first, last)
        return self._trained.get(version)

    def _check_times(self, given: Sequence[tuple[str, int]]) -> None:
        trained = self.training_times() if given else None
        odd = training_times.check(given, trained)
        if odd is None:
            return
        if self._odd_times is not None:
            self._odd_times(odd)
        elif trained not in self._warned:
            self._warned.add(trained)
            known = (
                f"far from training ({trained}), or in the future"
                if trained
                else "before 1990 or in the future"
            )
            # Python keeps each text for ever: nothing of a request is in it.
            warnings.warn(
                f"times of requests to {self._name!r} are {known}: odd_times of a client is told which",
                training_times.TimeWarning,
                stacklevel=2,
            )

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Asks any signature with raw tensors.

        Raises:
          grpc.RpcError: as the server answers, after retries where these can help.
        """
        return self._predict(signature, inputs)[1]

    def _predict(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        version: int | None = None,
        deadline: float | None = None,
    ) -> tuple[int, dict[str, np.ndarray]]:
        """The version that has answered, the one that is named if any is, and its answer."""
        request = predict_pb2.PredictRequest()
        if version is None:
            self._fill(request.model_spec)
        else:
            request.model_spec.name = self._name
            request.model_spec.version.value = version
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(_to_proto(value))
        response = self._call(self._prediction.Predict, request, deadline)
        self._answered = answered = response.model_spec.version.value
        return answered, {name: tf.make_ndarray(value) for name, value in sorted(response.outputs.items())}

    def _asked(self, signature: str, inputs: _Inputs) -> dict[str, np.ndarray]:
        return self._ask(signature, inputs)[1]

    def _ask(self, signature: str, inputs: _Inputs) -> tuple[int, dict[str, np.ndarray]]:
        """Asks with inputs that are made for what the signature takes, anew if another version takes others.

        While a version is rolled out, servers behind one address have different ones, and what one has told another one
        refuses. The version that a server tells is then named, which others do not have: they answer NOT_FOUND. If it is
        that version which refuses the request, so it is.
        """
        deadline = time.monotonic() + self._timeout_s
        version, known = self._known()
        try:
            return self._predict(signature, inputs(_takes(known, signature)), deadline=deadline)
        except grpc.RpcError as error:
            if error.code() not in _NOT_AS_ASKED:
                raise
            version, known = self._renew(deadline)
        except ValueError:
            before = version
            # The second one that is asked may be another server.
            for _ in range(2):
                version, known = self._renew(deadline)
                if version != before:
                    break
            else:
                raise
        while True:
            made = inputs(_takes(known, signature))
            try:
                return self._predict(signature, made, version, deadline)
            except grpc.RpcError as error:
                pause = _FIRST_WAIT_S * random.random()
                if error.code() != grpc.StatusCode.NOT_FOUND or time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)
            # By chance, since servers are asked by turns: always or never might be the turn of the same one each time.
            if random.random() < 0.5:
                version, known = self._renew(deadline)

    def recommend(
        self,
        histories: Sequence[History],
        k: int = search.DEFAULT_K,
        exclude: Iterable[str] = (),
        now: int | None = None,
        places: Sequence[str] | None = None,
    ) -> list[Recommendation]:
        """The `k` best items for each history, without those in `exclude`.

        Items that the model does not know count as any unknown item; `unknown` names them. `places` says where each history
        is from, as a line of a file, for errors and warnings; by default they have its number, from 0 on.

        Raises:
          ValueError: for a `k` that is no number of items, ids that are one text, an event that does not
          fit, or a `now` for a model that is asked at no moment. grpc.RpcError: as `predict`.
        """
        left_out = _ids("exclude", exclude)
        _check_k(k, "items")

        def ask(batch: Sequence[History], of_batch: Sequence[str]) -> dict[str, np.ndarray]:
            more = {
                signatures.EXCLUDE: np.asarray([left_out] * len(batch), object).reshape(len(batch), -1),
                signatures.K: np.full(len(batch), k, np.int32),
            }
            return self._of_histories("recommend", batch, more, now, of_batch)

        answers = self._each(ask, histories, places, most=loaded_model.MAX_VALUES // max(k, 1))
        return [Recommendation(*row) for outputs in answers for row in _best(outputs, names.ITEM_ID)]

    def ranks_scenes(self) -> bool:
        """Whether the model tells next scenes, too."""
        return signatures.RECOMMEND_SCENES in self.metadata()

    def recommend_scenes(
        self,
        histories: Sequence[History],
        k: int = search.DEFAULT_K,
        now: int | None = None,
        places: Sequence[str] | None = None,
    ) -> list[NextScenes]:
        """The `k` scenes in which each history is most likely to go on; `places` as of `recommend`.

        Raises:
          ValueError: if the model ranks no scenes, and as `recommend`. grpc.RpcError: as `predict`.
        """
        _check_k(k, "scenes")

        def ask(batch: Sequence[History], of_batch: Sequence[str]) -> dict[str, np.ndarray]:
            more = {signatures.K: np.full(len(batch), k, np.int32)}
            return self._of_histories(signatures.RECOMMEND_SCENES, batch, more, now, of_batch)

        answers = self._each(ask, histories, places, most=loaded_model.MAX_VALUES // max(k, 1))
        return [NextScenes(*row) for outputs in answers for row in _best(outputs, names.SCENE)]

    def rank(
        self, histories: Sequence[History], candidates: Sequence[str], now: int | None = None
    ) -> list[dict[str, float]]:
        """The score of each candidate for each history; an unknown one has the lowest float."""
        offered = _ids("candidates", candidates)

        def ask(batch: Sequence[History], of_batch: Sequence[str]) -> dict[str, np.ndarray]:
            more = {signatures.CANDIDATES: np.asarray([offered] * len(batch), object).reshape(len(batch), -1)}
            return self._of_histories("rank", batch, more, now, of_batch)

        answers = self._each(ask, histories, most=loaded_model.MAX_ROWS // max(len(offered), 1))
        return [dict(zip(offered, map(float, row))) for found in answers for row in found[signatures.SCORE]]

    def embed(
        self, histories: Sequence[History], now: int | None = None, places: Sequence[str] | None = None
    ) -> np.ndarray:
        """The embedding of each history, `[B, D]`, of none `[0, 0]`; `places` as of `recommend`."""
        answers = self._each(
            lambda batch, of_batch: self._of_histories("embed", batch, {}, now, of_batch), histories, places
        )
        found = [outputs[signatures.EMBEDDING] for outputs in answers]
        return np.concatenate(found) if found else np.zeros([0, 0], np.float32)

    def predict_exposures(
        self, exposures: Sequence[Mapping[str, Any]], places: Sequence[str] | None = None
    ) -> list[dict[str, float]]:
        """How likely each step is after each exposure.

        Args:
          exposures: what the log knew of each: `{"user_id": "7", "item_id": "9", "timestamp":
            881250949000, "item_price": 3.5, "item_tags": ["new"], "history": [...]}` with events as in a
            history of `recommend`. None, or a key that is left out, is a missing value; item and
            time have to be there, if the model takes them.
          places: where each is from, for messages; None: their numbers, from 0 on.

        Returns:
          The probability by step, for each exposure.

        Raises:
          ValueError: for what does not fit the model's inputs, with the exposure's place.
          grpc.RpcError: as `predict`.
        """
        answers = self._each(self._of_exposures, exposures, places, "exposure")
        return [row for outputs in answers for row in _rows(outputs)]

    def _of_exposures(
        self, batch: Sequence[Mapping[str, Any]], places: Sequence[str]
    ) -> dict[str, np.ndarray]:
        name = requests.PREDICT
        return self._asked(name, lambda takes: requests.of_exposures(takes, batch, self._check_times, places))

    def predict_candidates(
        self,
        user: Mapping[str, Any],
        history: History,
        candidates: Sequence[Mapping[str, Any]],
    ) -> list[dict[str, float]]:
        """As `predict_exposures` for many items that one user may be shown, in one request.

        Args:
          user: what the exposures have in common: `user_id`, `timestamp`, `user_*`, `context_*`.
          history: of the user; may be empty.
          candidates: `item_id` and `item_*` of each.
        """
        if not candidates:
            return []
        name = requests.PREDICT_CANDIDATES
        outputs = self._asked(
            name,
            lambda takes: requests.of_candidates(takes, user, history, candidates, self._check_times),
        )
        return _rows({step: values[0] for step, values in outputs.items()})

    def objective(self) -> str:
        """What the model has learnt, as its signatures tell.

        Raises:
          ValueError: if they are of no objective.
        """
        known = self.metadata()
        name = objectives.of_signatures(known)
        if name is None:
            raise ValueError(f"the signatures of the model are of no objective: {', '.join(sorted(known))}")
        return name

    def unknown(self, given: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        """What the model has never met, and answers as it answers for any unknown value.

        Args:
          given: values by the name of the input, as of `vocabularies.of_histories` or `of_exposures`.

        Returns:
          Those that the model's vocabularies lack, by the name of the input, in the given order. Nothing of
          inputs without a vocabulary.
        """
        name = vocabularies.SIGNATURE
        if name not in self.metadata():
            return {}
        objective = objectives.get(self.objective())
        found: dict[str, list[str]] = {}
        distinct = {feature: list(dict.fromkeys(values)) for feature, values in given.items()}
        for batch in vocabularies.batches(distinct, self._max_batch):
            outputs = self.predict(
                name, {signatures.EXAMPLES: vocabularies.examples(batch, objective.complete)}
            )
            for feature, values in vocabularies.unknown(batch, outputs, objective.index_of).items():
                found.setdefault(feature, []).extend(values)
        return found

    def without_events(
        self, signature: str, histories: Sequence[History], moments: Sequence[int | None]
    ) -> list[int]:
        """Which histories have no event that counts, by their numbers.

        Such a history is empty, or all of it is at the moment or later, or longer before it than the model was trained on. It
        is answered as any other one without events. The moment of an exposure is its `timestamp`.

        Args:
          signature: that they are sent to.
          histories: that fit it.
          moments: of each, ms, of models of periods; None: right after the last event. Of exposures the `timestamp` of each.

        Returns:
          Numbers from 0 on; none of a model that does not tell.
        """
        takes = _takes(self.metadata(), signature)
        reads = {names.HISTORY_ITEM_ID, requests.key_of_event(names.HISTORY_ITEM_ID)}
        if vocabularies.SIGNATURE not in self.metadata() or not reads & set(takes):
            return []
        found: list[bool] = []
        for batch in self._batches(list(zip(histories, moments))):
            made = counted.examples(takes, *zip(*batch))
            answer = self.predict(vocabularies.SIGNATURE, {signatures.EXAMPLES: made})
            found.extend(counted.is_empty(takes, answer))
        return [number for number, empty in enumerate(found) if empty]

    def _of_histories(
        self,
        signature: str,
        histories: Sequence[History],
        more: Mapping[str, np.ndarray],
        now: int | None,
        places: Sequence[str],
    ) -> dict[str, np.ndarray]:
        return self._asked(
            signature,
            lambda takes: {
                **requests.of_histories(takes, histories, now, self._check_times, places),
                **more,
            },
        )

    def _batches(self, rows: Sequence[Any], most: int | None = None) -> Iterable[Sequence[Any]]:
        size = self._max_batch if most is None else max(1, min(most, self._max_batch))
        return (rows[i : i + size] for i in range(0, len(rows), size))

    def _each(
        self,
        ask: _Ask,
        rows: Sequence[Any],
        places: Sequence[str] | None = None,
        what: str = "history",
        most: int | None = None,
    ) -> Iterator[dict[str, np.ndarray]]:
        """The answers to batches of at most `most` rows, which are asked for with the places of their rows."""
        told = requests.numbered(what, len(rows)) if places is None else places
        for batch, of_batch in zip(self._batches(rows, most), self._batches(told, most)):
            yield from _in_parts(ask, batch, of_batch)

    def _call(self, method: Any, request: Any, deadline: float | None = None) -> Any:
        if deadline is None:
            deadline = time.monotonic() + self._timeout_s
        wait = _FIRST_WAIT_S
        while True:
            try:
                return method(request, timeout=max(0.001, deadline - time.monotonic()))
            except grpc.RpcError as error:
                # With jitter, so that refused clients do not come back all at once.
                pause = wait * (0.5 + random.random())
                # gRPC has one code for a full queue and for a message that will be too large again.
                said = error.details() or ""
                hopeless = error.code() not in _RETRIED or any(words in said for words in _HOPELESS)
                if hopeless or time.monotonic() + pause >= deadline:
                    raise
                time.sleep(pause)
                wait = min(2 * wait, _LONGEST_WAIT_S)


def _in_parts(ask: _Ask, rows: Sequence[Any], places: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    """The answer to some rows, in halves where the message of all would be too large."""
    try:
        answer = ask(rows, places)
    except grpc.RpcError as error:
        if len(rows) < 2 or _TOO_LARGE not in (error.details() or ""):
            raise
        half = len(rows) // 2
        parts = ((rows[:half], places[:half]), (rows[half:], places[half:]))
        answers = [found for part in parts for found in _in_parts(ask, *part)]
    else:
        answers = [answer]
    yield from answers


class _NoSignature(ValueError):
    """A model that has not the signature that it is asked for."""


def _takes(known: Mapping[str, Any], signature: str) -> Mapping[str, Any]:
    if signature not in known:
        raise _NoSignature(f"the model has no signature {signature}; it has {', '.join(sorted(known))}")
    return known[signature].inputs


def _check_k(k: Any, what: str) -> None:
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 0 <= k <= _MAX_K:
        raise ValueError(f"k is how many {what} are wanted, a whole number up to {_MAX_K}; found {k!r}")


def _best(outputs: Mapping[str, np.ndarray], key: str) -> Iterable[tuple[list[str], list[float]]]:
    """Of each row the values that are not empty, and their scores."""
    for values, scores in zip(outputs[key], outputs[signatures.SCORE]):
        kept = [(value.decode("utf-8"), float(score)) for value, score in zip(values, scores) if value]
        yield [value for value, _ in kept], [score for _, score in kept]


def _ids(what: str, given: Iterable[str]) -> list[str]:
    """Ids as texts; a whole number may stand for one, a single text for none."""
    if isinstance(given, (str, bytes)):
        raise ValueError(f"{what} is a list of ids, found {given!r}")
    return [requests.value_of(item, tf.string, f"{what} {number}") for number, item in enumerate(given)]


def explain(error: grpc.RpcError, address: str) -> str:
    """What came of a call, in a sentence that says what to do where that is known."""
    said = error.details() or ""
    if any(words in said for words in _HOPELESS[1:]):
        return (
            f"{address}: no gRPC is spoken there; perhaps it is the REST port ({address_lib.REST_PORT} by "
            f"default): the gRPC port is {address_lib.GRPC_PORT} by default"
        )
    if error.code() == grpc.StatusCode.UNAVAILABLE and "onnect" in said:
        return f"{address}: no server answers there: {said[:300]}"
    return f"{address}: {error.code().name}: {said}"


def _rows(outputs: Mapping[str, np.ndarray]) -> list[dict[str, float]]:
    return [dict(zip(outputs, map(float, row))) for row in zip(*outputs.values())]


def _to_proto(value: np.ndarray) -> Any:
    value = requests.array_of(value)
    if value.dtype == object or value.dtype.kind in "US":
        return tf.make_tensor_proto(value, dtype=tf.string, shape=value.shape)
    return tf.make_tensor_proto(value)
