"""Pusher: TFX's, with a push that a server never sees half done."""

from tfx.components.pusher import component
from tfx.dsl.components.base import executor_spec

from components.pusher import executor


class Pusher(component.Pusher):
    """As `tfx.components.Pusher`; see `executor.push` for what it leaves in the destination."""

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)
