"""Reads a log, asks a model about its users shard by shard, and joins what the shards have written."""

import dataclasses
import datetime
import json
import logging
import os
import posixpath
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.io import filesystems
from tfx.dsl.io import fileio

from components import embedded_beam
from components.behavior_example_gen import fingerprint, notices, spans, zones
from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen.reading import times
from components.behavior_example_gen.stages import good, workers
from pipeline import config
from pipeline.batch_inference import arrays, as_of, histories, known, model, outputs, questions, shard
from pipeline.runners import failures, local
from schemas import errors, figures, names
from serving import requests

_PROGRESS = logging.getLogger("footfall.progress")
_MS = 1000
_COLUMN_OF = {names.HISTORY_BEHAVIOR: "behavior", names.HISTORY_SCENE: "scene"}
_READ = ("log", "window", "beam")


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked of which model about the users of which log.

    Attributes:
      question: what is asked.
      experiment: whose `log`, `window` and `beam` say how the log is read and what a history is.
      source: its file, for messages.
      model_dir: of the SavedModel.
      takes: what the model takes, see `model.takes`.
      moment: only events strictly before it count; None: all do, and where the question is of one moment for all it is
        right after the last event of the log, or of a log of days the end of the last one.
      loaded: the model in memory, where workers of this process find it.
      notes: what a person should know of how that was understood.
    """

    question: questions.Question
    experiment: config.Experiment
    source: str
    model_dir: str
    takes: model.Takes
    moment: datetime.datetime | None = None
    loaded: Any = dataclasses.field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def rule(self) -> histories.Rule:
        """Which events make a history: as in the windows of training."""
        window = self.experiment.window
        seconds = window.history_seconds
        past = None if seconds is None else round(seconds * _MS)
        least = max(1, window.history_events_least) if self.question.as_trained else 1
        return histories.Rule(window.history_events, past, self.moment, self.question.whole, least)


def ask(
    path: str,
    question: questions.Question,
    *,
    experiment: str | None = None,
    log: str | None = None,
    moment: datetime.datetime | None = None,
    overrides: Sequence[str] = (),
    say: Callable[[str], None] = _PROGRESS.info,
) -> Asked:
    """Finds the model and the settings, and checks that they suit one another.

    Args:
      path: of a run or a model, see `model.find`.
      question: what is asked.
      experiment: the file or name of an experiment; None is the run's own.
      log: the path of the log; None is that of the experiment.
      moment: see `Asked`; in UTC where it names no zone.
      overrides: `log.KEY=VALUE`, and of `window` and `beam`, as of `config.load`. What a history is the model decides:
        a window that says otherwise is refused.
      say: is told of a data set that is fetched.

    Raises:
      errors.InputError: if there is no model or experiment, or they do not fit.
    """
    model_dir, own = model.find(path)
    takes = model.takes(model_dir, question)
    if experiment is None and own is None:
        is_run = os.path.isfile(os.path.join(path, local.EXPERIMENT))
        why = f"{model_dir} answers, which this run has not pushed" if is_run else "no folder of a run"
        raise errors.InputError(
            f"{path}: {why}, so name the experiment that says how the log is read: --experiment FILE"
        )
    source = config.find(experiment) if experiment is not None else own
    assert source is not None
    given = [*_of_log(log), *_checked(overrides)]
    # What the model was trained by is as it is, and of an experiment no more is read than these.
    settings = _unfiltered(
        config.load(source, given, must_be_read=_READ if experiment is not None else ()), say
    )
    for name, column in _COLUMN_OF.items():
        if name in takes.inputs and getattr(settings.log.columns, column) is None:
            raise errors.InputError(
                f"{source}: the model takes {takes.inputs[name]}, which needs log.columns.{column}, found none"
            )
    _check_attributes(settings.log.columns, takes, source)
    zone = settings.log.timezone
    notes = zones.told_of({"log": settings.log}, zone)
    if moment is not None:
        moment = zones.in_utc(moment)
        notes += zones.told("--at", [moment], zone)
    loaded = model.load(model_dir)
    asked = Asked(question, settings, source, model_dir, takes, moment, loaded, tuple(notes))
    _check_history(asked, model.history_of(asked.loaded, takes.inputs))
    settings = local.prepare(settings, say)
    local.check_log(settings, source)
    return dataclasses.replace(asked, experiment=settings)


def _check_history(asked: Asked, cut: model.History | None) -> None:
    """Checks that histories are those that the model takes: what it would cut away makes no history of a user."""
    if cut is None:
        return
    found, rule = asked.experiment.window, asked.rule
    if rule.length != cut.length:
        raise errors.InputError(
            f"{asked.source}: window.length: the model {asked.model_dir} was trained on the last {cut.length} events of a "
            f"history, and takes no others; found {rule.length}"
        )
    # A model that is asked at no moment takes what it is sent, however old.
    if cut.past is not None and rule.past != cut.past:
        given = "none" if rule.past is None else figures.duration(rule.past / _MS)
        raise errors.InputError(
            f"{asked.source}: window.past: the model {asked.model_dir} was trained on events in the "
            f"{figures.duration(cut.past / _MS)} before a moment, and takes no others; found {given} (window: {{kind: "
            f"{found.kind}}})"
        )


def _check_attributes(columns: window_spec.Columns, takes: model.Takes, source: str) -> None:
    """Checks that a log has the attributes of events and users that a model takes, and of their type."""
    known = columns.attributes()
    for name in (*takes.of_events, *takes.of_users):
        if name == names.USER_ID:
            continue
        column, whose = requests.key_of_event(name), "user" if requests.is_of_user(name) else "event"
        wanted = window_spec.NUMERIC if name in takes.numbers else window_spec.CATEGORICAL
        found = known[column].type if column in known else None
        if found != wanted:
            raise errors.InputError(
                f"{source}: the model takes {column} of each {whose}, {wanted}; log.columns has "
                + (f"{column}, {found}" if found else f"{', '.join(sorted(known)) or 'no attributes'}")
            )


def _of_log(path: str | None) -> list[str]:
    """Overrides that put a path in place of the log's: a path that stands for one state has no spans to count."""
    if path is None:
        return []
    with_spans = [] if spans.has_marks(path) else ["log.spans=null"]
    return [*with_spans, f"log.path={json.dumps(path, ensure_ascii=False)}"]


def _unfiltered(settings: config.Experiment, say: Callable[[str], None]) -> config.Experiment:
    """Without `log.filter`: what is rare is counted in the log of training, and here is another one."""
    if not settings.log.filter:
        return settings
    say("log.filter, which is of training, leaves out no item and nobody here")
    return settings.with_log(filter=None)


def _checked(overrides: Sequence[str]) -> Sequence[str]:
    settable = tuple(f"{part}." for part in _READ)
    other = next((override for override in overrides if not override.startswith(settable)), None)
    if other is not None:
        raise errors.InputError(
            f"--set takes settings of {', '.join(_READ)} here, as log.timestamp_unit=ms; found {other!r}"
        )
    return overrides


def write(asked: Asked, output: str, as_arrays: bool = False) -> shard.Written:
    """Writes what the model says of each user of a log.

    Args:
      asked: of `ask`.
      output: a Parquet file, of which `shard.rows` gives the columns; users are by id within a shard, and the shards
        one after the other, however many workers there are.
      as_arrays: write the files of `arrays` instead, into the folder `output`; of embeddings alone.

    Returns:
      What was written.

    Raises:
      errors.InputError: if the output cannot be a file, or is of what is read, the log does not fit, no user has an event
        that counts, the model knows none of the items, or the disk takes no more.
    """
    output = output if "://" in output else os.path.abspath(output)
    outputs.check(output, as_arrays)
    outputs.check_apart(
        output, as_arrays, asked.experiment.log, {"experiment": asked.source, "model": asked.model_dir}
    )
    log = times.bounded(asked.experiment.log)
    folder, name = posixpath.split(output)
    scratch = _scratch(folder, name)
    embedded_beam.tune()
    try:
        rejected = posixpath.join(scratch, "rejected")
        outputs.make(rejected, output)
        at = workers.Workers(
            lambda: beam.Pipeline(argv=list(asked.experiment.beam.args)),
            scratch,
            asked.experiment.window.shards,
        )
        with fingerprint.unchanged(spans.find(log.path, log.spans)) as listed:
            found = good.read(log, listed.paths, rejected, at)
        for sentence in notices.of_columns(found.report.notes, log):
            _PROGRESS.warning("%s", sentence)
        asked = _with_moment(asked, found)
        _PROGRESS.info("asking %s for %s", asked.model_dir, asked.question.noun)
        work = shard.AskShard(found.shards, asked.model_dir, asked.takes, asked.question, asked.rule, scratch)
        written = at.per_shard("AskShard", work, shard.Written.merged, (shard.Written, known.Unknown))
        if not written.users:
            raise errors.InputError(f"{log.path}: no user to ask about; {said_of_left_out(written, asked)}")
        _check_known(written, asked)
        partial = posixpath.join(scratch, f"{name}.partial")
        if as_arrays:
            fileio.makedirs(partial)
            arrays.write(written.paths, partial, written.users)
            _replace(partial, output)
        else:
            _join(written.paths, partial)
            fileio.rename(partial, output, overwrite=True)
    except Exception as error:
        # Beam raises its own error with the text of the one in a worker.
        cause, trouble = failures.input_error(error), failures.disk_trouble(error)
        if cause is None and trouble is not None:
            cause = errors.InputError(f"{output}: not written: {trouble}")
        if cause is None or cause is error:
            raise
        raise cause from error
    finally:
        _remove(scratch)
    return written


def _scratch(folder: str, name: str) -> str:
    """Where this process keeps what it has done so far: Beam's workers, wherever they are, see what stands beside the output.

    Another process may be at the same output; what processes of this machine have left that were killed is removed.
    """
    of_host = f".{name}.inference-{os.uname().nodename}-"
    for left in fileio.listdir(folder or ".") if fileio.exists(folder or ".") else ():
        process = left.rstrip("/").removeprefix(of_host)
        if left.startswith(of_host) and process.isdecimal() and not _is_alive(int(process)):
            _remove(posixpath.join(folder, left.rstrip("/")))
    return posixpath.join(folder, f"{of_host}{os.getpid()}")


def _is_alive(process: int) -> bool:
    """Whether another process of this number is; of our own number one was before."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # Somebody else's.
        pass
    return True


def _with_moment(asked: Asked, found: good.Good) -> Asked:
    """With the moment of the log's end, where the question is of one for all and none is named.

    That is right after the last event, or of a log of days where the last one ends, see `time_span.TimeHistogram.end`.

    Says what is odd about the moment.
    """
    if found.histogram is None:
        return asked
    named, log = asked.rule.moment_ms, asked.experiment.log.path
    trained = model.trained_on(model.load(asked.model_dir))
    for sentence in (*asked.notes, *as_of.odd(named, log, trained, found)):
        _PROGRESS.warning("%s", sentence)
    if named is not None or not asked.question.at_one_moment(asked.takes.objective):
        return asked
    bulk, end = found.histogram.bulk(), found.histogram.end(asked.experiment.log.timezone)
    if end > bulk.last:
        _PROGRESS.info(
            "%s has days without times: asking as of %s, the end of the last one",
            log,
            _at(end + 1).isoformat(),
        )
    return dataclasses.replace(asked, moment=_at(end + 1))


def _check_known(written: shard.Written, asked: Asked) -> None:
    """Checks that the model knows some items: of other ones it says of all users the same."""
    items = next((one for one in written.unknown if one.column == names.ITEM_ID), None)
    if items is None or items.unknown < items.events:
        return
    log = asked.experiment.log
    raise errors.InputError(
        f"{log.path}: the model {asked.model_dir} knows none of the items of {items.events:,} events, as {items.example!r}: "
        f"log.columns.item_id has to name a column of the items that it was trained on; found {log.columns.item_id}"
    )


def _replace(folder: str, output: str) -> None:
    """Puts arrays where they belong; until all is there, there are no ids."""
    fileio.makedirs(output)
    ids = posixpath.join(output, arrays.IDS)
    if fileio.exists(ids):
        fileio.remove(ids)
    for name in (arrays.EMBEDDINGS, arrays.IDS):
        fileio.rename(posixpath.join(folder, name), posixpath.join(output, name), overwrite=True)


def _remove(folder: str) -> None:
    if fileio.exists(folder):
        fileio.rmtree(folder)


def _join(paths: Iterable[str], output: str) -> None:
    """Puts Parquet files of one schema together, a group of rows after the other."""
    writer: Any = None
    with filesystems.FileSystems.create(output) as stream:
        for path in paths:
            with filesystems.FileSystems.open(path) as part:
                file = pq.ParquetFile(part)
                writer = writer or pq.ParquetWriter(stream, file.schema_arrow)
                for group in range(file.num_row_groups):
                    writer.write_table(file.read_row_group(group))
        writer.close()


def said_of_answers(written: shard.Written) -> str:
    """What is told of each user, and as of when."""
    if questions.EMBEDDING in written.columns:
        told = f"{written.columns[questions.EMBEDDING]} numbers each"
    else:
        told = ", ".join(written.columns)
    moment = "each user's last event" if written.moment is None else said_of_moment(written)
    return f"{told} as of {moment}"


def said_of_left_out(written: shard.Written, asked: Asked) -> str:
    """How many users have no event that counts."""
    rule = asked.rule
    before = "" if written.moment is None else f" before {said_of_moment(written)}"
    within = "" if rule.past is None else f" in the {figures.duration(rule.past / _MS)}"
    fewer = "without an event" if rule.least == 1 else f"with fewer than {rule.least} events"
    return f"{written.left_out:,} users {fewer}{within}{before}"


def said_of_moment(written: shard.Written) -> str:
    """As of when all users were asked about."""
    assert written.moment is not None
    return _at(written.moment).isoformat()


def _at(ms: int) -> datetime.datetime:
    """A moment of ms, exactly: a float of seconds is not."""
    return histories.EPOCH + datetime.timedelta(milliseconds=ms)
