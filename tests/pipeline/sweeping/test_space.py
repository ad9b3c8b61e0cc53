"""What a person writes of a sweep."""

import pytest

from pipeline.sweeping import proposals
from pipeline.sweeping import space as spaces
from schemas import errors
from trainer import search


def test_a_grid_is_every_combination():
    grid = spaces.parse_grid(
        ["model.dim=32,64", "training.learning_rate=0.001,3e-3", "training.xla=true,false"]
    )
    points = proposals.grid_points(grid)
    assert len(points) == 8 and len({tuple(point.values()) for point in points}) == 8
    assert {type(value) for point in points for value in point.values()} == {int, float, bool}
    assert {point["training.learning_rate"] for point in points} == {0.001, 0.003}
    assert proposals.grid_points({}) == [{}]
    # No number of another base.
    assert spaces.parse_grid(["model.dim=010,0x10"]) == {"model.dim": ("010", "0x10")}
    # A list is one value.
    assert spaces.parse_grid(["model.tower=[32,16],[64],[]"]) == {"model.tower": ([32, 16], [64], [])}
    assert spaces.override("loss.name", "1e-3") == "loss.name='1e-3'"


@pytest.mark.parametrize(
    "texts,words",
    [
        (["model.dim"], "takes KEY=VALUES"),
        (["window.length=10,20"], "a key starts with model., loss., loop., training."),
        (["model=sasrec,gru4rec"], "a key starts with"),
        (["training.seed=1,2"], "--seeds"),
        (["model.dim=1", "model.dim=2"], "there twice"),
        (["model.tower=[32,16"], "is not YAML"),
        (["model.dim=8,"], "a value is missing after the last comma"),
    ],
)
def test_grids_that_are_none(texts, words):
    with pytest.raises(errors.InputError, match=words):
        spaces.parse_grid(texts)


def test_spaces():
    space = spaces.parse_space(
        [
            "model.dim=16..128:log:step=2",
            "model.dropout=0..0.5",
            "training.learning_rate=1e-4..1e-2:log",
            "model.heads=1,2",
        ]
    )
    assert space["model.dim"] == search.Range(low=16, high=128, step=2, log=True)
    assert space["model.dropout"] == search.Range(low=0, high=0.5)
    assert space["training.learning_rate"] == search.Range(low=0.0001, high=0.01, log=True)
    assert space["model.heads"] == search.Range(choices=(1, 2))
    for text, words in (
        ("model.dim=8..4", "a range goes up"),
        ("model.dim=0..4:log", "above 0"),
        ("model.dim=1..4:cubic", "none of log, linear"),
        ("model.dim=a..b", "a range is of numbers"),
        ("model.dim=1..4:log:step=1", "step must be above 1"),
        ("model.dim=1,x", "choices are numbers, texts or true and false"),
    ):
        with pytest.raises(errors.InputError, match=words):
            spaces.parse_space([text])
