"""A log through windowing and Transform in one process, without TFX around them."""

import dataclasses
import importlib
import os
from typing import Any

import schemas  # noqa: F401  selects Keras 2
from benchmarks import processes
from components.behavior_example_gen import spec as window_spec
from components.behavior_example_gen import windows
from components.transform import spec as transform_spec
from components.transform import windows as preprocessing
from schemas import names


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A log, and a folder for what becomes of it.

    Attributes:
      log: where it is and how it is read.
      window, split, features: as of an experiment.
      folder: of the examples, `Split-SPLIT`, and of the transformed ones, `Transformed-SPLIT`.
    """

    log: window_spec.LogSpec
    window: Any
    split: window_spec.SplitSpec
    features: transform_spec.FeaturesSpec
    folder: str

    def cut(self) -> None:
        """Writes the examples of all splits."""
        processes.cut(self.log, self.window, self.split, self.folder)

    def transform(self) -> None:
        """Analyses `train` and transforms all splits, as TFX's Transform does."""
        import apache_beam as beam
        import tensorflow_transform as tft
        import tensorflow_transform.beam as tft_beam
        from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io
        from tfx_bsl.coders import example_coder
        from tfx_bsl.tfxio import tf_example_record

        module, _, name = preprocessing.get(self.window.kind).rpartition(".")
        preprocess = getattr(importlib.import_module(module), name)
        schema = self.schema()
        with beam.Pipeline(argv=list(processes.BEAM)) as pipeline:
            with tft_beam.Context(temp_dir=os.path.join(self.folder, "tft"), force_tf_compat_v1=False):

                def read(split: str, purpose: str) -> tuple[Any, Any]:
                    source = tf_example_record.TFExampleRecord(self.examples(split), schema=schema)
                    raw = pipeline | f"Read {split} to {purpose}" >> source.BeamSource()
                    return raw, source.TensorAdapterConfig()

                # Twice what is analysed, or it would be held until it can be transformed.
                function = read(names.TRAIN, "analyze") | tft_beam.AnalyzeDataset(
                    lambda inputs: preprocess(inputs, self.custom_config())
                )
                _ = function | tft_beam.WriteTransformFn(self._graph)
                for split in names.SPLITS:
                    (transformed, _) = (read(split, "transform"), function) | f"Transform {split}" >> (
                        tft_beam.TransformDataset(output_record_batches=True)
                    )
                    (
                        transformed
                        | f"Encode {split}"
                        >> beam.FlatMapTuple(
                            lambda batch, _: example_coder.RecordBatchToExamplesEncoder(None).encode(batch)
                        )
                        | f"Write {split}"
                        >> beam.io.WriteToTFRecord(
                            os.path.join(self.folder, f"Transformed-{split}", "part"), file_name_suffix=".gz"
                        )
                    )
        # TFX Transform writes the raw schema beside the graph.
        raw = os.path.join(self._graph, tft.TFTransformOutput.RAW_METADATA_DIR)
        metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), raw)

    def examples(self, split: str) -> str:
        """The pattern of a split's examples."""
        return os.path.join(self.folder, f"Split-{split}", "*")

    def custom_config(self) -> dict[str, str]:
        """What Transform and Trainer are told."""
        return self._settings.pack()

    @property
    def _settings(self) -> transform_spec.TransformSettings:
        return transform_spec.TransformSettings(
            window=self.window, features=self.features, columns=self.log.columns
        )

    def schema(self) -> Any:
        """Of the examples."""
        kind = windows.get(self.window.kind)
        return kind.schema(self.window, self.log.columns, self.split, max_skew=1.0, max_drift=1.0)

    def data(self, objective_name: str = "labels", evaluated_on: str = names.EVAL) -> Any:
        """What `trainer.task.train` takes, of transformed examples.

        Args:
          objective_name: of the models.
          evaluated_on: the split that takes the place of `eval`.
        """
        import tensorflow_transform as tft

        from trainer import objectives
        from trainer.objectives import objective

        output = tft.TFTransformOutput(self._graph)
        train, evaluated = (
            [os.path.join(self.folder, f"Transformed-{split}", "*")] for split in (names.TRAIN, evaluated_on)
        )
        known = objectives.get(objective_name).known(output, self._settings, train)
        return objective.Data(output, known, train, evaluated, exclude_seen=objective_name == "ranking")

    def parsed(self, split: str, batch_size: int = 8192) -> Any:
        """Batches of a split's examples as `preprocessing_fn` takes them: ids, times and labels are `[b]`."""
        import tensorflow as tf
        from tensorflow_transform.tf_metadata import schema_utils

        features = schema_utils.schema_as_feature_spec(self.schema()).feature_spec
        files = sorted(tf.io.gfile.glob(self.examples(split)))
        records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(batch_size)
        return records.map(lambda batch: tf.io.parse_example(batch, features))

    @property
    def _graph(self) -> str:
        return os.path.join(self.folder, "graph")
