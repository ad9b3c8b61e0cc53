"""Runs a stage on Beam, and brings back what its workers report."""

import dataclasses
import posixpath
from collections.abc import Callable, Sequence
from typing import Any

import apache_beam as beam
from tfx.dsl.io import fileio

from components.behavior_example_gen import gathered


@dataclasses.dataclass(frozen=True)
class Workers:
    """Where the stages run.

    Attributes:
      make_pipeline: makes a Beam pipeline.
      scratch: a folder for the files between the stages.
      shards: how many groups of users there are.
    """

    make_pipeline: Callable[[], Any]
    scratch: str
    shards: int

    def gather(
        self,
        build: Callable[[beam.Pipeline], Any],
        merge: Callable[[list[Any]], Any],
        classes: Sequence[type[Any]],
    ) -> Any:
        """Runs a pipeline and brings its merged (small) output back, on any runner.

        Args:
          build: from the pipeline to the collection whose elements are gathered.
          merge: from a list of them to what is brought back.
          classes: the dataclasses that are in it.
        """
        path = posixpath.join(self.scratch, "gathered")

        def store(values: list[Any]) -> None:
            with fileio.open(path, "wb") as stream:
                stream.write(gathered.dumps(merge(values), classes))

        with self.make_pipeline() as pipeline:
            (
                build(pipeline)
                | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
                | "Store" >> beam.Map(store)
            )
        with fileio.open(path, "rb") as stream:
            return gathered.loads(stream.read(), classes)

    def per_shard(
        self, name: str, work: beam.DoFn, merge: Callable[[list[Any]], Any], classes: Sequence[type[Any]]
    ) -> Any:
        """Does some work on each shard, and merges what comes of it; see `gather`."""
        return self.gather(lambda pipeline: self.spread(pipeline) | name >> beam.ParDo(work), merge, classes)

    def spread(self, pipeline: beam.Pipeline) -> beam.PCollection:
        """The number of each shard, on as many workers as there are."""
        return pipeline | "Shards" >> beam.Create(list(range(self.shards))) | "Spread" >> beam.Reshuffle()
