"""What a JSON Schema says about one key, in words for messages.

Knows JSON Schema as pydantic writes it (`$ref`, `anyOf`, `properties`, `items`); knows no job.
"""

from collections.abc import Iterator

from planner.reading.document import PathKey

__all__ = ["Grammar", "Node"]

Node = dict[str, object]


class Grammar:
    """The keys and values that a schema allows, asked by the path of a key."""

    def __init__(self, root: Node) -> None:
        self.root, self.definitions = root, _node(root.get("$defs", {}))

    def allowed(self, path: PathKey) -> str:
        """Say in words what may stand at `path`; empty if nothing is known."""
        said: dict[str, None] = {}
        for node in self._at(path):
            items = [self._words(option) for option in self._resolved(_node(node.get("items", {})))]
            them = node.get("type") == "array" and all(each in said for each in items)
            said["a list of them" if them else self._words(node)] = None
        return ", or ".join(part for part in said if part)

    def choices(self, path: PathKey) -> tuple[str, ...]:
        """Return the words among which the value at `path` must be, where there are such."""
        return tuple(str(value) for node in self._at(path) for value in _list(node.get("enum")))

    def is_share(self, path: PathKey) -> bool:
        """Whether the value at `path` is a number of at most one."""
        tops = ("maximum", "exclusiveMaximum")
        return any(node.get(top) == 1.0 for node in self._at(path) for top in tops)

    def keys(self, path: PathKey) -> tuple[str, ...]:
        """Return the keys that the mapping at `path` may have."""
        return tuple(key for node in self._at(path) for key in _keys(node))

    def _resolved(self, node: Node) -> Iterator[Node]:
        """Yield the alternatives of a node, references followed, null left out."""
        reference = node.get("$ref")
        if isinstance(reference, str):
            node = _node(self.definitions[reference.rsplit("/", 1)[-1]])
        options = _list(node.get("anyOf"))
        if not options and node.get("type") != "null":
            yield node
        for option in options:
            yield from self._resolved(_node(option))

    def _at(self, path: PathKey) -> list[Node]:
        nodes = list(self._resolved(self.root))
        for part in path:
            inner = [_step(node, part) for node in nodes]
            nodes = [each for found in inner if found for each in self._resolved(found)]
        return nodes

    def _words(self, node: Node, plural: bool = False) -> str:
        """Say in words what a node without alternatives allows."""
        if "const" in node:
            return str(node["const"])
        if "enum" in node:
            values = ", ".join(str(value) for value in _list(node["enum"]))
            return values if plural else f"one of {values}"
        kind = node.get("type")
        if kind == "array":
            options = self._resolved(_node(node.get("items", {})))
            inner = dict.fromkeys(self._words(option, plural=True) for option in options)
            return f"a list of ({' or '.join(part for part in inner if part)})"
        if kind == "object":
            known = ", ".join(_keys(node))
            return f"a mapping with keys {known}" if known else "a mapping"
        if kind == "string":
            example = f" like {_list(node['examples'])[0]}" if "pattern" in node else ""
            return f"{node.get('description') or 'text'}{example}"
        name = NUMBERS.get((str(kind), plural))
        return name + _bounds(node) if name else {"boolean": "true or false"}.get(str(kind), "")


NUMBERS = {
    ("integer", False): "a whole number",
    ("integer", True): "whole numbers",
    ("number", False): "a number",
    ("number", True): "numbers",
}
BOUNDS = {
    "minimum": "from {:.15g}",
    "exclusiveMinimum": "above {:.15g}",
    "maximum": "up to {:.15g}",
    "exclusiveMaximum": "below {:.15g}",
}


def _node(value: object) -> Node:
    assert isinstance(value, dict)
    return value


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _keys(node: Node) -> tuple[str, ...]:
    names = _list(_node(node.get("propertyNames", {})).get("enum"))
    return (*_node(node.get("properties", {})), *map(str, names))


def _step(node: Node, part: str | int) -> Node | None:
    """Return the schema of what is at `part` of a value that `node` describes."""
    if isinstance(part, int):
        found = node.get("items")
    else:
        found = _node(node.get("properties", {})).get(part, node.get("additionalProperties"))
    return found if isinstance(found, dict) else None


def _bounds(node: Node) -> str:
    said = [text.format(node[key]) for key, text in BOUNDS.items() if key in node]
    return (" " + " ".join(said)) if said else ""
