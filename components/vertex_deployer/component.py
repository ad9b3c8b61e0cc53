"""VertexDeployer: has an endpoint of Vertex AI answer from what was pushed."""

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.vertex_deployer import artifacts, executor, spec


class VertexDeployerSpec(component_spec.ComponentSpec):
    """Inputs, outputs and settings of VertexDeployer."""

    PARAMETERS = {"endpoint": component_spec.ExecutionParameter(type=str)}
    INPUTS = {
        executor.PUSHED: component_spec.ChannelParameter(type=standard_artifacts.PushedModel),
    }
    OUTPUTS = {executor.DEPLOYED: component_spec.ChannelParameter(type=artifacts.DeployedModel)}


class VertexDeployer(base_component.BaseComponent):
    """Uploads a pushed model to Vertex AI, deploys it, moves traffic to it and undeploys what it replaces.

    What was not pushed is not deployed. TFX's own Pusher for Vertex AI makes a Model of each push and leaves what it
    replaces deployed.

    Outputs:
      deployed_model: `artifacts.DeployedModel`.

    Args:
      pushed_model: of the Pusher.
      endpoint: where to, and with which share of the traffic.
    """

    SPEC_CLASS = VertexDeployerSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, pushed_model: types.BaseChannel, endpoint: spec.EndpointSpec):
        super().__init__(
            VertexDeployerSpec(
                endpoint=endpoint.to_json(),
                **{
                    executor.PUSHED: pushed_model,
                    executor.DEPLOYED: types.Channel(type=artifacts.DeployedModel),
                },
            )
        )
