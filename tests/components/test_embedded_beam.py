"""Beam says of methods what it says by itself, and pipelines give what they give by themselves."""

import apache_beam as beam
import pytest
from apache_beam.coders import VarIntCoder
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.testing import util
from apache_beam.transforms import core, userstate

from components import embedded_beam


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
    with beam.Pipeline() as pipeline:
        numbers = pipeline | beam.Create([1, 2, 3])
        pairs = numbers | "pairs" >> beam.Map(lambda x: ("a", x))
        counted = pairs | beam.ParDo(Stateful())
        shared = numbers | "with all" >> beam.Map(lambda x, all_: (x, sum(all_)), beam.pvalue.AsIter(numbers))
        util.assert_that(counted, util.equal_to([("a", 1), ("a", 2), ("a", 3)]), "state")
        util.assert_that(shared, util.equal_to([(1, 6), (2, 6), (3, 6)]), "side")
