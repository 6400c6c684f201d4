"""The JSON Schema of a job file, and what it says about one key.

`schema` is for editors and other programs; `allowed` and `keys` make the error messages of
`planner.spec` from it, so that a message and the schema cannot disagree. Reads no job.
"""

import copy
from collections.abc import Iterator
from functools import cache

from hardware_profiles.load import names as system_names
from hardware_profiles.stack import stack_names
from planner.document import PathKey
from planner.models.load import names as model_names
from planner.workloads.training.spec import TrainingJob

__all__ = ["Node", "allowed", "job_schema", "keys", "schema"]

Node = dict[str, object]

MODEL_FILE = "a preset, or a path to a Hugging Face config.json"
SYSTEM = "a shipped system, or a path to a profile file"
TARGETS = ("megatron", "torchtitan", "jax")
JAX_MODEL: Node = {
    "type": "object",
    "description": "any model: a JAX function and example shapes (not yet supported)",
    "properties": {
        "jax": {"type": "string", "examples": ["package.module:loss"]},
        "inputs": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "integer", "minimum": 1}},
        },
    },
    "required": ["jax", "inputs"],
    "additionalProperties": False,
}


def schema() -> Node:
    """Return the JSON Schema (draft 2020-12) of a whole job file."""
    made = copy.deepcopy(job_schema())
    definitions = _node(made["$defs"])
    for node in (made, *map(_node, definitions.values())):
        _absent_may_be_null(node)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


@cache
def job_schema() -> Node:
    """Return the schema of a job with presets and systems as examples; not to be changed."""
    made: Node = TrainingJob.model_json_schema()
    made.update(title="Sixfold job", description="A distributed AI job: what, where, how.")
    definitions = _node(made["$defs"])
    workload = _properties(definitions["TrainingSpec"])
    model = {"type": "string", "description": MODEL_FILE, "examples": list(model_names())}
    workload["model"] = {"anyOf": [model, workload["model"], JAX_MODEL]}
    hardware = _properties(definitions["Hardware"])
    _give_examples(_node(hardware["system"]), system_names(), SYSTEM)
    software = _properties(definitions["Software"])
    software["preset"] = {**_node(software["preset"]), "enum": list(stack_names())}
    _give_examples(_node(_properties(made)["emit"]), TARGETS, "a framework")
    return made


def allowed(path: PathKey) -> str:
    """Say in words what may stand at `path` of a job file; empty if nothing is known."""
    said = [_words(node) for node in _at(path)]
    return ", or ".join(dict.fromkeys(part for part in said if part))


def keys(path: PathKey) -> tuple[str, ...]:
    """Return the keys that the mapping at `path` of a job file may have."""
    return tuple(key for node in _at(path) for key in _properties(node))


def _node(value: object) -> Node:
    assert isinstance(value, dict)
    return value


def _properties(node: object) -> Node:
    found = _node(node).get("properties", {})
    return _node(found)


def _give_examples(node: Node, examples: tuple[str, ...], description: str) -> None:
    """Give every text inside `node` the examples; the nodes are changed in place."""
    if node.get("type") == "string":
        node.update(examples=list(examples), description=description)
    for inner in (*_list(node.get("anyOf")), node.get("items")):
        if isinstance(inner, dict):
            _give_examples(inner, examples, description)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _absent_may_be_null(node: Node) -> None:
    """Let every key that may be absent be null: both mean not given."""
    required = _list(node.get("required"))
    properties = _properties(node)
    for key, inner in properties.items():
        options = _list(_node(inner).get("anyOf"))
        if key in required or {"type": "null"} in options:
            continue
        about = {k: v for k, v in _node(inner).items() if k in ("description", "default")}
        properties[key] = {**about, "anyOf": [*(options or (inner,)), {"type": "null"}]}


def _resolved(node: Node) -> Iterator[Node]:
    """Yield the alternatives of a node, references followed, null left out."""
    reference = node.get("$ref")
    if isinstance(reference, str):
        node = _node(_node(job_schema()["$defs"])[reference.rsplit("/", 1)[-1]])
    options = _list(node.get("anyOf"))
    if not options:
        if node.get("type") != "null":
            yield node
        return
    for option in options:
        yield from _resolved(_node(option))


def _at(path: PathKey) -> list[Node]:
    nodes = list(_resolved(job_schema()))
    for part in path:
        inner: list[Node] = []
        for node in nodes:
            found = node.get("items") if isinstance(part, int) else _properties(node).get(part)
            extra = node.get("additionalProperties")
            if found is None and isinstance(extra, dict) and isinstance(part, str):
                found = extra
            if isinstance(found, dict):
                inner += _resolved(found)
        nodes = inner
    return nodes


def _words(node: Node, plural: bool = False) -> str:
    """Say in words what a node without alternatives allows."""
    if "const" in node:
        return str(node["const"])
    if "enum" in node:
        values = [str(value) for value in _list(node["enum"])]
        return ("" if plural else "one of ") + ", ".join(values)
    kind = node.get("type")
    if kind == "array":
        items = _node(node.get("items", {}))
        inner = dict.fromkeys(_words(option, plural=True) for option in _resolved(items))
        return f"a list of ({' or '.join(part for part in inner if part)})"
    if kind == "object":
        known = list(_properties(node)) or _list(_node(node.get("propertyNames", {})).get("enum"))
        return "a mapping" + (f" with keys {', '.join(map(str, known))}" if known else "")
    if kind in ("integer", "number"):
        name = ("whole numbers" if plural else "a whole number") if kind == "integer" else (
            "numbers" if plural else "a number"
        )  # fmt: skip
        return name + _bounds(node)
    if kind == "string":
        examples = _list(node.get("examples"))
        short = f" like {examples[0]}" if examples else ""
        return str(node.get("description") or "text") + (short if "pattern" in node else "")
    return {"boolean": "true or false"}.get(str(kind), "")


def _bounds(node: Node) -> str:
    words = {
        "minimum": "from {:.15g}",
        "exclusiveMinimum": "above {:.15g}",
        "maximum": "to {:.15g}",
        "exclusiveMaximum": "below {:.15g}",
    }
    said = [text.format(node[key]) for key, text in words.items() if key in node]
    return (" " + " ".join(said)) if said else ""
