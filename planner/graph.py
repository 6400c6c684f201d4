"""The workload graph: what must be computed, unsplit.

A `WorkloadGraph` is a networkx DiGraph of `Op`; its edges carry the `Tensor` that flows. Repeated
layers are folded: a block stands once, with the number of times that it runs. Forward and
backward ops are both nodes. Dims are named, so that whoever shards an op says which name is
split. Knows sizes per token; no machine, no time, no mesh.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from costmodels.units import Num

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["PATCHES", "Block", "Dim", "Op", "Tensor", "WorkloadGraph"]

PATCHES = "patches"
"""Name of the rows of ops that run on image patches: attention there is not causal, and images
are whole on a rank."""


@dataclass(frozen=True, slots=True)
class Dim:
    """A named dim and its size; `per_token` sizes are multiplied by the tokens at hand."""

    name: str
    size: float
    per_token: bool = False


@dataclass(frozen=True, slots=True)
class Tensor:
    """What flows along an edge: `elements` per token, over the named dims."""

    name: str
    dims: tuple[str, ...]
    elements: float


@dataclass(frozen=True, slots=True)
class Op:
    """One operator, per token of one copy of the model.

    Parameters
    ----------
    name     : unique in the graph: "dense/qkv", "dense/qkv.wgrad"
    kind     : matmul | grouped | attention | memory | dispatch
    phase    : forward | backward
    rows, cols, inner : of a product (grouped: over all experts that a token visits)
    split    : name of the dim that tensor parallelism divides; "sequence" where only sequence
               parallelism does; "" where nothing does
    flop     : per token
    traffic  : elements read and written per token, for work bound by memory
    exchanged : elements moved beside `traffic` where a layer's experts stand on several ranks
    padded   : elements moved beside it where each expert's rows are padded, in either pass
    unfused  : elements moved beside it where no compiler or kernel of its own joins the op's parts
    scored   : elements moved in the backward pass alone, for gradients of the router's weights
    gate     : the activation between the two products of experts, which one kernel may take in
    each     : launches for each expert held, of a library's loop over them
    output   : elements of the result per token
    saved    : elements kept per token for the backward pass, in the op's own region
    copied   : elements kept beside `saved`, of a copy that such parts make
    borrowed : another op keeps the same elements: they count where this one casts a copy of its own
    extra_saved : kept only where attention is not fused (softmax and its kin)
    scores   : entries of the score matrix per token, of attention
    alternate : share of a product's result that a policy keeps that saves every second product in
               the order of their calls (query, key, value, out, gate, up, down)
    branches : products of one input that it joins (gate and up): run apart, each gives a gradient
               of the input
    unread   : no backward pass reads the result of this product: it ends in a residual sum
    weights  : parameters that it holds, `trainable` or frozen
    launches : kernels started
    weight_gradient : a product that computes a gradient of weights
    units    : heads of `split` that stay whole, padded to as many on every rank; 0: any share goes
    head_dim : width of a head, of attention (of unlike ones for keys and values, the mean)
    row_flop : of attention, FLOP of the query and head that see the most keys
    """

    name: str
    kind: str
    phase: str = "forward"
    rows: Dim = Dim("tokens", 1.0, True)
    cols: Dim = Dim("", 0.0)
    inner: Dim = Dim("", 0.0)
    split: str = ""
    flop: float = 0.0
    traffic: float = 0.0
    exchanged: float = 0.0
    padded: float = 0.0
    unfused: float = 0.0
    scored: float = 0.0
    gate: bool = False
    each: float = 0.0
    output: float = 0.0
    saved: float = 0.0
    copied: float = 0.0
    borrowed: bool = False
    extra_saved: float = 0.0
    scores: float = 0.0
    alternate: float = 0.5
    branches: float = 1.0
    unread: bool = False
    weights: float = 0.0
    trainable: bool = True
    launches: float = 1.0
    weight_gradient: bool = False
    units: float = 0.0
    head_dim: float = 0.0
    row_flop: float = 0.0

    @property
    def on_patches(self) -> bool:
        """Whether the op runs on image patches."""
        return self.rows.name == PATCHES

    def part(self, amount: Num, ranks: Num) -> Num:
        """Share of `amount`, split along `split` over `ranks`, that the fullest rank has."""
        if not self.units:
            return amount / ranks
        return amount * np.ceil(self.units / ranks) / self.units


@dataclass(frozen=True, slots=True)
class Block:
    """A run of ops that stands `count` times in the model, for the decoder layers `layers`.

    What is no decoder layer stands `at` the "first" or the "last" stage of a pipeline.
    """

    name: str
    ops: tuple[Op, ...]
    count: float
    layers: tuple[int, ...] = ()
    at: str = ""

    @property
    def on_patches(self) -> bool:
        """Whether the block is of a vision tower."""
        return any(op.on_patches for op in self.ops)

    @property
    def recomputed(self) -> bool:
        """Whether recomputation is for it: transformer layers that have a backward pass."""
        layered = bool(self.layers) or any(op.kind == "attention" for op in self.ops)
        return layered and any(op.phase == "backward" for op in self.ops)

    @property
    def input_elements(self) -> float:
        """Elements per token of the block's input, as its first op, a norm, returns them."""
        return self.ops[0].output

    def phase(self, name: str) -> tuple[Op, ...]:
        """Ops of one phase, in order."""
        return tuple(op for op in self.ops if op.phase == name)

    def weights(self, *, expert: bool | None = None, trainable: bool | None = None) -> float:
        """Parameters of one copy of the block; of experts only, or of the rest, or all."""
        return sum(
            op.weights
            for op in self.ops
            if (expert is None or (op.kind == "grouped") == expert)
            and (trainable is None or op.trainable == trainable)
        )


@dataclass(frozen=True)
class WorkloadGraph:
    """Blocks in forward order; `digraph` is the same as a networkx graph."""

    blocks: tuple[Block, ...]

    @cached_property
    def digraph(self) -> "nx.DiGraph[str]":
        """The ops chained: forward ones of all blocks, then backward ones in reverse.

        Nodes carry `op`, `block` and `repeats`, edges the `tensor` that flows along them.
        """
        import networkx as nx  # only who asks for the graph pays for the library

        graph: nx.DiGraph[str] = nx.DiGraph()
        forward = [(b, op) for b in self.blocks for op in b.phase("forward")]
        backward = [(b, op) for b in reversed(self.blocks) for op in b.phase("backward")]
        previous: Op | None = None
        for block, op in [*forward, *backward]:
            graph.add_node(op.name, op=op, block=block.name, repeats=block.count)
            if previous is not None:
                dims = ("tokens", previous.cols.name)
                tensor = Tensor(f"{previous.name}:out", dims, previous.output)
                graph.add_edge(previous.name, op.name, tensor=tensor)
            previous = op
        for block in self.blocks:
            _saved_edges(graph, block)
        return graph

    @cached_property
    def alike(self) -> dict[str, Op]:
        """The first op that is like an op but for the name of its block, by the op's name."""
        first: dict[Op, Op] = {}
        return {
            op.name: first.setdefault(replace(op, name=op.name.partition("/")[2]), op)
            for _, op in self.ops()
        }

    def ops(self) -> Iterator[tuple[Block, Op]]:
        """Every op with its block, in the order of the blocks."""
        for block in self.blocks:
            for op in block.ops:
                yield block, op

    def flop_per_token(self) -> float:
        """FLOP of a training step per token: forward and backward, repeats counted."""
        return sum(block.count * op.flop for block, op in self.ops())

    def weights(self) -> float:
        """Parameters of the whole model."""
        return sum(block.count * block.weights() for block in self.blocks)


def _saved_edges(graph: "nx.DiGraph[str]", block: Block) -> None:
    """Edges from a forward op to its backward ops: what was kept for them."""
    for op in block.phase("backward"):
        source = op.name.rsplit(".", 1)[0]
        if source in graph and source != op.name:
            kept = graph.nodes[source]["op"].saved
            tensor = Tensor(f"{source}:saved", ("tokens",), kept)
            graph.add_edge(source, op.name, tensor=tensor)
