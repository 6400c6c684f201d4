"""Names of operators and tensors, from what a function says: parameters, scopes, primitives."""

from planner.importers.jaxpr.groups import Group
from planner.importers.jaxpr.labels import Labelled

__all__ = ["Namer", "kind_of", "word_of"]


class Namer:
    """Hands out names, each once."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}

    def tensor(self, word: str) -> str:
        """Return `word`, or `word.2` where it is taken."""
        while True:
            count = self.taken.get(word, 0) + 1
            self.taken[word] = count
            if count == 1:
                return word
            name = f"{word}.{count}"
            if name not in self.taken:
                self.taken[name] = 1
                return name


def word_of(group: Group, parameters: list[str]) -> str:
    """Say in a word what a group does: `w_up product`, `softmax`, `norm`, `add`."""
    done = [node.primitive for node in group.nodes]
    scope = next((scope for node in reversed(group.nodes) if (scope := _scope(node.scope))), "")
    if group.kind == "product":
        word = "convolution" if done[-1].startswith("conv") else "product"
    elif group.kind in ("lookup", "scatter"):
        word = "lookup" if group.kind == "lookup" else "scatter"
    elif group.kind == "opaque":
        word = done[0]
    elif {"exp", "reduce_sum"} <= set(done):
        word = "cross-entropy" if "log" in done else "softmax"
    elif "rsqrt" in done and "reduce_sum" in done:
        word = "norm"
    else:
        made = next(i for i, node in enumerate(group.nodes) if group.result in node.outputs)
        known = [p for p in ("tanh", "logistic", "erf", "max") if p in done]
        word = known[0] if known else done[made]
    word = f"{parameters[0]} {word}" if parameters else word
    return f"{scope}/{word}" if scope else word


def _scope(stack: str) -> str:
    """Return the user's own named scopes: without what tracing and einsum add."""
    bare = stack.replace("jvp(", "").replace("transpose(", "").replace(")", "")
    parts = [part for part in bare.split("/") if part and "->" not in part]
    return "/".join(part for part in parts if part not in ("checkpoint", "rematted_computation"))


def kind_of(group: Group, found: Labelled) -> str:
    """Kind of the operator (`planner.operator_graph.KINDS`) that a group is."""
    if group.kind == "product":
        return "grouped" if group.nodes[-1].primitive.startswith("ragged") else "product"
    if group.kind != "fused":
        return group.kind if group.kind in ("lookup", "scatter", "opaque") else "elementwise"
    carried = {label for dim in found.result for label in dim}
    contracted = set(found.sizes) - carried - found.whole
    if not contracted:
        return "elementwise"
    done = {node.primitive for node in group.nodes}
    return "loss" if {"exp", "log", "reduce_sum"} <= done else "reduction"
