"""What a schema takes at a place in a body, as its JSON Schema has it."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from pydantic import BaseModel

Node = Mapping[str, Any]
Path = Sequence[str | int]

# What tells the members of a union apart.
_TAG = "kind"


class ObjectShape(NamedTuple):
    """An object that may stand at a place: its fields, and its kind where it has one.

    `below` are the fields of the objects in its fields, as far as every kind of them has them.
    """

    kind: str | None
    fields: tuple[str, ...]
    below: Mapping[str, frozenset[str]]


def shapes_at(model: type[BaseModel], path: Path, sent: Any) -> list[ObjectShape]:
    """The objects that may stand at the path into what was sent: of a union, every member.

    On the way there a member is known by the kind that was sent.
    """
    schema = _schema(model)
    nodes = _alternatives(schema, schema)
    for part in path:
        steps = [step for node in _of_the_kind(nodes, sent) for step in _steps(node, part)]
        nodes = [node for step in steps for node in _alternatives(schema, step)]
        sent = value_at(sent, [part])
    return [_shape_of(schema, node) for node in nodes if "properties" in node]


def of_the_kind(objects: Sequence[ObjectShape], sent: Any) -> list[ObjectShape]:
    """Those of the kind that was sent; all of them where none was."""
    kind = value_at(sent, [_TAG])
    return [one for one in objects if one.kind is not None and one.kind == kind] or [*objects]


# To describe a fit's body takes a third of a second.
@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _of_the_kind(nodes: Sequence[Node], sent: Any) -> Sequence[Node]:
    kind = value_at(sent, [_TAG])
    return [node for node in nodes if kind is not None and _kind(node) == kind] or nodes


def _kind(node: Node) -> Any:
    return node.get("properties", {}).get(_TAG, {}).get("const")


def _steps(node: Node, part: str | int) -> Iterator[Node]:
    """What may stand under the key, or at the position."""
    named = node.get("properties", {}).get(part)
    open_ones = (node.get("additionalProperties"), *node.get("patternProperties", {}).values())
    for step in (named, node.get("items"), *open_ones):
        if isinstance(step, dict):
            yield step


def value_at(sent: Any, path: Path) -> Any:
    """What was sent at the path; None where there is nothing."""
    for part in path:
        inside = isinstance(sent, dict) and part in sent
        at = isinstance(sent, list) and isinstance(part, int) and part < len(sent)
        sent = sent[part] if inside or at else None
    return sent


def _shape_of(root: Node, node: Node) -> ObjectShape:
    below = {name: _common(root, inner) for name, inner in node["properties"].items()}
    return ObjectShape(_kind(node), tuple(node["properties"]), below)


def _common(root: Node, node: Node) -> frozenset[str]:
    objects = [one["properties"] for one in _alternatives(root, node) if "properties" in one]
    return frozenset.intersection(*map(frozenset, objects)) if objects else frozenset()


def _alternatives(root: Node, node: Node) -> list[Node]:
    """The node itself, or what it refers to or unites."""
    if "$ref" in node:
        return _alternatives(root, root["$defs"][node["$ref"].rpartition("/")[2]])
    united = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if "properties" in node or not united:
        return [node]
    return [found for one in united for found in _alternatives(root, one)]
