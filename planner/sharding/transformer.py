"""A transformer's layers as an operator graph: the ops of the template, with labels and edges.

FLOP, traffic, weights and what is kept are those of `workloads.training.graph`, op by op; what is
added is how tensors are indexed and who reads them: the residual stream, the gate, the router,
the exchange of tokens with experts. Kinds of layers are chained, one repeated region each, in the
order of their first layer. Left out: multi-token-prediction layers, adapters.

A key-value head and its queries are one label, so that attention splits by key-value heads; the
keys of a sequence are not split, because the template's fused projection holds all three.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from planner.errors import SpecError
from planner.graph import Block, Op
from planner.operator_graph import Labels, Operand, Operator, OperatorGraph, Tensor
from planner.sharding.roles import Role, head_roles, layer_roles
from planner.workloads.training.context import Context
from planner.workloads.training.experts import expert_load, joined
from planner.workloads.training.operators import BACKWARD_ATTENTION, BACKWARD_TRAFFIC

__all__ = ["operator_graph"]

KINDS = {"matmul": "product", "grouped": "grouped", "attention": "attention",
         "dispatch": "exchange", "memory": "elementwise"}  # fmt: skip


@dataclass
class _Draft:
    """A graph in the making, for `sequences` of `tokens` each in a pass."""

    context: Context
    sequences: int
    sizes: Mapping[str, int]
    operators: list[Operator] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @property
    def tokens(self) -> float:
        return self.sequences * self.context.tokens


def operator_graph(context: Context, sequences: int) -> OperatorGraph:
    """Turn the model of a training job into an operator graph.

    Parameters
    ----------
    sequences : in one pass over the graph, all ranks together (micro_batch times dp)

    Raises
    ------
    SpecError : tokens that cannot be dealt evenly to experts, adapters
    """
    spec = context.spec
    if spec.adapters is not None:
        raise SpecError("sharding is searched for whole models, not for adapters: remove task")
    draft = _Draft(context, sequences, _sizes(context, sequences))
    stream = "hidden states"
    _add(draft, _block(context, "embedding").ops[0], _lookup(context), {"lookup": stream}, "", 1)
    repeated: dict[str, tuple[int, tuple[tuple[str, str], ...]]] = {}
    for block in context.layer_blocks:
        ops = block.phase("forward")
        out = f"{block.name}/out"
        count = int(block.count)
        _run(draft, ops, layer_roles(ops), {"in": stream, "out": out}, block.name, count)
        repeated[block.name] = (count, ((out, stream),))
        stream = out
    head = _block(context, "head").phase("forward")
    names = {"in": stream}
    if spec.model.tied_embeddings:
        names["logits weight"] = "embedding/lookup weight"
    _run(draft, head, head_roles(head, spec.model.tied_embeddings), names, "", 1)
    draft.tensors["loss"] = Tensor("loss", (1,), 4.0)
    mean = Operand("head/loss", (("b",), ("s",)), saved=False)
    draft.operators.append(
        Operator("head/mean", "reduction", {"b": sequences, "s": int(context.tokens)}, (mean,),
                 Operand("loss", ((),), saved=False))
    )  # fmt: skip
    return OperatorGraph(tuple(draft.operators), draft.tensors, repeated, sequences)


def _block(context: Context, name: str) -> Block:
    block = context.block(name)
    assert block is not None
    return block


def _sizes(context: Context, sequences: int) -> dict[str, int]:
    """Whole size of every label that roles use."""
    model, tokens = context.spec.model, int(context.tokens)
    a, heads, width = model.attention, model.heads, model.head_dim_or_even
    groups = heads if a.kind == "mla" else model.kv_heads_or_all
    sizes = {
        "b": sequences, "s": tokens, "h": model.hidden, "v": model.vocab, "n": groups,
        "f": model.ffn_hidden, "g": 2 if model.gated_mlp else 1, "d": width,
        "p": model.max_positions or 2048,
    }  # fmt: skip
    if a.kind == "mla":
        nope, rope = a.qk_nope_head_dim or 0, a.qk_rope_head_dim or 0
        value, latent = a.v_head_dim or 0, a.kv_lora_rank or 0
        sizes |= {
            "q": nope + rope, "kv": nope + value, "all": 2 * (nope + rope) + value, "o": value,
            "lq": a.q_lora_rank or 1, "lk": latent, "lr": latent + rope,
        }  # fmt: skip
    else:
        each = heads // groups * width
        sizes |= {"all": each + 2 * width, "o": each, "qk": each + width}
    moe = model.moe
    if moe is not None:
        copies = tokens * moe.top_k
        if copies % moe.experts:
            raise SpecError(
                f"model.moe: a sequence of {tokens} tokens times top_k {moe.top_k} is not a "
                f"multiple of experts {moe.experts}: sharding deals tokens evenly"
            )
        shared = moe.shared_ffn_hidden or moe.shared_experts * moe.ffn_hidden
        sizes |= {"e": moe.experts, "k": moe.top_k, "t": copies // moe.experts,
                  "fe": moe.ffn_hidden, "fs": shared}  # fmt: skip
    return sizes


def _lookup(context: Context) -> Role:
    learned = context.spec.model.position == "learned"
    return Role(
        "lookup", (("ids", "b s", False),), "b s h", ("v h", *(("p h",) if learned else ())), "p",
        ("ids",),
    )  # fmt: skip


def _run(
    draft: _Draft, ops: Sequence[Op], roles: Mapping[str, Role], names: Mapping[str, str],
    region: str, repeats: int,
) -> None:  # fmt: skip
    for op in ops:
        role = roles[op.name.rpartition("/")[2]]
        _add(draft, op, role, names, region, repeats)


def _add(
    draft: _Draft, op: Op, role: Role, names: Mapping[str, str], region: str, repeats: int
) -> None:
    """Add one op: its tensors, then the operator with the op's own work."""
    context, prefix = draft.context, op.name.rpartition("/")[0]

    def full(name: str) -> str:
        return names.get(name, f"{prefix}/{name}")

    operands = [
        Operand(full(name), _labels(labels), saved and op.saved > 0)
        for name, labels, saved in role.reads
    ]
    for name in role.data:
        draft.tensors[full(name)] = _tensor(
            draft, full(name), _labels(dict((n, x) for n, x, _ in role.reads)[name]), given=True
        )
    operands += _weights(draft, op, role, full)
    made = full(role.makes or op.name.rpartition("/")[2])
    draft.tensors[made] = _tensor(draft, made, _labels(role.result))
    result = Operand(made, _labels(role.result), saved=False)
    inner: tuple[Operand, ...] = ()
    if role.inner:
        inner = (Operand(f"{op.name} kept", _labels(role.inner)),)
        draft.tensors[inner[0].tensor] = _tensor(draft, inner[0].tensor, inner[0].labels)
    labels = {x for o in (*operands, *inner, result) for dim in o.labels for x in dim}
    experts = {"e", "t"} <= labels
    draft.operators.append(
        Operator(
            op.name,
            role.kind or KINDS[op.kind],
            {x: n for x, n in draft.sizes.items() if x in labels},
            tuple(operands),
            result,
            frozenset(role.whole.split()),
            op.flop * draft.tokens,
            _moved(context, op) * draft.tokens * context.activation_bytes,
            _backward(context, op),
            op.launches,
            repeats,
            region,
            inner,
            uneven={"e": _load(context, op)} if experts else {},
            copies=float(draft.sizes.get("k", 1)) if op.kind == "dispatch" else 1.0,
            head_dim=op.head_dim,
            row_flop=op.row_flop,
        )
    )  # fmt: skip


def _moved(context: Context, op: Op) -> float:
    """Elements per token that the forward pass moves."""
    return op.traffic if joined(context) else op.traffic + op.unfused


def _backward(context: Context, op: Op) -> float:
    """FLOP of the backward pass over the forward's, or what it moves where memory bounds."""
    if op.kind == "memory" and op.traffic:
        scored = 0.0 if joined(context) else op.scored
        return BACKWARD_TRAFFIC + scored / _moved(context, op)
    return BACKWARD_ATTENTION if op.kind == "attention" else 2.0


def _load(context: Context, op: Op) -> float:
    """Busiest rank's share: of rows at experts, of tokens on the way (dropped at the sender)."""
    moe = context.spec.model.moe
    assert moe is not None
    if op.kind == "dispatch":
        return context.imbalance if moe.dropless else 1.0
    return expert_load(context)


def _weights(draft: _Draft, op: Op, role: Role, full: object) -> list[Operand]:
    """Operands for the op's weights: extra ones first, the matrix last."""
    assert callable(full)
    made: list[Operand] = []
    name = op.name.rpartition("/")[2]
    for i, text in reversed(list(enumerate(role.weights))):
        labels = _labels(text)
        tensor = full(f"{name} weight" if i == 0 else f"{name} weight {i}")
        if tensor not in draft.tensors:
            draft.tensors[tensor] = _tensor(draft, tensor, labels, parameter=True, op=op)
        made.append(Operand(tensor, labels, saved=False))
    return made


def _labels(text: str) -> Labels:
    """Read labels: dims by spaces, the parts of a composite by commas: "b s n,all"."""
    return tuple(tuple(dim.split(",")) for dim in text.split())


def _tensor(
    draft: _Draft, name: str, labels: Labels, *, parameter: bool = False, given: bool = False,
    op: Op | None = None,
) -> Tensor:  # fmt: skip
    shape = tuple(_length(draft, dim) for dim in labels)
    context = draft.context
    element = context.activation_bytes
    low = op is not None and op.kind in ("matmul", "grouped")
    if low and op is not None and not any(x in op.name for x in ("logits", "router")):
        element = context.product_bytes
    if given:
        element = 4.0
    return Tensor(name, shape, element, parameter, given)


def _length(draft: _Draft, dim: tuple[str, ...]) -> int:
    total = 1
    for label in dim:
        total *= draft.sizes[label]
    return total
