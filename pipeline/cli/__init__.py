"""The `footfall` command. TensorFlow and TFX are imported only by what needs them."""

import os
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
# What libraries say about Python's age is not for our users.
warnings.simplefilter("ignore")

from pipeline.cli.entry import execute, main  # noqa: E402

__all__ = ["execute", "main"]
