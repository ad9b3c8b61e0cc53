"""Vertex AI's models and endpoints on loopback, in memory: what it promises and refuses, as its API says."""

import dataclasses
import datetime
import itertools
import threading
from collections.abc import Callable
from concurrent import futures

import grpc
from google.cloud import aiplatform_v1 as api
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from components.vertex_deployer import services

PARENT = "projects/p/locations/europe-west4"
# So often an operation is looked at before it is done.
_LOOKS = 2


class Refusal(Exception):
    """An answer with a status of gRPC."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


@dataclasses.dataclass
class _Pending:
    name: str
    effect: Callable[[], None]
    looks: int = _LOOKS
    error: tuple | None = None
    done: bool = False


class Vertex:
    """The state, and a server for it.

    Attributes:
      calls: the names of all calls so far.
      faults: by the number of a call, from 0, the `Refusal` that is answered although it was done.
      failing: by method, the status that its operation ends with.
      history: traffic splits of the endpoints, and `undeployed ID`, in the order in which they came to be.
    """

    def __init__(self):
        self.calls, self.faults, self.failing = [], {}, {}
        self.versions, self.endpoints, self.operations, self.history = [], {}, {}, []
        self._ids, self._lock = itertools.count(1), threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(1))
        self._serve(
            "google.cloud.aiplatform.v1.ModelService",
            {
                "UploadModel": (api.UploadModelRequest, self._upload),
                "GetModel": (api.GetModelRequest, self._get_model),
                "ListModelVersions": (api.ListModelVersionsRequest, self._list_versions),
                "MergeVersionAliases": (api.MergeVersionAliasesRequest, self._merge),
            },
        )
        self._serve(
            "google.cloud.aiplatform.v1.EndpointService",
            {
                "CreateEndpoint": (api.CreateEndpointRequest, self._create),
                "ListEndpoints": (api.ListEndpointsRequest, self._list_endpoints),
                "DeployModel": (api.DeployModelRequest, self._deploy),
                "UndeployModel": (api.UndeployModelRequest, self._undeploy),
                "UpdateEndpoint": (api.UpdateEndpointRequest, self._update),
            },
        )
        self._serve(
            "google.longrunning.Operations",
            {
                "GetOperation": (operations_pb2.GetOperationRequest, self._look),
                "ListOperations": (operations_pb2.ListOperationsRequest, self._list_operations),
            },
        )
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.transports = {
            "models": api.ModelServiceClient.get_transport_class("grpc")(channel=self._channel),
            "endpoints": api.EndpointServiceClient.get_transport_class("grpc")(channel=self._channel),
        }

    def close(self):
        self._channel.close()
        self._server.stop(None)

    def _serve(self, service, methods):
        handlers = {}
        for name, (request, method) in methods.items():
            plus = hasattr(request, "deserialize")
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                self._call(name, method),
                request_deserializer=request.deserialize if plus else request.FromString,
                response_serializer=lambda answer: (
                    type(answer).serialize(answer)
                    if hasattr(type(answer), "serialize")
                    else answer.SerializeToString()
                ),
            )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))

    def _call(self, name, method):
        def handle(request, context):
            with self._lock:
                number = len(self.calls)
                self.calls.append(name)
                answer = refusal = None
                try:
                    answer = method(request)
                except Refusal as error:
                    refusal = error
                refusal = self.faults.get(number, refusal)
                if refusal is not None:
                    context.abort(refusal.code, str(refusal))
                return answer

        return handle

    # Operations.

    def _begin(self, method, resource, effect):
        name = f"{resource}/operations/{next(self._ids)}"
        self.operations[name] = _Pending(name, effect, error=self.failing.get(method))
        return operations_pb2.Operation(name=name)

    def _look(self, request):
        pending = self.operations[request.name]
        pending.looks -= 1
        if pending.looks <= 0 and not pending.done:
            pending.done = True
            if pending.error is None:
                pending.effect()
                self._check()
        return self._told(pending)

    @staticmethod
    def _told(pending):
        told = operations_pb2.Operation(name=pending.name, done=pending.done)
        if pending.done and pending.error is not None:
            told.error.code, told.error.message = pending.error
        elif pending.done:
            told.response.Pack(empty_pb2.Empty())
        return told

    def _list_operations(self, request):
        found = [
            one for name, one in self.operations.items() if name.startswith(f"{request.name}/operations/")
        ]
        # One a page.
        at = int(request.page_token or 0)
        answer = operations_pb2.ListOperationsResponse(operations=map(self._told, found[at : at + 1]))
        if at + 1 < len(found):
            answer.next_page_token = str(at + 1)
        return answer

    # Models.

    def _of(self, model):
        return [one for one in self.versions if one.name == model]

    def _upload(self, request):
        assert request.parent == PARENT and bool(request.parent_model) != bool(request.model_id)
        name = request.parent_model or f"{PARENT}/models/{request.model_id}"
        if request.model_id and self._of(name):
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"{name} exists")
        if request.parent_model and not self._of(name):
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"{name} does not exist")

        def effect():
            model = api.Model(request.model)
            model.name, model.version_id = name, str(len(self._of(name)) + 1)
            aliases = list(model.version_aliases)
            model.version_aliases = [*aliases, *([] if self._of(name) else ["default"])]
            self._take(name, aliases)
            self.versions.append(model)

        return self._begin("UploadModel", name, effect)

    def _take(self, name, aliases):
        for one in self._of(name):
            one.version_aliases = [alias for alias in one.version_aliases if alias not in aliases]

    def _get_model(self, request):
        found = self._of(request.name)
        if not found:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"{request.name} does not exist")
        return found[-1]

    def _list_versions(self, request):
        self._get_model(request)
        return api.ListModelVersionsResponse(models=self._of(request.name))

    def _merge(self, request):
        name, _, version = request.name.partition("@")
        (model,) = (one for one in self._of(name) if one.version_id == version)
        added = [alias for alias in request.version_aliases if not alias.startswith("-")]
        removed = [alias[1:] for alias in request.version_aliases if alias.startswith("-")]
        assert "default" not in removed
        kept = [alias for alias in model.version_aliases if alias not in (*added, *removed)]
        self._take(name, added)
        model.version_aliases = [*kept, *added]
        return model

    # Endpoints.

    def endpoint(self, display_name, identifier=None):
        """Adds one."""
        name = f"{PARENT}/endpoints/{identifier or display_name}"
        self.endpoints[name] = api.Endpoint(name=name, display_name=display_name, etag="0")
        return self.endpoints[name]

    def _create(self, request):
        name = f"{PARENT}/endpoints/{request.endpoint_id}"
        if name in self.endpoints:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, f"{name} exists")

        def effect():
            assert name not in self.endpoints
            made = self.endpoint(request.endpoint.display_name, request.endpoint_id)
            made.labels = request.endpoint.labels

        return self._begin("CreateEndpoint", name, effect)

    def _list_endpoints(self, request):
        found = [
            one for one in self.endpoints.values() if f'display_name="{one.display_name}"' == request.filter
        ]
        return api.ListEndpointsResponse(endpoints=found)

    def _set_traffic(self, endpoint, split):
        endpoint.traffic_split = split
        self.history.append(dict(split))

    def _deploy(self, request):
        name, _, version = request.deployed_model.model.partition("@")
        assert [one for one in self._of(name) if one.version_id == version]
        if sum(request.traffic_split.values()) != 100:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "traffic does not add up to 100")

        def effect():
            endpoint = self.endpoints[request.endpoint]
            deployed = api.DeployedModel(request.deployed_model)
            deployed.id, deployed.model, deployed.model_version_id = str(next(self._ids)), name, version
            deployed.create_time = datetime.datetime.fromtimestamp(next(self._ids), datetime.timezone.utc)
            endpoint.deployed_models.append(deployed)
            self._set_traffic(
                endpoint,
                {deployed.id if key == "0" else key: share for key, share in request.traffic_split.items()},
            )

        return self._begin("DeployModel", request.endpoint, effect)

    def _undeploy(self, request):
        endpoint = self.endpoints[request.endpoint]
        if endpoint.traffic_split.get(request.deployed_model_id, 0):
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, "it has traffic")

        def effect():
            kept = [one for one in endpoint.deployed_models if one.id != request.deployed_model_id]
            assert len(kept) == len(endpoint.deployed_models) - 1
            endpoint.deployed_models = kept
            self.history.append(f"undeployed {request.deployed_model_id}")

        return self._begin("UndeployModel", request.endpoint, effect)

    def _update(self, request):
        endpoint = self.endpoints[request.endpoint.name]
        assert list(request.update_mask.paths) == ["traffic_split"]
        if request.endpoint.etag != endpoint.etag:
            raise Refusal(grpc.StatusCode.ABORTED, "the endpoint was changed since")
        self._set_traffic(endpoint, request.endpoint.traffic_split)
        self._check()
        return endpoint

    def _check(self):
        """What holds at all times: whoever gets traffic is deployed, and all of it goes somewhere."""
        for endpoint in self.endpoints.values():
            endpoint.etag = str(int(endpoint.etag) + 1)
            shares, deployed = dict(endpoint.traffic_split), {one.id for one in endpoint.deployed_models}
            assert set(shares) <= deployed and (sum(shares.values()) == 100 or not shares), (shares, deployed)
        pushes = [
            alias for one in self.versions for alias in one.version_aliases if alias.startswith("push-")
        ]
        assert len(pushes) == len(self.versions) == len(set(pushes)), pushes
        for endpoint in self.endpoints.values():
            versions = [one.model_version_id for one in endpoint.deployed_models]
            assert len(versions) == len(set(versions)), versions

    # For the tests.

    def services(self):
        """As a step connects, but with short pauses."""
        connected = services.connect("europe-west4", self.transports)
        return dataclasses.replace(connected, first_pause=0.001)

    def answers(self, name):
        """The share of each version that is deployed, by its display name; also of those that have none."""
        (endpoint,) = (one for one in self.endpoints.values() if one.display_name == name)
        return {one.display_name: endpoint.traffic_split.get(one.id, 0) for one in endpoint.deployed_models}

    def give(self, name, shares):
        """Somebody changes the traffic by hand."""
        (endpoint,) = (one for one in self.endpoints.values() if one.display_name == name)
        ids = {one.display_name: one.id for one in endpoint.deployed_models}
        self._set_traffic(endpoint, {ids[key]: share for key, share in shares.items()})
        self._check()


# What a step is told that dies with this call: not to be retried.
DIED = Refusal(grpc.StatusCode.DATA_LOSS, "the step has died")
