"""openapi.yaml against the code, in both directions."""

from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from flask import Flask
from openapi_spec_validator import validate

from service.api import create_app
from service.api.documentation import as_yaml
from service.settings import Settings
from workers.plots import PLOTS

ROOT = Path(__file__).parent.parent
# What changes with every look, or comes as it is made.
UNTAGGED = ("Events", "BatchResults")
# Pages for people and the document itself.
UNDOCUMENTED = {
    "/", "/pages/<name>", "/docs", "/docs/<name>", "/openapi.json", "/openapi.yaml"
}  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("data")))


@pytest.fixture(scope="module")
def committed() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "openapi.yaml").read_text())
    return document


def test_the_committed_document_is_what_the_code_says(app: Flask) -> None:
    assert (ROOT / "openapi.yaml").read_text() == as_yaml(app), "run `make openapi`"


def test_the_document_is_valid(committed: dict[str, Any]) -> None:
    validate(committed)


def test_every_route_is_documented(app: Flask) -> None:
    bare = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if "operation" not in app.view_functions[rule.endpoint].__dict__
    }

    assert bare == UNDOCUMENTED


def test_every_operation_has_an_id_of_its_own_and_its_bodies_an_example(
    committed: dict[str, Any],
) -> None:
    operations = [op for path in committed["paths"].values() for op in path.values()]
    ids = [op["operationId"] for op in operations]

    assert len(set(ids)) == len(ids)
    for op in operations:
        for content in op.get("requestBody", {}).get("content", {}).values():
            # Nobody reads an example of bytes.
            assert "example" in content or "binary" in str(content["schema"])
        assert op["summary"]


def test_every_answer_in_json_has_an_example_that_is_one(committed: dict[str, Any]) -> None:
    for op in (op for path in committed["paths"].values() for op in path.values()):
        for status, answer in op["responses"].items():
            for media_type, content in answer.get("content", {}).items():
                if status.startswith("2") and media_type.endswith("json"):
                    name = content["schema"]["$ref"].rpartition("/")[2]
                    assert content["examples"] == {
                        "answer": {"$ref": f"#/components/examples/{name}"}
                    }, op["operationId"]
    for name, example in committed["components"]["examples"].items():
        # Problems have an example a status.
        schema = "Problem" if name not in committed["components"]["schemas"] else name
        whole = {"$ref": f"#/components/schemas/{schema}", "components": committed["components"]}
        jsonschema_rs.Draft202012Validator(whole).validate(example["value"])


def test_every_operation_shows_a_request_and_an_answer(committed: dict[str, Any]) -> None:
    for path, op in ((p, op) for p, ops in committed["paths"].items() for op in ops.values()):
        for parameter in op["parameters"]:
            assert parameter["in"] != "path" or parameter["example"], path
        answers = [a for status, a in op["responses"].items() if status[0] == "2"]
        contents = [pair for answer in answers for pair in answer.get("content", {}).items()]
        shown = [name for name, content in contents if {"example", "examples"} & set(content)]
        assert shown or not contents, op["operationId"]
        # Nobody reads an example of bytes.
        texts = {name for name, _ in contents if name.startswith("text/") or "json" in name}
        assert texts <= set(shown), op["operationId"]


def test_every_problem_is_one_of_those_that_all_operations_share(
    committed: dict[str, Any],
) -> None:
    components = committed["components"]
    shared = {f"#/components/responses/{name}" for name in components["responses"]}

    for op in (op for path in committed["paths"].values() for op in path.values()):
        for status, answer in op["responses"].items():
            if "$ref" in answer:
                assert answer["$ref"] in shared
                assert answer["$ref"].endswith(status)
            else:
                assert status < "4" or op.get("security") == []
    for name, answer in components["responses"].items():
        (content,) = answer["content"].values()
        example = components["examples"][content["examples"]["answer"]["$ref"].rpartition("/")[2]]
        assert str(example["value"]["status"]) == name[-3:]


def test_what_has_an_id_has_a_tag_and_is_not_sent_twice(committed: dict[str, Any]) -> None:
    gets = [ops["get"] for path, ops in committed["paths"].items() if "{" in path and "get" in ops]
    tagged = [op for op in gets if not op["operationId"].endswith(UNTAGGED)]

    assert {"getFit", "getDataset", "getBatch", "getChecks"} < {op["operationId"] for op in tagged}
    for op in tagged:
        assert "ETag" in op["responses"]["200"]["headers"], op["operationId"]
        assert "304" in op["responses"], op["operationId"]


def test_what_a_post_makes_is_linked_to_all_that_takes_its_id(committed: dict[str, Any]) -> None:
    paths = committed["paths"]

    links = paths["/v1/lr-range-tests"]["post"]["responses"]["202"]["links"]

    assert links["cancelLrRangeTest"]["parameters"] == {"test_id": "$response.body#/id"}
    assert {"getLrRangeTest", "deleteLrRangeTest"} < set(links)
    assert "deleteBatch" in paths["/v1/batches"]["post"]["responses"]["202"]["links"]


def test_the_service_names_the_plots_that_workers_draw(committed: dict[str, Any]) -> None:
    (summary,) = (
        op["summary"]
        for path in committed["paths"].values()
        for op in path.values()
        if op["operationId"] == "getPlot"
    )

    assert all(f"`{kind}`" in summary for kind in PLOTS)
