"""Owners never meet: whatever names another one's thing is answered as if there were none.

What is asked comes from the OpenAPI document, so that no operation is left out.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.context import Context
from service.ids import new_id
from service.keys import create_key
from service.limits import Limits
from tests.service.api.documented import components, operations, paths
from tests.service.api.resources import COLUMNS, end

JSON = "application/json"
FIT = {"dataset": {"columns": COLUMNS}, "target": "y", "steps": 3}
# As `service.schemas.common.Id` is described.
ID = {"type": "string", "maxLength": 100, "pattern": r"^[^\x00]*$"}
STATES = ("waiting", "over", "deleted")


@dataclass(frozen=True)
class Owner:
    """One who asks, by a key of theirs."""

    http: FlaskClient
    key: str

    def ask(self, method: str, path: str, body: Any = None) -> TestResponse:
        """The answer; without a body where there is none to send."""
        headers = {"Authorization": f"Bearer {self.key}"}
        sent = {} if body is None else {"json": body}
        return self.http.open(path, method=method.upper(), headers=headers, **sent)

    def make(self, path: str, body: Any) -> str:
        """The id of what a POST makes."""
        answer = self.ask("post", path, body)
        assert answer.status_code in (201, 202), answer.text
        return str(answer.get_json()["id"])


@pytest.fixture
def owner(http: FlaskClient, context: Context) -> Callable[[str], Owner]:
    """Make an owner."""

    def make(name: str) -> Owner:
        scopes = ["read", "write", "admin"]
        return Owner(http, create_key(context.database, name, scopes, Limits())["key"])

    return make


@dataclass(frozen=True)
class Asked:
    """A request but for the id that it names, where `{id}` stands."""

    operation_id: str
    method: str
    path: str
    body: Any = None

    def by(self, owner: Owner, named: str) -> TestResponse:
        """The answer where it names this id."""
        body = None if self.body is None else json.loads(_put(json.dumps(self.body), named))
        return owner.ask(self.method, _put(self.path, named), body)


def _put(text: str, named: str) -> str:
    return text.replace("{id}", named)


def all_of(owner: Owner, context: Context, state: str) -> dict[str, str]:
    """One thing of each kind by the name that paths give its id, all in the same state."""
    made = {
        "dataset_id": owner.make("/v1/datasets", {"columns": COLUMNS}),
        "fit_id": owner.make("/v1/fits", FIT),
        "test_id": owner.make("/v1/lr-range-tests", FIT),
        "batch_id": owner.make("/v1/batches", {"fits": [FIT]}),
    }
    if state == "waiting":
        return made
    end(context, made["fit_id"])
    for path in (f"/v1/lr-range-tests/{made['test_id']}", f"/v1/batches/{made['batch_id']}"):
        assert owner.ask("post", f"{path}/cancel").status_code == 202
    if state == "deleted":
        for (name, one), (path, *_) in itertools.product(made.items(), _looked_up()):
            if name in path:
                assert owner.ask("delete", path.format(**{name: one})).status_code == 204
    return made


def _looked_up() -> Iterator[tuple[str, dict[str, Any]]]:
    """The paths of things themselves, with their operations."""
    return ((path, ops) for path, ops in paths().items() if re.fullmatch(r"[^{}]+/{\w+}", path))


def of_paths() -> Iterator[tuple[str, Asked]]:
    """Every operation with an id in its path, in each of its forms, beside the id's name."""
    for path, method, op in operations():
        named = {one["name"]: one for one in op["parameters"] if one["in"] == "path"}
        ids = [name for name in named if name.endswith("_id")]
        if not ids:
            continue
        (name,) = ids
        values = {
            other: one["schema"].get("enum", [one["example"]])
            for other, one in named.items()
            if other != name
        }
        for chosen in itertools.product(*values.values()):
            filled = dict(zip(values, chosen, strict=True))
            asked = path.format(**filled, **{name: "{id}"})
            yield name, Asked(op["operationId"], method, asked, json_of(op).get("example"))


def json_of(op: dict[str, Any]) -> dict[str, Any]:
    """What the operation takes as JSON."""
    found: dict[str, Any] = op.get("requestBody", {}).get("content", {}).get(JSON, {})
    return found


def same_but_for_the_id(answer: TestResponse, named: str) -> tuple[int, Any]:
    """The status and the body, less what tells two requests apart."""
    body = json.loads(answer.text.replace(named, "{id}"))
    del body["request_id"]
    return answer.status_code, body


@pytest.mark.parametrize("state", STATES)
def test_no_operation_on_an_id_tells_anothers_from_an_unknown_one(
    owner: Callable[[str], Owner], context: Context, state: str
) -> None:
    # given one of each of one owner's
    ada, bob = owner("ada"), owner("bob")
    made = all_of(ada, context, state)

    # when another names them in whatever operation
    for name, asked in of_paths():
        theirs, unknown = made[name], new_id(made[name].partition("_")[0])
        found = same_but_for_the_id(asked.by(bob, theirs), theirs)

        # then the answer is that of something that never was
        assert found == same_but_for_the_id(asked.by(bob, unknown), unknown), asked
        assert (found[0], found[1]["code"]) == (404, "not_found"), asked

    # and nothing has happened to them
    for path, _ in _looked_up():
        (name,) = re.findall(r"{(\w+)}", path)
        answer = ada.ask("get", path.format(**made))
        assert answer.status_code == (410 if state == "deleted" else 200)
        expected = "queued" if state == "waiting" else answer.get_json().get("status")
        assert answer.get_json().get("status", expected) == expected


def named_in(schema: Any, where: tuple[str, ...] = (), seen: frozenset[str] = frozenset()) -> Any:
    """The places of a body's schema that name something by its id."""
    if isinstance(schema, list):
        for part in schema:
            yield from named_in(part, where, seen)
        return
    if not isinstance(schema, dict):
        return
    if ID.items() <= schema.items():
        yield where
    reference = schema.get("$ref")
    if reference is not None and reference not in seen:
        referred = components()["schemas"][reference.rpartition("/")[2]]
        yield from named_in(referred, where, seen | {reference})
    for name, part in schema.get("properties", {}).items():
        yield from named_in(part, (*where, name), seen)
    for group in ("anyOf", "oneOf", "allOf", "items", "additionalProperties"):
        yield from named_in(schema.get(group), where, seen)


def of_bodies() -> set[tuple[str, str]]:
    """Each operation whose JSON names something by its id, beside the place."""
    return {
        (op["operationId"], ".".join(where))
        for *_, op in operations()
        for where in named_in(json_of(op).get("schema"))
    }


# What a fit can name, and what its body then has at the place's first word.
OF_A_FIT: dict[str, Any] = {
    "dataset": "{id}",
    "validation.dataset": {"dataset": "{id}"},
    "init.fit": {"fit": "{id}"},
}


def naming(place: str) -> dict[str, Any]:
    """What of a fit's body names something at this place."""
    return {place.partition(".")[0]: OF_A_FIT[place]}


def sweeps(named: dict[str, Any]) -> list[Any]:
    """Batches whose fits have this in their bodies, in each way to write them."""
    ((path, value),) = named.items()
    return [
        {"fits": [FIT, FIT | named]},
        {"base": FIT | named, "grid": {"seed": [0, 1]}},
        {"base": FIT, "grid": {path: [value]}},
        {"base": FIT, "random": {"n": 2, "space": {path: {"choice": [value]}}}},
    ]


# Every body that names another thing, by its place; a path's `{fit_id}` is the asker's own.
BODIES: dict[tuple[str, str], list[Any]] = {
    **{
        (operation_id, place): [FIT | naming(place)]
        for operation_id in ("createFit", "validateFit", "createLrRangeTest")
        for place in OF_A_FIT
    },
    **{("createBatch", f"fits.{place}"): sweeps(naming(place)) for place in OF_A_FIT},
    ("createPredictions", "dataset"): [{"dataset": "{id}"}],
    ("createEvaluation", "dataset"): [{"dataset": "{id}"}],
    ("createGradients", "dataset"): [
        {"dataset": "{id}", "target": "y", "weights": {"weight": [[1]], "bias": [0]}}
    ],
}


# A range test looks at training rows alone.
NEVER_LOOKED_UP = {("createLrRangeTest", "validation.dataset")}


def test_every_body_that_names_something_is_known_here() -> None:
    assert of_bodies() == set(BODIES)


@pytest.mark.parametrize(("operation_id", "place"), sorted({*BODIES} - NEVER_LOOKED_UP))
def test_no_body_tells_anothers_from_an_unknown_one(
    owner: Callable[[str], Owner], context: Context, operation_id: str, place: str
) -> None:
    # given some of each of one owner's, and an ended fit of another's
    ada, bob = owner("ada"), owner("bob")
    own = all_of(bob, context, "over")["fit_id"]
    kind = "fit_id" if place.endswith("fit") else "dataset_id"
    made = [all_of(ada, context, state)[kind] for state in STATES]
    path = path_of(operation_id).format(fit_id=own)
    before = n_listed(bob)

    for theirs, body in itertools.product(made, BODIES[operation_id, place]):
        asked, unknown = Asked(operation_id, "post", path, body), new_id(theirs.partition("_")[0])

        found = same_but_for_the_id(asked.by(bob, theirs), theirs)

        assert found == same_but_for_the_id(asked.by(bob, unknown), unknown), asked
        assert (found[0], found[1]["code"]) == (404, "not_found"), asked
    # and nothing was made
    assert n_listed(bob) == before


def path_of(operation_id: str) -> str:
    """Where the operation is."""
    (found,) = (path for path, _, op in operations() if op["operationId"] == operation_id)
    return found


@pytest.mark.parametrize(("operation_id", "place"), NEVER_LOOKED_UP)
def test_what_is_never_looked_up_tells_nothing(
    owner: Callable[[str], Owner], context: Context, operation_id: str, place: str
) -> None:
    ada, bob = owner("ada"), owner("bob")
    theirs = all_of(ada, context, "waiting")["dataset_id"]
    (body,) = BODIES[operation_id, place]
    asked = Asked(operation_id, "post", path_of(operation_id), body)

    answers = [asked.by(bob, named).get_json() for named in (theirs, new_id("ds"))]

    # then it is accepted, and nothing but the name that was sent is kept
    assert [answer["status"] for answer in answers] == ["queued", "queued"]
    assert {str(answer).count(theirs) for answer in answers} == {0, 1}


def lists() -> list[str]:
    """The paths of lists of things."""
    return [
        path
        for path, method, op in operations()
        if method == "get"
        and "{" not in path
        and "limit" in {parameter["name"] for parameter in op["parameters"]}
    ]


def n_listed(owner: Owner) -> dict[str, int]:
    """How many of each list the owner sees."""
    return {path: len(owner.ask("get", path).get_json()["data"]) for path in lists()}


def test_lists_are_an_owners_own(owner: Callable[[str], Owner], context: Context) -> None:
    ada, bob = owner("ada"), owner("bob")
    made = all_of(ada, context, "over")

    assert len(lists()) == len(made)
    assert all(n_listed(ada).values())
    assert not any(n_listed(bob).values())


def test_nothing_is_looked_up_by_a_list_of_anothers_ids(
    owner: Callable[[str], Owner], context: Context
) -> None:
    ada, bob = owner("ada"), owner("bob")
    made = all_of(ada, context, "over")
    named = {"/v1/fits": made["fit_id"], "/v1/lr-range-tests": made["test_id"]}
    by_ids = [
        path
        for path in lists()
        if "ids" in {one["name"] for one in paths()[path]["get"]["parameters"]}
    ]

    assert sorted(by_ids) == sorted(named)
    for path, theirs in named.items():
        asked, unknown = Asked("", "get", f"{path}?ids={{id}}"), new_id(theirs.partition("_")[0])
        assert asked.by(ada, theirs).status_code == 200
        found = same_but_for_the_id(asked.by(bob, theirs), theirs)
        assert found == same_but_for_the_id(asked.by(bob, unknown), unknown)
        assert found[0] == 404


def test_a_fit_of_anothers_is_never_reused(owner: Callable[[str], Owner], context: Context) -> None:
    # given one owner's success, of a table that another has too
    ada, bob = owner("ada"), owner("bob")
    end(context, ada.make("/v1/fits", FIT))

    answer = bob.ask("post", "/v1/fits", FIT | {"reuse": True})

    assert (answer.status_code, answer.get_json()["status"]) == (202, "queued")
    assert ada.ask("post", "/v1/fits", FIT | {"reuse": True}).status_code == 200
