"""What newcomers are told of their mistakes: what to mend, and how it is written."""

import json
from typing import Any

import pytest
from pydantic import BaseModel

from service.api import object_shapes
from service.api.queries import ReadParameters
from service.api.validation import MOST_PLACES, parse_json, parse_mapping, parse_object
from service.errors import InvalidInput, Place
from service.resolution import resolve
from service.schemas.batches import BatchRequest
from service.schemas.datasets import DatasetRequest
from service.schemas.fits import FitRequest
from service.settings import Settings

FIT: dict[str, Any] = {"dataset": "ds_1", "target": "y", "steps": 5}
SWEEP: dict[str, Any] = {"base": FIT}


def told(model: type[BaseModel], body: Any) -> list[Place]:
    """What is said of the body, be it text or parsed."""
    with pytest.raises(InvalidInput) as read:
        parse_json(model, json.dumps(body).encode())
    with pytest.raises(InvalidInput) as parsed:
        parse_object(model, body)
    assert [place.detail for place in read.value.places] == [
        place.detail for place in parsed.value.places
    ]
    return [*read.value.places]


OF_FITS: list[tuple[dict[str, Any], str, str]] = [
    # fields of other kinds, or of other places
    ({"model": {"kind": "linear", "hidden": [4]}}, "/model/hidden",
     "linear has no field 'hidden': mlp takes it; linear has kind, bias"),
    ({"model": {"kind": "linear", "hiden": [4]}}, "/model/hiden",
     "linear has no field 'hiden': mlp takes 'hidden'; linear has kind, bias"),
    ({"optimizer": {"kind": "adam", "momentum": 0.9}}, "/optimizer/momentum",
     "adam has no field 'momentum': sgd, rmsprop take it; adam has maximize, kind, lr, betas, "
     "eps, weight_decay, amsgrad, decoupled_weight_decay"),
    ({"optimizer": {"kind": "sgd", "learning_rate": 0.1}}, "/optimizer/learning_rate",
     "there is no field 'learning_rate' here; did you mean 'lr'?"),
    ({"lr": 0.1}, "/lr", "there is no field 'lr' here; did you mean 'lr' in 'optimizer'?"),
    ({"learning_rate": 0.1}, "/learning_rate",
     "there is no field 'learning_rate' here; did you mean 'lr' in 'optimizer'?"),
    ({"penalty": {"kind": "l2"}}, "/penalty/kind",
     "there is no field 'kind' here; there are l1, l2"),
    ({"dataset": {"generator": {"kind": "sine", "n": 5, "coef": [2]}}}, "/dataset/generator/coef",
     "sine has no field 'coef': linear, polynomial take it; sine has n, seed, noise, kind, x, "
     "amplitude, frequency, phase"),
    # kinds
    ({"optimizer": "adam"}, "/optimizer", 'should be an object: write {"kind": "adam"}'),
    ({"loss": "MSE"}, "/loss", 'should be an object: write {"kind": "mse"}'),
    ({"init": "zeros"}, "/init", 'should be an object: write {"kind": "zeros"}'),
    ({"model": 1}, "/model", 'should be an object, like {"kind": "linear"}; the kinds are linear, '
     "polynomial, logistic, softmax, mlp"),
    ({"model": {"hidden": [4]}}, "/model/kind", "the field 'kind' is required: mlp"),
    ({"model": {}}, "/model/kind",
     "the field 'kind' is required: one of linear, polynomial, logistic, softmax, mlp"),
    ({"model": {"kind": "MLP", "hidden": [4]}}, "/model/kind", "no kind 'MLP'; did you mean 'mlp'? "
     "There are linear, polynomial, logistic, softmax, mlp"),
    ({"model": {"kind": "tree"}}, "/model/kind",
     "no kind 'tree'; there are linear, polynomial, logistic, softmax, mlp"),
    # objects, lists, texts and numbers
    ({"validation": 0.2}, "/validation",
     "should be an object; its fields are fraction, stratify, dataset"),
    ({"dataset": [[1, 2]]}, "/dataset", "should be a dataset's id, or the table itself, like "
     '{"columns": {"x": [1, 2], "y": [3, 5]}}'),
    ({"features": "x"}, "/features", 'should be a list: write ["x"]'),
    ({"features": []}, "/features", "needs at least 1 item; it has 0"),
    ({"model": {"kind": "mlp", "hidden": 16}}, "/model/hidden", "should be a list: write [16]"),
    ({"optimizer": {"kind": "adam", "betas": [0.9]}}, "/optimizer/betas",
     "needs at least 2 items; it has 1"),
    ({"optimizer": {"kind": "sgd", "lr": "0.1"}}, "/optimizer/lr",
     "should be a number, without quotes: 0.1"),
    ({"batch_size": "32"}, "/batch_size", "should be a whole number, without quotes: 32"),
    ({"batch_size": "1.5"}, "/batch_size", "should be a whole number"),
    ({"batch_size": "all"}, "/batch_size", "should be a whole number"),
    ({"tolerance": "NaN"}, "/tolerance", "should be a number"),
    ({"tolerance": "true"}, "/tolerance", "should be a number"),
    ({"tolerance": "[" * 200_000}, "/tolerance", "should be a number"),
    ({"tolerance": "1" * 2_000_000}, "/tolerance", "should be a number"),
    ({"steps": 2.5}, "/steps", "should be a whole number"),
    ({"shuffle": "yes"}, "/shuffle", "should be true or false"),
    ({"target": 1}, "/target", "should be a text"),
    ({"batch_size": 0}, "/batch_size", "should be 1 or more"),
    ({"optimizer": {"kind": "sgd", "lr": -0.1}}, "/optimizer/lr", "should be 0 or more"),
    ({"tolerance": 0}, "/tolerance", "should be above 0"),
    ({"model": {"kind": "mlp", "hidden": [4], "dropout": 1}}, "/model/dropout",
     "should be below 1"),
    ({"dtype": "double"}, "/dtype", "should be 'float32' or 'float64'"),
    ({"webhook": {"url": "example.com"}}, "/webhook/url",
     "should be an http or https URL in ASCII, like https://example.org/fits"),
    # distributions
    ({"dataset": {"generator": {"kind": "linear", "n": 5, "noise": {"gauss": [0, 1]}}}},
     "/dataset/generator/noise",
     'should be a standard deviation, {"uniform": [a, b]} or {"normal": [mean, std]}'),
    ({"dataset": {"generator": {"kind": "linear", "n": 5, "x": [0, 1]}}}, "/dataset/generator/x",
     'should be {"uniform": [a, b]} or {"normal": [mean, std]}'),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "pointer", "detail"), OF_FITS)
def test_a_mistake_in_a_fit_is_told_as_it_is_mended(
    changes: dict[str, Any], pointer: str, detail: str
) -> None:
    (place,) = told(FitRequest, FIT | changes)

    assert (place.pointer, place.detail) == (pointer, detail)


DRAW = (
    'should be a list of values, {"uniform": [a, b]}, {"log_uniform": [a, b]}, '
    '{"normal": [mean, std]}, {"integers": [a, b]} or {"choice": [values]}'
)


@pytest.mark.parametrize(
    ("draw", "detail"),
    [
        ({"gauss": [0, 1]}, DRAW),
        ({"kind": "uniform", "low": 0, "high": 1}, DRAW),
        ({}, DRAW),
        (0.1, DRAW),
        ("log_uniform", DRAW),
        ([], "needs at least 1 item; it has 0"),
    ],
)
def test_a_draw_that_is_none_is_told_with_those_there_are(draw: Any, detail: str) -> None:
    body = SWEEP | {"random": {"n": 3, "space": {"optimizer.lr": draw}}}

    (place,) = told(BatchRequest, body)

    assert (place.pointer, place.detail) == ("/random/space/optimizer.lr", detail)


def test_a_draws_own_field_is_told_by_its_distribution() -> None:
    body = SWEEP | {"random": {"n": 3, "space": {"seed": {"uniform": [0, 1], "kind": "int"}}}}

    (place,) = told(BatchRequest, body)

    assert place.pointer == "/random/space/seed/kind"
    assert place.detail.startswith("there is no field 'kind' here; there are uniform, ")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"validation": {"dataset": "ds_2", "fraction": 0.2}}, "/validation/fraction"),
        ({"init": {"fit": "fit_1", "lr": 1}}, "/init/lr"),
        ({"checks": [{"target": "final_loss"}]}, "/checks/0/expected"),
        ({"dataset": {"generator": {"kind": "xor", "n": 5, "noise": {"normal": [0, 1], "a": 1}}}},
         "/dataset/generator/noise/a"),
        ({"model": {"kind": "mlp", "mlp": {}, "hidden": [4]}}, "/model/mlp"),
    ],
)  # fmt: skip
def test_a_member_that_is_named_like_its_field_is_no_part_of_the_pointer(
    changes: dict[str, Any], pointer: str
) -> None:
    (place,) = told(FitRequest, FIT | changes)

    assert place.pointer == pointer


@pytest.mark.parametrize("name", ["r2", "R2", "metrics.r2"])
def test_a_metric_without_its_rows_is_told_with_them(name: str) -> None:
    (place,) = told(BatchRequest, SWEEP | {"grid": {"seed": [1]}, "select": {"metric": name}})

    assert "did you mean train.r2 or validation.r2? There are final_loss, " in place.detail


def test_columns_beside_the_table_are_not_taken_for_a_generators() -> None:
    first, _ = told(DatasetRequest, {"x": [1, 2], "y": [1, 2]})

    assert first.detail == (
        "there is no field 'x' here; there are name, columns, rows, generator, tags, metadata"
    )


def test_a_delimiter_is_told_without_its_pattern() -> None:
    with pytest.raises(InvalidInput, match=r"should be one character, like ; or \|"):
        parse_mapping(ReadParameters, {"delimiter": "ab"})


def test_a_column_with_two_parts_is_told_which_there_are() -> None:
    column = {"type": "number", "min": 0.0, "max": 1.0, "n_distinct": 2}
    facts = {"id": "ds_1", "n_rows": 2, "columns": [{"name": name} | column for name in "xy"]}

    with pytest.raises(InvalidInput, match="'y' is named twice: a column is a target, the weight"):
        resolve(FitRequest(**FIT | {"features": ["x", "y"]}), facts, Settings())


def test_a_schema_is_described_once_for_all_mistakes() -> None:
    object_shapes._schema.cache_clear()
    many = {f"wrong{i}": 1 for i in range(100)}

    assert len(told(FitRequest, FIT | many)) == MOST_PLACES

    assert object_shapes._schema.cache_info().misses == 1


def test_a_very_long_name_is_cut_and_looked_for_nowhere() -> None:
    # given a name that would take minutes to compare
    name = "learning_rate" * 100_000

    places = told(FitRequest, FIT | {name: 1, "model": {"kind": name}})

    assert len(places) == 2
    assert all(len(place.detail) < 1_000 for place in places)
