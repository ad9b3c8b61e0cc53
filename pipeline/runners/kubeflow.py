"""Compiles an experiment to a Kubeflow Pipelines v2 spec, which Vertex AI takes too."""

import posixpath

import schemas  # noqa: F401  selects Keras 2
from pipeline import config, datasets

IMAGE = "footfall:latest"
_SPEC_EXAMPLE_ROOT = "gs://BUCKET/footfall"


def compile_pipeline(experiment: config.Experiment, output: str, root: str = _SPEC_EXAMPLE_ROOT, image: str = IMAGE) -> str:
    """Writes the spec of an experiment; nothing is run or read.

    Args:
      experiment: of `config.load`; its log's path should be one that the cluster can read.
      output: the spec's path, `.yaml` or `.json`.
      root: of everything the pipeline keeps: artifacts, schema, checkpoints, pushed models.
        The schema is expected at `<root>/<name>/schema/schema.pbtxt`.
      image: with Footfall and its locked environment.

    Returns:
      `output`.
    """
    from tfx import v1 as tfx

    from pipeline import pipeline

    base = posixpath.join(root, experiment.name)
    log = experiment.log.model_copy(update={"path": datasets.resolve(experiment.log.path)})
    dag = pipeline.create_pipeline(
        experiment.model_copy(update={"log": log}),
        pipeline_root=posixpath.join(base, "pipeline_root"),
        schema_path=posixpath.join(base, "schema", "schema.pbtxt"),
        checkpoint_root=posixpath.join(base, "checkpoints"),
        accepted_root=posixpath.join(base, "accepted_statistics"),
        serving_dir=posixpath.join(base, "serving"),
    )
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        config=tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(
            default_image=image, use_pipeline_spec_2_1=True
        ),
        output_filename=output,
    )
    runner.run(dag, write_out=True)
    return output
