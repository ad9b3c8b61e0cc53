"""What `footfall submit` asks: the same as a dry run prints, and as the clients of the backends themselves would ask."""

import contextlib
import http.server
import json
import threading
import urllib.parse
from concurrent import futures

import grpc
import kfp_server_api
import pytest
import yaml
from google.protobuf import empty_pb2, json_format

from pipeline import cli, submitting
from pipeline.submitting.place import Place
from schemas import errors

_ROOT = "gs://bucket/root"
_RUN = ["--set", "log.path=gs://bucket/day-{SPAN}/*.csv", "--root", _ROOT, "--parameter", "epochs=3"]
_SETTINGS = {
    "labels": {"team": "search"},
    "network": "projects/12/global/networks/ours",
    "service_account": "trainer@p.iam.gserviceaccount.com",
    "retries": 2,
}


def asked(capsys, target, *options, **settings):
    """What a dry run prints."""
    command = ["submit", "ml100k-sasrec", *_RUN, "--target", target, "--dry-run", *options]
    assert cli.execute([*command, "--set", f"cluster={json.dumps({**_SETTINGS, **settings})}"]) == 0
    return json.loads(capsys.readouterr().out)


@contextlib.contextmanager
def kubeflow_api(recurring=(), refused=None):
    """A server that knows no experiment yet, and keeps what it is sent: (path, body).

    It lists what recurs one by one, and refuses to be asked at the path `refused`.
    """
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self, value, status=200):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            asked = urllib.parse.urlsplit(self.path)
            if not asked.path.endswith("/recurringruns"):
                self._answer({"experiments": []} if "experiments" in self.path else {"multi_user": False})
                return
            query = urllib.parse.parse_qs(asked.query)
            assert query["experiment_id"] == ["e1"]
            at = int(query.get("page_token", ["0"])[0])
            listed = {"recurringRuns": recurring[at : at + 1]}
            self._answer(listed | ({"next_page_token": str(at + 1)} if at + 1 < len(recurring) else {}))

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.path == refused:
                self._answer({"message": "no"}, 403)
                return
            seen.append((self.path, json.loads(body or "null")))
            self._answer({"experiment_id": "e1", "run_id": "r1", "recurring_run_id": "c1"})

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("schedule", [None, "30 4 * * *"])
def test_kubeflow_gets_what_a_dry_run_prints(capsys, schedule, tmp_path, monkeypatch):
    # Its client keeps a file there.
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted = asked(capsys, "kubeflow", schedule=schedule)
    body = wanted["body"]
    assert body["pipeline_spec"]["root"]["dag"]["tasks"]["Trainer"]["retryPolicy"] == {"maxRetryCount": 2}
    assert body["runtime_config"] == {"parameters": {"epochs": 3}}
    # The names of the client's own types; it refuses others.
    kind = kfp_server_api.V2beta1RecurringRun if schedule else kfp_server_api.V2beta1Run
    kind(**body)
    with kubeflow_api() as (host, seen):
        said = submitting.get("kubeflow").send(wanted, Place(host=host))
    assert host in said and ("recurring run c1" if schedule else "run r1") in said
    (of_experiment, experiment), (path, sent) = seen
    assert of_experiment == "/apis/v2beta1/experiments" and experiment["display_name"] == "ml100k-sasrec"
    assert path == wanted["path"] and sent.pop("experiment_id") == "e1"
    assert json.loads(json.dumps(sent.pop("pipeline_spec"))) == body["pipeline_spec"]
    assert sent == {name: value for name, value in body.items() if name != "pipeline_spec"}
    if schedule:
        assert body["trigger"]["cron_schedule"]["cron"] == "0 30 4 * * *"


_EARLIER = [
    {"recurring_run_id": "old", "display_name": "ml100k-sasrec", "status": "ENABLED", "mode": "ENABLE"},
    {"recurring_run_id": "off", "display_name": "ml100k-sasrec", "status": "DISABLED", "mode": "DISABLE"},
    {"recurring_run_id": "other", "display_name": "ml100k-caser", "status": "ENABLED", "mode": "ENABLE"},
    {"recurring_run_id": "older", "display_name": "ml100k-sasrec", "mode": "ENABLE"},
]


def test_a_recurring_run_is_not_made_beside_another_one_of_kubeflow(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    wanted, once = (asked(capsys, "kubeflow", schedule=schedule) for schedule in ("30 4 * * *", None))
    send = submitting.get("kubeflow").send
    recurring = "/apis/v2beta1/recurringruns"

    def paths(seen):
        return [path for path, _ in seen if path.startswith(recurring)]

    with kubeflow_api(_EARLIER) as (host, seen):
        with pytest.raises(errors.InputError, match="this name recurs already, as old and older,"):
            send(wanted, Place(host=host))
        assert not paths(seen)
        said = send(wanted, Place(host=host), replace=True)
    # One is there at any time.
    assert paths(seen) == [recurring, f"{recurring}/old:disable", f"{recurring}/older:disable"]
    assert said.startswith("recurring run c1 of") and said.endswith("in place of old and older")
    with kubeflow_api(_EARLIER, refused=recurring) as (host, seen):
        with pytest.raises(kfp_server_api.ApiException):
            send(wanted, Place(host=host), replace=True)
        assert not paths(seen)
    with kubeflow_api(_EARLIER, refused=f"{recurring}/older:disable") as (host, _):
        with pytest.raises(
            errors.InputError, match="run c1 of .* is there, and older goes on beside it: disable"
        ):
            send(wanted, Place(host=host), replace=True)
    # A single run is beside what recurs.
    with kubeflow_api(_EARLIER) as (host, seen):
        send(once, Place(host=host))
    assert not paths(seen)


class VertexApi:
    """Vertex AI's services on loopback; keeps what is asked, by method."""

    def __init__(self):
        from google.cloud import aiplatform_v1 as api

        self.seen = {}
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        self.listed = api.ListSchedulesResponse()
        services = {
            "PipelineService": {
                "CreatePipelineJob": (api.CreatePipelineJobRequest, api.PipelineJob(name="jobs/1"))
            },
            "ScheduleService": {
                "CreateSchedule": (api.CreateScheduleRequest, api.Schedule(name="schedules/1")),
                "ListSchedules": (api.ListSchedulesRequest, self.listed),
                "PauseSchedule": (api.PauseScheduleRequest, empty_pb2.Empty()),
            },
        }
        for service, methods in services.items():
            handlers = {
                method: grpc.unary_unary_rpc_method_handler(
                    self._keep(method, answer),
                    request_deserializer=request.deserialize,
                    response_serializer=lambda sent: getattr(sent, "_pb", sent).SerializeToString(),
                )
                for method, (request, answer) in methods.items()
            }
            name = f"google.cloud.aiplatform.v1.{service}"
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.transports = {
            "pipeline": api.PipelineServiceClient.get_transport_class("grpc")(channel=self._channel),
            "schedule": api.ScheduleServiceClient.get_transport_class("grpc")(channel=self._channel),
        }

    def _keep(self, method, answer):
        def handle(request, _):
            self.seen[method] = json_format.MessageToDict(request._pb)
            return answer

        return handle

    def close(self):
        self._channel.close()
        self._server.stop(None)


@pytest.fixture
def vertex_api():
    pytest.importorskip("google.cloud.aiplatform_v1")
    api = VertexApi()
    yield api
    api.close()


_VERTEX = ("--project", "our-project", "--region", "europe-west4")
_PLACE = Place(project="our-project", region="europe-west4")


@pytest.mark.parametrize("schedule", [None, "30 4 * * *"])
def test_vertex_ai_gets_what_a_dry_run_prints(capsys, schedule, vertex_api):
    wanted = asked(capsys, "vertex", *_VERTEX, schedule=schedule)
    said = submitting.get("vertex").send(wanted, _PLACE, transports=vertex_api.transports)
    assert said == ("schedules/1" if schedule else "jobs/1")
    sent = vertex_api.seen["CreateSchedule" if schedule else "CreatePipelineJob"]
    assert set(vertex_api.seen) == (
        {"CreateSchedule", "ListSchedules"} if schedule else {"CreatePipelineJob"}
    )
    assert sent == wanted
    if schedule:
        assert wanted["schedule"]["cron"] == "TZ=UTC 30 4 * * *"
        wanted = wanted["schedule"]["createPipelineJobRequest"]
    assert wanted["parent"] == "projects/our-project/locations/europe-west4"


def test_a_schedule_is_not_made_beside_another_one_of_vertex_ai(capsys, vertex_api):
    from google.cloud import aiplatform_v1

    wanted = asked(capsys, "vertex", *_VERTEX, schedule="30 4 * * *")
    send = submitting.get("vertex").send
    old = "projects/our-project/locations/europe-west4/schedules/0"
    vertex_api.listed.schedules.append(aiplatform_v1.Schedule(name=old, display_name="ml100k-sasrec"))
    with pytest.raises(errors.InputError, match=f"this name recurs already, as {old},"):
        send(wanted, _PLACE, transports=vertex_api.transports)
    assert vertex_api.seen == {
        "ListSchedules": {
            "parent": "projects/our-project/locations/europe-west4",
            "filter": 'display_name="ml100k-sasrec" AND state="ACTIVE"',
        }
    }
    said = send(wanted, _PLACE, replace=True, transports=vertex_api.transports)
    assert said == f"schedules/1, in place of {old}"
    # One is there at any time.
    assert list(vertex_api.seen) == ["ListSchedules", "CreateSchedule", "PauseSchedule"]
    assert vertex_api.seen["PauseSchedule"] == {"name": old}


def test_vertex_ais_client_would_ask_the_same(capsys, tmp_path):
    aiplatform = pytest.importorskip("google.cloud.aiplatform")
    from google.auth import credentials

    job = asked(capsys, "vertex", *_VERTEX)["pipelineJob"]
    template = tmp_path / "spec.yaml"
    template.write_text(yaml.safe_dump(job["pipelineSpec"]))
    theirs = aiplatform.PipelineJob(
        display_name="ml100k-sasrec",
        template_path=str(template),
        parameter_values={"epochs": 3},
        labels=_SETTINGS["labels"],
        project="our-project",
        location="europe-west4",
        credentials=credentials.AnonymousCredentials(),
    )
    found = json_format.MessageToDict(theirs._gca_resource._pb)
    # These two its `submit` adds.
    assert job.pop("serviceAccount") == _SETTINGS["service_account"]
    assert job.pop("network") == _SETTINGS["network"]
    assert found == job


def test_the_page_of_a_custom_job_is_that_of_vertex_ais_client():
    aiplatform = pytest.importorskip("google.cloud.aiplatform")
    from components.trainer import job_service

    name = "projects/our-project/locations/europe-west4/customJobs/17"
    theirs = aiplatform.CustomJob.__new__(aiplatform.CustomJob)
    theirs._gca_resource = aiplatform.gapic.CustomJob(name=name)
    assert job_service.console(name) == theirs._dashboard_uri()


def test_submit_tells_what_is_missing_before_anything_is_compiled(capsys):
    cases = [
        (["--target", "vertex", "--project", "p"], "submit needs --region for this target"),
        (["--target", "kubeflow"], "submit needs --host"),
        (["--parameter", "log_path=s3://b/*.csv"], "log_path: takes a path of a disk or of a bucket"),
        (
            ["--parameter", "log_path=gs://b/*.csv"],
            "log_path: a run's path stands for spans if log.path does",
        ),
        (["--dry-run", "--set", "log.path=s3://b/*.csv"], "log.path: takes a path of a disk or of a bucket"),
        (
            ["--host", "http://x", "--parameter", "log_path=here/{SPAN}.csv"],
            "log.path is here/{SPAN}.csv, of this machine",
        ),
        (
            ["--host", "http://x", "--parameter", "log_path=~/{SPAN}.csv"],
            "log.path is ~/{SPAN}.csv, of this machine",
        ),
        (["--host", "http://x", "--set", "push.destination=~/models"], "a pod pushes to its own disk"),
        (["--host", "http://x", "--root", "/volume"], "no path of a volume"),
        (["--host", "http://x", "--replace"], "--replace is of a cluster.schedule, which this"),
    ]
    for options, words in cases:
        assert cli.execute(["submit", "ml100k-sasrec", *_RUN, *options]) == 2
        assert words in capsys.readouterr().err


def test_submit_warns_of_paths_that_need_a_volume(capsys):
    assert (
        cli.execute(
            ["submit", "ml100k-sasrec", *_RUN, "--dry-run", "--parameter", "log_path=/mnt/{SPAN}.csv"]
        )
        == 0
    )
    said = capsys.readouterr().err
    assert "footfall: warning: log.path is /mnt/{SPAN}.csv: nothing in the spec mounts a volume there" in said


def test_submit_brings_the_schema_to_where_the_pipeline_reads_it(tmp_path, capsys, monkeypatch):
    from pipeline.runners import targets

    # A folder in place of a bucket, which there is none of here.
    monkeypatch.setattr(targets, "out_of_reach", lambda *_: [])
    monkeypatch.setenv("HOME", str(tmp_path))
    command = ["submit", "ml100k-sasrec", *_RUN, "--root", str(tmp_path / "root")]
    assert cli.execute([*command, "--dry-run"]) == 0 and not (tmp_path / "root").exists()
    with kubeflow_api() as (host, seen):
        assert cli.execute([*command, "--host", host]) == 0
    said = capsys.readouterr().out
    (schema,) = (tmp_path / "root" / "ml100k-sasrec" / "schema").glob("*.pbtxt")
    assert 'name: "target_item_id"' in schema.read_text() and f"{schema} written" in said
    _, (_, sent) = seen
    read = sent["pipeline_spec"]["root"]["dag"]["tasks"]["ImportSchemaGen"]["inputs"]["parameters"]
    assert read["schema_file"]["runtimeValue"]["constant"] == str(schema)
