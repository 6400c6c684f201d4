"""The JSON Schema of a job file, and what it says about one key.

`schema` is for editors and other programs; the messages of `planner.spec` come from the same
one (`job_grammar`), so that a message and the schema cannot disagree. Reads no job.
"""

import copy
from functools import cache

from hardware_profiles.load import names as system_names
from hardware_profiles.stack import stack_names
from planner.models.load import names as model_names
from planner.reading.grammar import Grammar, Node
from planner.workloads.training.function import FunctionJob
from planner.workloads.training.spec import TrainingJob

__all__ = ["function_grammar", "job_grammar", "job_schema", "schema"]

MODEL_FILE = "a preset, or a path to a Hugging Face config.json"
SYSTEM = "a shipped system, or a path to a profile file"
TARGETS = ("megatron", "torchtitan", "jax")


def schema() -> Node:
    """Return the JSON Schema (draft 2020-12) of a whole job file."""
    made = copy.deepcopy(job_schema())
    definitions = _node(made["$defs"])
    of_function = FunctionJob.model_json_schema()
    for name, node in _node(of_function["$defs"]).items():
        definitions.setdefault(name, node)
    properties = _properties(made)
    properties["workload"] = {
        "anyOf": [properties["workload"], _properties(of_function)["workload"]]
    }
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
    workload["model"] = {"anyOf": [model, workload["model"]]}
    hardware = _properties(definitions["Hardware"])
    _give_examples(_node(hardware["system"]), system_names(), SYSTEM)
    software = _properties(definitions["Software"])
    software["preset"] = {**_node(software["preset"]), "enum": list(stack_names())}
    _give_examples(_node(_properties(made)["emit"]), TARGETS, "names of frameworks")
    return made


@cache
def job_grammar() -> Grammar:
    """Return what the schema of a job allows, for messages."""
    return Grammar(job_schema())


@cache
def function_grammar() -> Grammar:
    """Return what a job of a JAX function allows, for messages."""
    return Grammar(FunctionJob.model_json_schema())


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
