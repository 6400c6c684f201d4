"""A graph by hand: repeated layers folded as unrolled, prices by hand, words and specs."""

from dataclasses import replace

import numpy as np
import pytest
from sharded import sharding_problem

from planner.errors import SpecError
from planner.operator_graph import Operand, Operator, OperatorGraph, Tensor
from planner.search import exhaustive, priced
from planner.sharding.mesh import Mesh, mesh_of
from planner.sharding.price import Figures, figures_of
from planner.sharding.problem import ShardingProblem, build
from planner.sharding.words import partition_specs, picks_of, sharding_of
from planner.sharding.working import working_bytes

B, S, H, F = 8, 512, 1024, 4096
PARTS = ("up", "down", "add")


def labels(text: str) -> tuple[tuple[str, ...], ...]:
    return tuple((x,) for x in text)


def layer(n: str, stream: str, repeats: int, region: str) -> tuple[list[Operator], list[Tensor]]:
    """Make a residual layer: x + down(up(x))."""
    sizes = {"b": B, "s": S, "h": H, "f": F}
    flop = 2.0 * B * S * H * F
    x = Operand(stream, labels("bsh"))
    hidden, out = Operand(f"{n}/mid", labels("bsf")), Operand(f"{n}/down", labels("bsh"))
    made = Operand(f"{n}/out", labels("bsh"), saved=False)
    flat = {k: v for k, v in sizes.items() if k != "f"}
    ops = [
        Operator(f"{n}/up", "product", sizes, (x, Operand(f"{n}/w1", labels("hf"))),
                 replace(hidden, saved=False), flop=flop),
        Operator(f"{n}/down", "product", sizes, (hidden, Operand(f"{n}/w2", labels("fh"))),
                 replace(out, saved=False), flop=flop),
        Operator(f"{n}/add", "elementwise", flat,
                 (replace(x, saved=False), replace(out, saved=False)), made,
                 traffic_bytes=6.0 * B * S * H, backward=1.0),
    ]  # fmt: skip
    tensors = [
        Tensor(f"{n}/w1", (H, F), parameter=True), Tensor(f"{n}/w2", (F, H), parameter=True),
        Tensor(f"{n}/mid", (B, S, F)), Tensor(f"{n}/down", (B, S, H)),
        Tensor(f"{n}/out", (B, S, H)),
    ]  # fmt: skip
    return [replace(op, repeats=repeats, region=region) for op in ops], tensors


def stack(times: int, folded: bool) -> OperatorGraph:
    """Make an entry product, `times` layers, and a sum to a loss."""
    entry = Operator("entry", "product", {"b": B, "s": S, "d": 64, "h": H},
                     (Operand("data", labels("bsd")), Operand("w0", labels("dh"))),
                     Operand("x", labels("bsh"), saved=False), backward=1.0)  # fmt: skip
    ops, tensors, stream = [entry], [
        Tensor("data", (B, S, 64), given=True), Tensor("w0", (64, H), parameter=True),
        Tensor("x", (B, S, H)),
    ], "x"  # fmt: skip
    for n in range(1 if folded else times):
        more, new = layer(f"l{n}", stream, times if folded else 1, "layers" if folded else "")
        ops, tensors, stream = [*ops, *more], [*tensors, *new], f"l{n}/out"
    ops.append(Operator("loss", "reduction", {"b": B, "s": S, "h": H},
                        (Operand(stream, labels("bsh")),), Operand("value", (), saved=False),
                        traffic_bytes=2.0 * B * S * H, backward=1.0))  # fmt: skip
    tensors.append(Tensor("value", ()))
    repeated = {"layers": (times, (("l0/out", "x"),))} if folded else {}
    return OperatorGraph(tuple(ops), {t.name: t for t in tensors}, repeated)


def setting(tp: int = 4, dp: int = 2) -> tuple[Mesh, Figures]:
    context, _ = sharding_problem({"dp": 8}, 8)
    return mesh_of(context.cluster, {"tp": tp, "dp": dp}), figures_of(context)


def drawn(made: ShardingProblem, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(rng.integers(len(n.options))) for n in made.nodes)


@pytest.mark.parametrize("passes", [1, 3])
def test_folded_layers_cost_what_unrolled_ones_do(passes: int) -> None:
    """All layers picked alike: seconds and bytes of 3 folded layers are those of 3 layers."""
    mesh, figures = setting()
    few = build(stack(3, True), mesh, figures, passes=passes, memory_limit_bytes=1e12)
    many = build(stack(3, False), mesh, figures, passes=passes, memory_limit_bytes=1e12)
    rng = np.random.default_rng(0)
    for _ in range(40):
        picks = drawn(few, rng)
        name = {(n.kind, n.name): n.options[p] for n, p in zip(few.nodes, picks, strict=True)}
        # the last layer's result is read by the loss alone, like the folded one's
        unrolled = []
        for node in many.nodes:
            part = node.name.partition("/")
            like = node.name if part[0] in ("entry", "loss", "x", "w0") else f"l0/{part[2]}"
            if node.kind == "tensor":
                like = "x"
            unrolled.append(node.options.index(name[node.kind, like]))
        ours, theirs = few.problem.cost(picks), many.problem.cost(unrolled)
        assert ours.total_s == pytest.approx(theirs.total_s, rel=1e-9)
        assert ours.total_bytes == pytest.approx(theirs.total_bytes, rel=1e-9)


def test_a_pair_of_products_by_hand() -> None:
    """Column then row on tp: forward one all-reduce, backward one; nothing else on tp."""
    mesh, figures = setting()
    made = build(stack(1, False), mesh, figures)
    words = {"entry": "dp:b", "l0/up": "tp:f dp:b", "l0/down": "tp:f dp:b", "l0/add": "dp:b",
             "loss": "dp:b"}  # fmt: skip
    words |= {"x": "tp:summed dp:0", "l0/w1": "tp:1", "l0/w2": "tp:0", "w0": "whole"}
    picks = [n.options.index(words[n.name]) for n in made.nodes]
    seen = [(c.tensor, c.axis, c.kind, c.step) for c in made.collectives(picks)]
    assert sorted(seen) == sorted([
        ("l0/down", "tp", "all-reduce", "forward"), ("x", "tp", "all-reduce", "backward"),
        ("w0", "dp", "all-reduce", "gradient"), ("l0/w1", "dp", "all-reduce", "gradient"),
        ("l0/w2", "dp", "all-reduce", "gradient"),
    ])  # fmt: skip
    weights = 64 * H + 2 * H * F / 4
    held = {m.name: m.bytes for m in made.problem.cost(picks).memory}
    assert held["weights"] == figures.parameter_bytes * weights
    assert held["gradients"] == figures.gradient_bytes * weights
    assert held["optimizer states"] == figures.state_bytes * weights
    # kept: the data, the stream once although two read it, the middle, what the loss reads
    kept = 2.0 * B / 2 * S * (64 + H + F / 4 + H)
    assert held["activations"] == kept
    assert working_bytes(made, picks) > 2.0 * B / 2 * S * (H + F / 4)


@pytest.mark.parametrize("share", [1.0, 0.9, 0.5, 0.3])
def test_the_best_is_the_oracles(share: float) -> None:
    """Two products alone: every way to shard them and to store their weights is tried."""
    context, _ = sharding_problem({"dp": 8}, 8)
    mesh = mesh_of(context.cluster, {"tp": 4})
    whole = stack(1, False)
    ops = tuple(op for op in whole.operators if op.name in ("l0/up", "l0/down"))
    names = {o.tensor for op in ops for o in (*op.operands, op.result)}
    given = {"x": replace(whole.tensors["x"], given=True)}
    tensors = {n: t for n, t in whole.tensors.items() if n in names} | given
    graph = OperatorGraph(ops, tensors)
    free = build(graph, mesh, figures_of(context), memory_limit_bytes=1e12)
    assert free.problem.combinations < 3e5
    found = priced.solve(free.problem)
    assert found.picks is not None
    limit = share * float(free.problem.cost(found.picks).total_bytes)
    made = build(graph, mesh, figures_of(context), memory_limit_bytes=limit)
    best, found = exhaustive.solve(made.problem), priced.solve(made.problem)
    assert best.status == found.status
    if best.picks is not None and found.picks is not None:
        ours, theirs = (made.problem.cost(x.picks).total_s for x in (found, best))  # type: ignore
        assert ours == pytest.approx(theirs, rel=1e-9)


def test_words_and_specs() -> None:
    mesh, figures = setting()
    made = build(stack(2, True), mesh, figures, memory_limit_bytes=1e12)
    rng = np.random.default_rng(1)
    for _ in range(20):
        picks = drawn(made, rng)
        words = sharding_of(made, picks)
        assert words["mesh"] == {"tp": 4, "dp": 2}
        assert picks_of(made, words) == picks
    operators = dict(words["operators"])  # type: ignore[call-overload]
    wrong = {**words, "operators": {**operators, "l0/up": "tp:q"}}
    with pytest.raises(SpecError, match=r"operators\.l0/up: .*tp:q.*nearest"):
        picks_of(made, wrong)
    del operators["loss"]
    with pytest.raises(SpecError, match="operators.loss: is missing"):
        picks_of(made, {**words, "operators": operators})
    index = made.index("operator", "l0/up")
    chosen = list(picks)
    chosen[index] = made.nodes[index].options.index("tp:f dp:b")
    weight = made.index("parameter", "l0/w1")
    chosen[weight] = made.nodes[weight].options.index("tp:1 dp:1")
    specs = partition_specs(made, chosen)
    assert specs["l0/w1"] == ((), ("dp", "tp"))
    assert specs["l0/mid"] == (("dp",), (), ("tp",))
