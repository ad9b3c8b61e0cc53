"""What any server of a model has to answer: the embedded one, and TensorFlow Serving where there is one.

    pytest tests/conformance                                             # the embedded server
    MODEL_SERVER_BIN=/usr/bin/tensorflow_model_server pytest tests/conformance      # and this one
    TFS_GRPC=host:8500 TFS_REST=host:8501 pytest tests/conformance       # and that one

A server of the last kind has the model "model" of `python -m tests.conformance.servers DIR`, as version 7 and the
only one; tests that push versions or need other models skip it.
"""
