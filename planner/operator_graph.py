"""Operators with labelled index spaces: what a sharding search splits, and nothing else.

Every operator is a loop nest over named *labels*, as in an einsum: each operand and the result
are indexed by some of them. Splitting a label over a mesh axis splits every tensor that carries
it, copies every operand that does not, and makes the result a partial sum where the result does
not carry it. From this alone follow column- and row-parallel products, vocabulary-parallel
lookups and losses, sequence, head and expert parallelism; none of them is built in.

Labels belong to one operator; tensors flow from dim to dim by position. A dim may be composite, a
tuple of labels, major first (a reshape merges or splits dims): only its major label can be split.
Knows sizes; no mesh, no time.

Source of the idea: GSPMD (Xu et al., 2021); Alpa (Zheng et al., OSDI 2022), section 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["KINDS", "Labels", "Operand", "Operator", "OperatorGraph", "Tensor"]

Labels = tuple[tuple[str, ...], ...]
"""Labels of each dim of a tensor as one operator sees it, major first; () is a dim of size 1."""
KINDS = ("product", "grouped", "attention", "elementwise", "reduction", "lookup", "loss",
         "reshape", "exchange", "scatter", "opaque")  # fmt: skip
"""product: matrix product | grouped: products of experts | lookup: gather of rows (one-hot over
a contracted label) | loss: softmax cross-entropy | exchange: tokens to experts or back | scatter:
write rows | opaque: nothing is known of it, so only labels that it lists can be split."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """An array that flows between operators, or that is held.

    Parameters
    ----------
    shape     : whole sizes
    element_bytes : of one entry
    parameter : trained weights (gradients and optimizer states belong to them)
    given     : no gradient flows to it: data, constants, and what is made of them alone
    shared    : of a parameter: one copy serves every repeat of the region that reads it
    """

    name: str
    shape: tuple[int, ...]
    element_bytes: float = 2.0
    parameter: bool = False
    given: bool = False
    shared: bool = False

    @property
    def elements(self) -> float:
        """Entries of the whole array."""
        total = 1.0
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True, slots=True)
class Operand:
    """A tensor as an operator reads or makes it; `saved`: kept for the operator's backward pass.

    A tensor that several read is kept once. Of a result, say `saved` where the operator's own
    backward pass reads it (a softmax's); results that only their readers keep are not saved.
    """

    tensor: str
    labels: Labels
    saved: bool = True


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the forward pass; its backward pass follows from it.

    Parameters
    ----------
    sizes    : whole size of every label of the loop nest
    operands : in order; result: the tensor made, with its labels
    whole    : labels that must not be split (a softmax's, a window's, a convolution's)
    flop     : forward, of the whole operator; traffic_bytes: read and written where memory bounds
    backward : FLOP (or traffic) of the backward pass over the forward's; of a product, one for
               each operand that learns, and one more where it runs again
    repeats  : times that it runs in a step, for operators inside a repeated region
    region   : name of the repeated region (layers of one kind), "" outside
    uneven   : label -> busiest rank's share over the mean one's where it is split (experts)
    copies   : of an exchange: destinations that a token has, drawn independently
    head_dim, row_flop : of attention: width of a head, and FLOP of the query and head that see the
               most keys
    inner    : values made and used inside the operator that are kept for its backward pass, as
               where a chain is fused; they count as memory, nobody else reads them
    """

    name: str
    kind: str
    sizes: Mapping[str, int]
    operands: tuple[Operand, ...]
    result: Operand
    whole: frozenset[str] = frozenset()
    flop: float = 0.0
    traffic_bytes: float = 0.0
    backward: float = 2.0
    launches: float = 1.0
    repeats: int = 1
    region: str = ""
    inner: tuple[Operand, ...] = ()
    uneven: Mapping[str, float] = field(default_factory=dict)
    copies: float = 1.0
    head_dim: float = 0.0
    row_flop: float = 0.0

    @property
    def contracted(self) -> frozenset[str]:
        """Labels that the result does not carry: splitting one makes a partial sum."""
        carried = {label for dim in self.result.labels for label in dim}
        return frozenset(self.sizes) - carried


@dataclass(frozen=True)
class OperatorGraph:
    """Operators in forward order, and the tensors between them.

    Parameters
    ----------
    repeated : region -> (times, result of the region's last operator that feeds its first one
               again, operand tensor that it feeds): the coupling back counts times - 1
    samples  : examples that one pass over the graph covers
    """

    operators: tuple[Operator, ...]
    tensors: Mapping[str, Tensor]
    repeated: Mapping[str, tuple[int, tuple[tuple[str, str], ...]]] = field(default_factory=dict)
    samples: int = 1

    def producer(self, tensor: str) -> Operator | None:
        """Operator that makes a tensor; None: it is given or a parameter."""
        return next((op for op in self.operators if op.result.tensor == tensor), None)

    def readers(self, tensor: str) -> tuple[Operator, ...]:
        """Operators that read a tensor."""
        return tuple(op for op in self.operators if any(o.tensor == tensor for o in op.operands))
