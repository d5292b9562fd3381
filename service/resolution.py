"""A fit's request and its dataset → the resolved spec, every default filled in."""

import difflib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from service.check_targets import target_places
from service.devices import device_places
from service.errors import InvalidInput, Place
from service.origin import Origin, origin_places
from service.pointers import pointer
from service.schemas.fits import FitRequest, Validation, ValidationDataset
from service.schemas.inits import GivenInit
from service.schemas.models import Mlp, PolynomialModel
from service.settings import Settings
from service.suitability import (
    Columns,
    has_usable_weights,
    loss_of,
    missing_places,
    n_outputs,
    unsuitable_places,
)
from service.tables.encoding import base_features, encode, has_more_terms
from service.weight_shapes import Shapes, count_parameters, weight_shapes

# What a trajectory may take, as float64.
MOST_TRAJECTORY_BYTES = 256 * 1024**2
# A polynomial's terms are columns of a matrix: more than this many are no sensible model.
MOST_TERMS = 10_000


def resolve(
    request: FitRequest,
    dataset: Mapping[str, Any],
    settings: Settings,
    *,
    validation: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """The spec to keep: posting it again gives the same numbers.

    `dataset` is the dataset's row, `validation` that of the one that the request validates by,
    `origin` the fit that it starts from. Raises InvalidInput with a pointer to each thing to mend.
    """
    columns = {column["name"]: column for column in dataset["columns"]}
    features = _features(request, dataset)
    places = [
        *_column_places(request, columns),
        *_length_places(request, dataset["n_rows"], settings),
        *_record_places(request),
        *device_places(request, settings),
    ]
    if not places and validation is not None:
        weight = [] if request.sample_weight is None else [request.sample_weight]
        used = [*features, *request.targets, *weight]
        places = missing_places(used, columns, validation["columns"], "/validation/dataset")
    if not places:
        n_rows = n_training_rows(dataset["n_rows"], request.validation)
        n_moves = _n_moves(request, n_rows)
        places = unsuitable_places(request, columns, n_rows=n_rows, n_moves=n_moves)
    if not places:
        places = _term_places(request, features, dataset["columns"])
    if not places:
        encoded = encode(features, dataset["columns"], request.model.model_dump())
        expected = weight_shapes(request.model, len(encoded), n_outputs(request, columns))
        places = [
            *_label_places(request, encoded.labels),
            *_constant_places(request, features, columns),
            *_model_places(request, expected, settings, origin),
            *_trajectory_places(request, expected, dataset["n_rows"]),
        ]
    if not places:
        spec = filled_in(request, dataset)
        places = target_places(spec.get("checks", ()), spec, encoded.labels, list(expected))
    if places:
        raise InvalidInput(places[0].detail, places=places)
    return spec


def filled_in(request: FitRequest, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a request that suits its dataset."""
    spec = request.model_dump(mode="json")
    spec["loss"] = loss_of(request).model_dump(mode="json")
    spec["dataset"] = dataset["id"]
    spec["features"] = _features(request, dataset)
    return spec


def _features(request: FitRequest, dataset: Mapping[str, Any]) -> list[str]:
    taken = {*request.targets, request.sample_weight}
    names = [column["name"] for column in dataset["columns"]]
    return request.features or [name for name in names if name not in taken]


def _column_places(request: FitRequest, columns: Columns) -> list[Place]:
    named = _named(request)
    places = [
        Place("unknown_column", _unknown(name, list(columns)), where)
        for where, name in named
        if name not in columns
    ]
    seen: set[str] = set()
    for where, name in named:
        if name in seen:
            detail = f"{name!r} is named twice: a column is a target, the weight or a feature"
            places.append(Place("column_used_twice", detail, where))
        seen.add(name)
    if request.features is None and set(columns) <= seen:
        places.append(Place("no_features", "no column is left as a feature", "/target"))
    return places or _sample_weight_places(request, columns)


def _named(request: FitRequest) -> list[tuple[str, str]]:
    """Every column that the request names, with the pointer to where."""
    if isinstance(request.target, str):
        named = [("/target", request.target)]
    else:
        named = [(pointer("target", i), name) for i, name in enumerate(request.target)]
    if request.sample_weight is not None:
        named.append(("/sample_weight", request.sample_weight))
    features = request.features or ()
    return [*named, *((pointer("features", i), name) for i, name in enumerate(features))]


def _sample_weight_places(request: FitRequest, columns: Columns) -> list[Place]:
    if request.sample_weight is None:
        return []
    column = columns[request.sample_weight]
    if column["type"] != "number":
        detail = f"{request.sample_weight!r} is a category; a weight is a number"
        return [Place("not_numbers", detail, "/sample_weight")]
    if not has_usable_weights(column):
        detail = "weights are 0 or more, and not all 0"
        return [Place("unusable_weights", detail, "/sample_weight")]
    return []


def _constant_places(request: FitRequest, features: Sequence[str], columns: Columns) -> list[Place]:
    """What has no variance to standardize by."""
    if not request.standardize:
        return []
    if not isinstance(request.model, Mlp) and not request.model.bias:
        detail = "features are moved to mean 0, which a model without a bias cannot make up for"
        return [Place("bias_needed", detail, "/model/bias")]
    return [
        Place("constant_column", f"{name!r} is constant: it cannot be standardized", "/standardize")
        for name in features
        if columns[name]["n_distinct"] == 1
    ]


def _term_places(
    request: FitRequest, features: Sequence[str], columns: Sequence[Mapping[str, Any]]
) -> list[Place]:
    model = request.model
    if not isinstance(model, PolynomialModel):
        return []
    base = base_features(features, columns)
    if not has_more_terms(base, model.degree, MOST_TERMS, interactions=model.interactions):
        return []
    detail = f"the polynomial has more than {MOST_TERMS} terms; lower the degree"
    return [Place("too_many_terms", detail, "/model/degree")]


def _label_places(request: FitRequest, labels: Sequence[str]) -> list[Place]:
    """What would give two coefficients one name."""
    if not isinstance(request.model, Mlp) and request.model.bias and "intercept" in labels:
        detail = (
            "a feature named 'intercept' would hide the model's own; rename it or drop the bias"
        )
        return [Place("reserved_name", detail, "/features")]
    twice = next((label for label, n in Counter(labels).items() if n > 1), None)
    if twice is not None:
        detail = f"two features are both named {twice!r}; rename a column"
        return [Place("ambiguous_feature", detail, "/features")]
    return []


def _unknown(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"the dataset has no column {name!r}; did you mean {close[0]!r}?"
    listed = ", ".join(map(repr, names[:20]))
    return f"the dataset has no column {name!r}; it has {listed}"


def n_training_rows(n_rows: int, validation: Validation | ValidationDataset | None) -> int:
    """The rows that are left to fit; stratified, a few less may be."""
    if not isinstance(validation, Validation):
        return n_rows
    return n_rows - math.ceil(validation.fraction * n_rows)


def steps_an_epoch(n_rows: int, batch_size: int | None, drop_last: bool) -> int:
    """How many updates one pass over the rows makes."""
    if batch_size is None:
        return 1
    return n_rows // batch_size if drop_last else math.ceil(n_rows / batch_size)


def n_updates(request: FitRequest, n_rows: int) -> int:
    """How many updates the request asks for on so many training rows."""
    an_epoch = steps_an_epoch(n_rows, request.batch_size, request.drop_last)
    return request.steps or an_epoch * (request.epochs or 0)


def _n_moves(request: FitRequest, n_rows: int) -> int:
    """How often a schedule of the request moves the rate."""
    an_epoch = steps_an_epoch(n_rows, request.batch_size, request.drop_last)
    total = n_updates(request, n_rows)
    by_step = request.scheduler is not None and request.scheduler.interval == "step"
    return total if by_step else total // an_epoch


def _length_places(request: FitRequest, n_rows: int, settings: Settings) -> list[Place]:
    n_rows = n_training_rows(n_rows, request.validation)
    if n_rows == 0:
        detail = "no row would be left to fit"
        return [Place("no_training_rows", detail, "/validation/fraction")]
    steps = steps_an_epoch(n_rows, request.batch_size, request.drop_last)
    if steps == 0:
        detail = f"drop_last leaves no batch: the dataset has {n_rows} rows"
        return [Place("no_batch", detail, "/batch_size")]
    total = n_updates(request, n_rows)
    if total > settings.max_steps:
        detail = f"{total} updates are past the limit of {settings.max_steps} (THALWEG_MAX_STEPS)"
        return [Place("too_many_steps", detail, "/steps" if request.steps else "/epochs")]
    return []


def _model_places(
    request: FitRequest, expected: Shapes, settings: Settings, origin: Origin | None
) -> list[Place]:
    n_parameters = count_parameters(expected)
    if n_parameters > settings.max_parameters:
        limit = f"{settings.max_parameters} (THALWEG_MAX_PARAMETERS)"
        return [
            Place("too_many_parameters", f"{n_parameters} are past the limit of {limit}", "/model")
        ]
    if isinstance(request.init, GivenInit):
        return _weight_places(request.init.weights, expected)
    return [] if origin is None else origin_places(origin, request.optimizer, expected)


def _record_places(request: FitRequest) -> list[Place]:
    record = request.record
    if not (record.final_weights_only and (record.weights or record.gradients)):
        return []
    detail = "the final weights alone leave no room for others; take one of the two back"
    return [Place("contradiction", detail, "/record/final_weights_only")]


def _trajectory_places(request: FitRequest, expected: Shapes, n_rows: int) -> list[Place]:
    record = request.record
    n_rows = n_training_rows(n_rows, request.validation)
    n_kept = math.ceil(n_updates(request, n_rows) / record.every)
    n_arrays = record.weights + record.gradients
    if n_arrays * n_kept * count_parameters(expected) * 8 <= MOST_TRAJECTORY_BYTES:
        return []
    most_mib = MOST_TRAJECTORY_BYTES // 1024**2
    detail = f"{n_kept} records of all weights take more than {most_mib} MiB; keep fewer of them"
    return [Place("too_long_trajectory", detail, "/record/every")]


def _weight_places(
    given: Mapping[str, Sequence[Any]], expected: Mapping[str, tuple[int, ...]]
) -> list[Place]:
    places = [
        Place("required", f"{name!r} of shape {_shown(shape)} is missing", "/init/weights")
        for name, shape in expected.items()
        if name not in given
    ]
    for name, values in given.items():
        place = pointer("init", "weights", name)
        if name not in expected:
            known = ", ".join(map(repr, expected))
            places.append(Place("unknown_field", f"the model has {known}, no {name!r}", place))
        elif (shape := _shape(values)) != expected[name]:
            detail = f"has shape {_shown(shape)} where {_shown(expected[name])} is expected"
            places.append(Place("wrong_shape", detail, place))
    return places


def _shape(values: Sequence[Any]) -> tuple[int | None, ...]:
    """The shape of a vector or matrix; None for the width of a ragged one."""
    if not values or not isinstance(values[0], list):
        return (len(values),)
    widths = {len(row) for row in values}
    return (len(values), widths.pop() if len(widths) == 1 else None)


def _shown(shape: Sequence[int | None]) -> str:
    return "×".join("ragged" if n is None else str(n) for n in shape)
