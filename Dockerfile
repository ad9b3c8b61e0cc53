# One image for every step of a compiled pipeline, from the lock of Python 3.10. `make image` builds it.
#
# In production name the two bases by their digests: --build-arg PYTHON_IMAGE=python:3.10-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.10-slim-bookworm
# Of the lock's Beam: what Dataflow starts a worker with.
ARG BEAM_IMAGE=apache/beam_python3.10_sdk:2.74.0
# --build-arg GPU=1 adds the CUDA libraries of the lock's TensorFlow (about 3 GB).
ARG GPU=

FROM ${PYTHON_IMAGE} AS build
# A few packages of the lock have no wheel; pyfarmhash is C++.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
RUN python -m venv /opt/footfall
ENV PATH=/opt/footfall/bin:$PATH
# As requirements/make_env.sh does: no file whose hash is not in a lock, and builds by the setuptools of build.txt. The
# lock comes before the sources, so that a change of these installs nothing else anew.
COPY requirements/build.txt requirements/py310-tfx116.txt requirements/
RUN python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && uv pip install --no-cache --python /opt/footfall/bin/python --require-hashes --no-build-isolation \
        -r requirements/py310-tfx116.txt
ARG GPU
COPY requirements/py310-tfx116-gpu.txt requirements/
RUN if [ -n "$GPU" ]; then \
        uv pip install --no-cache --python /opt/footfall/bin/python --require-hashes --only-binary :all: \
            --no-deps -r requirements/py310-tfx116-gpu.txt; \
    fi
COPY setup.py README.md LICENSE ./
COPY schemas schemas
COPY components components
COPY trainer trainer
COPY serving serving
COPY pipeline pipeline
# Most of a step is imports, which take a third of the time where Python finds its bytecode. A few files of packages are
# templates, or of another Python, and have none.
RUN uv pip install --no-cache --python /opt/footfall/bin/python --no-deps --no-build-isolation . \
    && (python -m compileall -q -j 0 /opt/footfall/lib || true)

FROM ${BEAM_IMAGE} AS beam

FROM ${PYTHON_IMAGE}
# A number, so that Kubernetes can tell that it is not root (runAsNonRoot).
# Kubeflow's launcher makes folders of buckets' names in a step's container, as its user; since 2.3 these are volumes.
RUN useradd --create-home --uid 10001 footfall \
    && mkdir /gcs /minio /s3 \
    && chown footfall: /gcs /minio /s3
COPY --from=build /opt/footfall /opt/footfall
COPY --from=beam /opt/apache/beam /opt/apache/beam
# A worker of Beam would make an environment of its own, in which there is nothing of this one.
ENV PATH=/opt/footfall/bin:$PATH PYTHONDONTWRITEBYTECODE=1 RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1
# Where TensorFlow 2.16 does not look by itself for the libraries of its `and-cuda` packages. Without these, nothing is there.
ENV CUDA_PACKAGES=/opt/footfall/lib/python3.10/site-packages/nvidia
ENV LD_LIBRARY_PATH=$CUDA_PACKAGES/cublas/lib:$CUDA_PACKAGES/cuda_cupti/lib:$CUDA_PACKAGES/cuda_nvrtc/lib:$CUDA_PACKAGES/cuda_runtime/lib:$CUDA_PACKAGES/cudnn/lib:$CUDA_PACKAGES/cufft/lib:$CUDA_PACKAGES/curand/lib:$CUDA_PACKAGES/cusolver/lib:$CUDA_PACKAGES/cusparse/lib:$CUDA_PACKAGES/nccl/lib:$CUDA_PACKAGES/nvjitlink/lib
USER 10001
WORKDIR /home/footfall
# Dataflow gives arguments alone. Steps and custom jobs name their own command, which takes the place of this.
ENTRYPOINT ["/opt/apache/beam/boot"]
