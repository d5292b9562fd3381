"""Whether the parts of a request suit each other and the dataset's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from service.errors import Place
from service.pointers import pointer
from service.schemas.fits import FitRequest, Validation
from service.schemas.losses import BceLoss, CrossEntropyLoss, Loss, MseLoss
from service.schemas.models import Mlp
from service.schemas.schedules import CyclicSchedule, OneCycleSchedule

Columns = Mapping[str, Mapping[str, Any]]

MOST_CLASSES = 1_000
_OF_NUMBERS = ("mse", "mae", "huber", "smooth_l1", "quantile", "poisson")
_OF_TWO_CLASSES = ("bce", "hinge")
OF_CLASSES = (*_OF_TWO_CLASSES, "cross_entropy")

# The losses that suit each model, its default first.
SUITABLE: Mapping[str, tuple[str, ...]] = {
    "linear": (*_OF_NUMBERS, "hinge"),
    "polynomial": (*_OF_NUMBERS, "hinge"),
    "logistic": ("bce",),
    "softmax": ("cross_entropy",),
    "mlp": (*_OF_NUMBERS, *OF_CLASSES),
}
# These make of the model's numbers what they need by themselves.
_OF_SCORES = (*OF_CLASSES, "poisson")
_DEFAULTS: Mapping[str, Loss] = {
    "mse": MseLoss(),
    "bce": BceLoss(kind="bce"),
    "cross_entropy": CrossEntropyLoss(kind="cross_entropy"),
}


def loss_of(request: FitRequest) -> Loss:
    """The loss that the request names, or else its model's own."""
    return request.loss or _DEFAULTS[SUITABLE[request.model.kind][0]]


def n_outputs(request: FitRequest, columns: Columns) -> int:
    """How many numbers the model gives for a row: a score a class, or a number a target."""
    if loss_of(request).kind == "cross_entropy":
        return int(columns[request.targets[0]]["n_distinct"])
    return len(request.targets)


def unsuitable_places(
    request: FitRequest, columns: Columns, *, n_rows: int, n_moves: int
) -> list[Place]:
    """What torch would refuse, or what would mean nothing, each with its pointer.

    `columns` are the dataset's by name, and hold every target; `n_moves` is how often a schedule
    would move the rate.
    """
    return [
        *_loss_places(request),
        *_network_places(request, n_rows),
        *_target_places(request, columns),
        *_schedule_places(request, n_moves),
        *_validation_places(request),
    ]


def _validation_places(request: FitRequest) -> list[Place]:
    places = []
    stopping = request.early_stopping
    if stopping and stopping.monitor == "validation_loss" and request.validation is None:
        detail = "there is no validation loss without validation; hold rows out, or monitor another"
        places.append(Place("no_validation", detail, "/early_stopping/monitor"))
    stratify = isinstance(request.validation, Validation) and request.validation.stratify
    if stratify and loss_of(request).kind not in OF_CLASSES:
        detail = "rows are held out of each class, and the target has none"
        places.append(Place("no_classes", detail, "/validation/stratify"))
    return places


def missing_places(
    names: Sequence[str], columns: Columns, others: Sequence[Mapping[str, Any]], where: str
) -> list[Place]:
    """What another dataset, of these summaries, lacks of the columns that a fit uses.

    `where` points to that dataset.
    """
    there = {column["name"]: column for column in others}
    return [
        Place("unsuitable_table", detail, where)
        for name in names
        if (detail := difference(columns[name], there.get(name))) is not None
    ]


def difference(column: Mapping[str, Any], other: Mapping[str, Any] | None) -> str | None:
    """Why another table's column cannot stand for this one of the fit's dataset."""
    name = column["name"]
    if other is None:
        return f"the column {name!r} is missing"
    if other["type"] != column["type"]:
        return f"{name!r} is a {other['type']} here, and a {column['type']} in the fit's dataset"
    unknown = unknown_texts(column, other)
    if unknown:
        return f"{name!r} has {unknown[0]!r}, which the fit's dataset has not"
    return None


def unknown_texts(column: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The other category's texts, sorted, that this one has not."""
    return sorted({*other.get("categories", ())} - {*column.get("categories", ())})


def has_usable_weights(column: Mapping[str, Any]) -> bool:
    """Whether a column's numbers can weigh rows: none below 0, and not all 0."""
    return bool(column["min"] >= 0 and column["max"] > 0)


def _loss_places(request: FitRequest) -> list[Place]:
    suitable = SUITABLE[request.model.kind]
    kind = loss_of(request).kind
    if kind in suitable:
        return []
    detail = f"{kind} does not suit a {request.model.kind} model; these do: {', '.join(suitable)}"
    return [Place("unsuitable_loss", detail, "/loss")]


def _network_places(request: FitRequest, n_rows: int) -> list[Place]:
    model, loss = request.model, loss_of(request).kind
    if not isinstance(model, Mlp):
        return []
    places = []
    if loss in _OF_SCORES and model.output not in ("auto", "linear"):
        detail = f"{loss} takes the last layer's numbers as they are: output is auto or linear"
        places.append(Place("unsuitable_output", detail, "/model/output"))
    size = min(request.batch_size or n_rows, n_rows)
    left = 0 if request.drop_last else n_rows % size
    if model.batch_norm and 1 in (size, left):
        detail = "a batch norm needs two rows in every batch, and one would have a single row"
        places.append(Place("batch_of_one", detail, "/batch_size"))
    return places


def _target_places(request: FitRequest, columns: Columns) -> list[Place]:
    loss = loss_of(request)
    places = _unsuited_targets(loss.kind, request, columns)
    if not places:
        return _class_weight_places(request, loss, columns)
    advice = _suiting(request, columns)
    return [replace(place, detail=f"{place.detail}; {advice}") for place in places]


def _suiting(request: FitRequest, columns: Columns) -> str:
    """The losses that do suit the target: the model's, or else other models' beside them."""
    by_model = {
        model: [kind for kind in kinds if not _unsuited_targets(kind, request, columns)]
        for model, kinds in SUITABLE.items()
    }
    if of_model := by_model[request.model.kind]:
        return f"these losses suit it: {', '.join(of_model)}"
    others = [f"{model} ({', '.join(kinds)})" for model, kinds in by_model.items() if kinds]
    if not others:
        return "no loss suits it"
    return (
        f"no loss of a {request.model.kind} model suits it; these models' do: {', '.join(others)}"
    )


def _unsuited_targets(kind: str, request: FitRequest, columns: Columns) -> list[Place]:
    """What of the target a loss of this kind cannot take."""
    if kind in OF_CLASSES:
        return _class_places(kind, request, columns)
    several = not isinstance(request.target, str)
    places = []
    for i, name in enumerate(request.targets):
        where = pointer("target", i) if several else "/target"
        if columns[name]["type"] != "number":
            detail = f"{name!r} is a category, and {kind} needs numbers"
            places.append(Place("not_numbers", detail, where))
        elif kind == "poisson" and columns[name]["min"] < 0:
            detail = f"{name!r} has numbers below 0, and poisson counts"
            places.append(Place("negative_target", detail, where))
    return places


def _class_places(kind: str, request: FitRequest, columns: Columns) -> list[Place]:
    if len(request.targets) > 1:
        return [Place("several_targets", f"{kind} takes one target of classes", "/target")]
    found = columns[request.targets[0]]["n_distinct"]
    most = 2 if kind in _OF_TWO_CLASSES else MOST_CLASSES
    if 2 <= found <= most:  # noqa: PLR2004
        return []
    asked = "2 classes" if most == 2 else f"2 to {most} classes"  # noqa: PLR2004
    detail = f"{kind} needs {asked}; {request.targets[0]!r} has {found}"
    return [Place("wrong_classes", detail, "/target")]


def _class_weight_places(request: FitRequest, loss: Loss, columns: Columns) -> list[Place]:
    weight = loss.class_weight if isinstance(loss, CrossEntropyLoss) else None
    if weight is None:
        return []
    found = columns[request.targets[0]]["n_distinct"]
    if len(weight) == found and any(weight):
        return []
    detail = f"needs a weight for each of the {found} classes, not all 0"
    return [Place("wrong_class_weight", detail, "/loss/class_weight")]


def _schedule_places(request: FitRequest, n_moves: int) -> list[Place]:
    schedule = request.scheduler
    places = []
    cycles = isinstance(schedule, CyclicSchedule | OneCycleSchedule) and schedule.cycle_momentum
    if cycles and not {"momentum", "betas"} & set(type(request.optimizer).model_fields):
        detail = f"{request.optimizer.kind} has no momentum to cycle; set cycle_momentum to false"
        places.append(Place("no_momentum", detail, "/scheduler/cycle_momentum"))
    if isinstance(schedule, OneCycleSchedule) and (schedule.total_steps or n_moves) < n_moves:
        detail = f"the cycle must last for all {n_moves} moves of the fit, or be null"
        places.append(Place("short_cycle", detail, "/scheduler/total_steps"))
    return places
