"""How the ops of the template's layers are indexed: labels of what each reads and makes.

Dims are separated by spaces, parts of a composite dim by commas, major first. Labels:

    b s h v p   sequences, tokens, hidden, vocabulary, positions
    n           key-value heads, each with its queries; all q kv o d: widths inside a head
    f g         width of the MLP, its gate and value;  fe, fs: of an expert, of the shared ones
    e t k       experts, rows of each from one sequence, copies of a token
    lq lk lr    latent ranks of queries, of keys and values, and with the rotary part

Knows names of ops; no sizes, no work: those are the op's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from planner.graph import Op

__all__ = ["Role", "head_roles", "layer_roles"]


@dataclass(frozen=True, slots=True)
class Role:
    """How one op is indexed.

    Parameters
    ----------
    kind    : of operator, "" to follow the op's
    reads   : (tensor, labels, kept if the op keeps anything)
    result  : labels of what it makes; weights: labels of its weights, the matrix first
    whole   : labels that are not split
    data    : of `reads`, inputs of the job
    makes   : name of what it makes, "" for the op's own
    inner   : labels of what it keeps of its inside, "" for nothing
    """

    kind: str
    reads: tuple[tuple[str, str, bool], ...]
    result: str
    weights: tuple[str, ...] = ()
    whole: str = ""
    data: tuple[str, ...] = ()
    makes: str = ""
    inner: str = ""


def layer_roles(ops: Sequence[Op]) -> dict[str, Role]:
    """Roles of the ops of one decoder layer, by the last part of their names."""
    present = {op.name.rpartition("/")[2]: op for op in ops}
    roles = {"input norm": _norm("in", present["input norm"])}
    roles |= _latent(present) if "kv down" in present else _grouped(present)
    last = "attention out"
    if "post-attention norm" in present:
        roles["post-attention norm"] = _norm(last, present["post-attention norm"])
        last = "post-attention norm"
    roles["attention residual"] = _residual("in", [last])
    roles["mlp norm"] = _norm("attention residual", present["mlp norm"])
    more = _mixture(present) if "router" in present else _mlp(present, "mlp", "f", "mlp norm")
    roles |= more
    last = "unpermute" if "router" in present else "mlp down"
    ends = [last]
    if "post-mlp norm" in present:
        roles["post-mlp norm"] = _norm(last, present["post-mlp norm"])
        ends = ["post-mlp norm"]
    if "shared expert down" in present:
        ends.append("shared expert down")
    roles["mlp residual"] = _residual("attention residual", ends, "out")
    return roles


def head_roles(ops: Sequence[Op], tied: bool) -> dict[str, Role]:
    """Roles of the head: norm, logits, loss."""
    stream = ("final norm", "b s h", True)
    logits = Role("", (stream,), "b s v", ("v h" if tied else "h v",))
    loss = Role(
        "loss", (("logits", "b s v", True), ("targets", "b s", False)), "b s", data=("targets",)
    )
    norm = next(op for op in ops if op.name.endswith("final norm"))
    return {"final norm": _norm("in", norm), "logits": logits, "loss": loss}


def _norm(reads: str, op: Op) -> Role:
    vectors = max(1, round(op.weights / op.output)) if op.output else 1
    return Role("", ((reads, "b s h", True),), "b s h", ("h",) * vectors, "h")


def _residual(stream: str, added: Sequence[str], makes: str = "") -> Role:
    reads = tuple((name, "b s h", False) for name in (stream, *added))
    return Role("", reads, "b s h", makes=makes)


def _product(op: Op, reads: str, labels: str, result: str, matrix: str) -> Role:
    """Make the role of a product with weights; a bias has the labels of the last dim."""
    bias = (matrix.split()[-1],) if op.weights > op.cols.size * op.inner.size else ()
    return Role("", ((reads, labels, True),), result, (matrix, *bias))


def _grouped(ops: dict[str, Op]) -> dict[str, Role]:
    roles = {"qkv": _product(ops["qkv"], "input norm", "b s h", "b s n,all", "h n,all")}
    last = "qkv"
    if "qk norm" in ops:
        reads = ((last, "b s n,all", False),)  # of which it keeps all but the values
        roles["qk norm"] = Role("", reads, "b s n,all", ("d", "d"), "d", inner="b s n,qk")
        last = "qk norm"
    if "rope" in ops:
        roles["rope"] = Role("", ((last, "b s n,all", False),), "b s n,all")
        last = "rope"
    roles["attention"] = Role("", ((last, "b s n,all", True),), "b s n,o", whole="s")
    out = ops["attention out"]
    roles["attention out"] = _product(out, "attention", "b s n,o", "b s h", "n,o h")
    return roles


def _latent(ops: dict[str, Op]) -> dict[str, Role]:
    roles: dict[str, Role] = {}
    if "q down" in ops:
        roles["q down"] = _product(ops["q down"], "input norm", "b s h", "b s lq", "h lq")
        roles["q norm"] = Role("", (("q down", "b s lq", True),), "b s lq", ("lq",), "lq")
        roles["q up"] = _product(ops["q up"], "q norm", "b s lq", "b s n,q", "lq n,q")
        query = "q up"
    else:
        roles["q"] = _product(ops["q"], "input norm", "b s h", "b s n,q", "h n,q")
        query = "q"
    roles["kv down"] = _product(ops["kv down"], "input norm", "b s h", "b s lr", "h lr")
    # the latent part of `kv down` is all but the rotary keys: a whole dim, never split here
    latent = (("kv down", "b s lr", False),)
    roles["kv norm"] = Role("", latent, "b s lk", ("lk",), "lk lr", inner="b s lk")
    roles["kv up"] = _product(ops["kv up"], "kv norm", "b s lk", "b s n,kv", "lk n,kv")
    joined = ((query, "b s n,q", False), ("kv up", "b s n,kv", False), ("kv down", "b s lr", False))
    roles["rope"] = Role("", joined, "b s n,all", whole="lr")
    roles["attention"] = Role("", (("rope", "b s n,all", True),), "b s n,o", whole="s")
    out = ops["attention out"]
    roles["attention out"] = _product(out, "attention", "b s n,o", "b s h", "n,o h")
    return roles


def _mlp(ops: dict[str, Op], label: str, width: str, reads: str) -> dict[str, Role]:
    up, act, down = f"{label} up", f"{label} activation", f"{label} down"
    return {
        up: _product(ops[up], reads, "b s h", f"b s {width},g", f"h {width},g"),
        act: Role("", ((up, f"b s {width},g", True),), f"b s {width}"),
        down: _product(ops[down], act, f"b s {width}", "b s h", f"{width} h"),
    }


def _mixture(ops: dict[str, Op]) -> dict[str, Role]:
    rows, gated = "e b t h", "e b t fe,g"
    roles = _mlp(ops, "shared expert", "fs", "mlp norm") if "shared expert up" in ops else {}
    return roles | {
        "router": Role("", (("mlp norm", "b s h", True),), "b s e", ("h e",)),
        "permute": Role("", (("mlp norm", "b s h", False),), "b s,k h"),
        "dispatch": Role("", (("permute", "b t,e h", False),), rows),
        "experts up": Role("", (("dispatch", rows, True),), gated, ("e h fe,g",)),
        "expert activation": Role("", (("experts up", gated, True),), "e b t fe"),
        "experts down": Role("", (("expert activation", "e b t fe", True),), rows, ("e fe h",)),
        "combine": Role("", (("experts down", rows, False),), "b t,e h"),
        "unpermute": Role("", (("combine", "b s,k h", False), ("router", "b s e", False)), "b s h",
                          whole="e"),
    }  # fmt: skip
