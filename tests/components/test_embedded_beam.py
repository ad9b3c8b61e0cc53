"""Beam says of methods what it says by itself, and pipelines give what they give by themselves."""

import base64
import bz2
import sys
import types
import xml.dom.minidom
import xml.etree

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.internal import cloudpickle_pickler
from apache_beam.internal.cloudpickle import cloudpickle
from apache_beam.options import pipeline_options
from apache_beam.runners.portability.fn_api_runner import execution, worker_handlers
from apache_beam.testing import util
from apache_beam.transforms import core, userstate

from benchmarks import processes
from components import embedded_beam
from pipeline import config


class Plain(beam.DoFn):
    def process(self, element, other=3, time=beam.DoFn.TimestampParam, *more, key=None):
        yield element + other


class Derived(Plain):
    def process(self, element):
        yield element


class Stateful(beam.DoFn):
    COUNT = userstate.ReadModifyWriteStateSpec("count", VarIntCoder())

    def process(self, element, count=beam.DoFn.StateParam(COUNT)):  # noqa: B008  Beam reads it from there
        count.write((count.read() or 0) + 1)
        yield element[0], count.read()


@pytest.mark.parametrize(
    "dofn", [Plain(), Derived(), Stateful(), core.CallableWrapperDoFn(lambda x, y=2: [x])]
)
def test_methods_have_the_arguments_that_they_have(dofn):
    embedded_beam.tune()
    inspect = core.get_function_args_defaults.inspect
    methods = [getattr(dofn, name) for name in dir(dofn) if callable(getattr(dofn, name, None))]
    for _ in range(2):
        for method in methods:
            assert core.get_function_args_defaults(method) == inspect(method), method


def test_what_is_remembered_cannot_be_changed_by_who_asks():
    method = Plain().process
    before = core.get_function_args_defaults(method)
    for part in core.get_function_args_defaults(method):
        part.clear()
    assert core.get_function_args_defaults(method) == before and before[0][0] == "element"


def test_tuned_twice_is_tuned_once():
    once = core.get_function_args_defaults
    embedded_beam.tune()
    assert core.get_function_args_defaults is once


def test_state_and_side_inputs_work():
    assert worker_handlers.STATE_CACHE_SIZE_MB == 0
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        numbers = pipeline | beam.Create([1, 2, 3])
        pairs = numbers | "pairs" >> beam.Map(lambda x: ("a", x))
        counted = pairs | beam.ParDo(Stateful())
        shared = numbers | "with all" >> beam.Map(lambda x, all_: (x, sum(all_)), beam.pvalue.AsIter(numbers))
        util.assert_that(counted, util.equal_to([("a", 1), ("a", 2), ("a", 3)]), "state")
        util.assert_that(shared, util.equal_to([(1, 6), (2, 6), (3, 6)]), "side")


def test_a_stage_is_described_with_what_it_reads_and_writes(monkeypatch):
    embedded_beam.tune()
    described = []
    build = execution.BundleContextManager._build_process_bundle_descriptor
    monkeypatch.setattr(
        execution.BundleContextManager,
        "_build_process_bundle_descriptor",
        lambda self: (
            described.append((build(self), self.execution_context.pipeline_components)) or described[-1][0]
        ),
    )
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        counted = pipeline | beam.Create(["a", "b", "a"]) | beam.combiners.Count.PerElement()
        util.assert_that(counted, util.equal_to([("a", 2), ("b", 1)]))
    assert described
    for stage, whole in described:
        touched = {
            name
            for transform in stage.transforms.values()
            for name in (*transform.inputs.values(), *transform.outputs.values())
        }
        assert set(stage.pcollections) == touched < set(whole.pcollections)
        assert all(stage.pcollections[name] == whole.pcollections[name] for name in touched)
        for part in ("coders", "windowing_strategies", "environments"):
            assert dict(getattr(stage, part)) == dict(getattr(whole, part)), part


def test_the_default_runner_downloads_no_other(monkeypatch):
    """As Beam's own default does: it is one in Go, and what it cannot fetch costs the time to find that out."""
    from apache_beam.runners.portability import prism_runner

    tried = []
    monkeypatch.setattr(prism_runner.PrismRunner, "run_pipeline", lambda *_: tried.append(True) or 1 / 0)
    for default in (config.BeamSpec().args, processes.BEAM):
        with beam.Pipeline(argv=list(default)) as pipeline:
            util.assert_that(pipeline | beam.Create([1]), util.equal_to([1]))
    assert not tried


def test_options_are_those_that_are_parsed():
    embedded_beam.tune()
    flags = ["--runner=FnApiRunner", "--direct_num_workers=3", "--experiments=one", "--save_main_session"]
    for _ in range(2):
        options = pipeline_options.PipelineOptions(list(flags), temp_location="here")
        for cls in (
            pipeline_options.DirectOptions,
            pipeline_options.DebugOptions,
            pipeline_options.SetupOptions,
            pipeline_options.TypeOptions,
            pipeline_options.GoogleCloudOptions,
        ):
            view, parsed = options.view_as(cls), cls(list(flags))
            assert type(view) is cls and view._visible_option_list() == parsed._visible_option_list()
            for name in parsed._visible_option_list():
                if name != "temp_location" and isinstance(
                    getattr(parsed, name), (str, int, list, type(None))
                ):
                    assert getattr(view, name) == getattr(parsed, name), name
        assert options.view_as(pipeline_options.GoogleCloudOptions).temp_location == "here"
        # Views of one object share their values, and those of another have their own.
        options.view_as(pipeline_options.DebugOptions).experiments.append("two")
        options.view_as(pipeline_options.DirectOptions).direct_num_workers = 5
        assert options.view_as(pipeline_options.DebugOptions).experiments == ["one", "two"]
        assert options.view_as(pipeline_options.DirectOptions).direct_num_workers == 5


def test_state_is_that_of_the_instance():
    embedded_beam.tune()
    for dofn in (Stateful(), Plain(), Stateful(), core.CallableWrapperDoFn(lambda x: [x])):
        states, timers = userstate.get_dofn_specs(dofn)
        assert states == ({Stateful.COUNT} if isinstance(dofn, Stateful) else set()) and not timers
        states.clear()
    bound = core.CallableWrapperDoFn(Stateful().process)
    assert userstate.get_dofn_specs(bound)[0] == {Stateful.COUNT}


def test_submodules_that_a_function_names_are_pickled_with_it():
    embedded_beam.tune()

    def parsing():
        return xml.dom.minidom, xml.etree

    find = cloudpickle._find_imported_submodules
    wanted = [xml.dom, xml.dom.minidom, xml.etree]
    for _ in range(2):
        found = find(parsing.__code__, [xml, 3])
        assert sorted(module.__name__ for module in found) == [module.__name__ for module in wanted]
    sys.modules["xml.minidom"] = made = types.ModuleType("xml.minidom")
    try:
        assert made in find(parsing.__code__, [xml])
    finally:
        del sys.modules["xml.minidom"]
    assert made not in find(parsing.__code__, [xml])


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
def test_what_is_pickled_is_as_small_and_comes_back(size):
    embedded_beam.tune()
    value = [number % 1000 for number in range(size)]
    packed = cloudpickle_pickler.dumps(value)
    assert cloudpickle_pickler.loads(packed) == value
    assert len(packed) <= 1.02 * len(base64.b64encode(bz2.compress(cloudpickle_pickler._dumps(value), 9)))
