"""Runs a stage on Beam, and brings back what its workers report."""

import posixpath
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from tfx.dsl.io import fileio

from components.behavior_example_gen import gathered


def gather(make_pipeline: Any, scratch: str, build: Any, merge: Any, classes: Sequence[type[Any]]) -> Any:
    """Runs a pipeline and brings its merged (small) output back, on any runner.

    Args:
      make_pipeline: makes a Beam pipeline.
      scratch: a folder for what is brought back.
      build: from the pipeline to the collection whose elements are gathered.
      merge: from a list of them to what is brought back.
      classes: the dataclasses that are in it.
    """
    path = posixpath.join(scratch, "gathered")

    def store(values: list[Any]) -> None:
        with fileio.open(path, "wb") as stream:
            stream.write(gathered.dumps(merge(values), classes))

    with make_pipeline() as pipeline:
        (
            build(pipeline)
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Store" >> beam.Map(store)
        )
    with fileio.open(path, "rb") as stream:
        return gathered.loads(stream.read(), classes)


def per_shard(
    shards: int,
    name: str,
    work: beam.DoFn,
    scratch: str,
    make_pipeline: Any,
    merge: Any,
    classes: Sequence[type[Any]],
) -> Any:
    """Does some work on each of the shards, and merges what comes of it; see `gather`."""
    return gather(
        make_pipeline,
        scratch,
        lambda pipeline: (
            pipeline
            | "Shards" >> beam.Create(list(range(shards)))
            | "Spread" >> beam.Reshuffle()
            | name >> beam.ParDo(work)
        ),
        merge,
        classes,
    )
