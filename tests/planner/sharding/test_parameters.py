"""How weights are stored: bytes and seconds of ZeRO's stages by hand."""

import numpy as np
import pytest
from sharded import sharding_problem

from costmodels import collectives
from planner.operator_graph import Operand, Operator, OperatorGraph, Tensor
from planner.sharding.mesh import mesh_of
from planner.sharding.parameters import parameter_node
from planner.sharding.price import figures_of
from planner.sharding.problem import ShardingProblem, build

N = 4096
READ = (("b",), ("h",))


def graph(**more: bool) -> OperatorGraph:
    """Make one product over `dp`'s sequences."""
    op = Operator("up", "product", {"b": 8192, "h": N, "f": N},
                  (Operand("x", READ), Operand("w", (("h",), ("f",)))),
                  Operand("y", (("b",), ("f",)), saved=False), backward=1.0)  # fmt: skip
    tensors = [Tensor("x", (8192, N), given=True), Tensor("w", (N, N), parameter=True, **more),
               Tensor("y", (8192, N))]  # fmt: skip
    return OperatorGraph((op,), {t.name: t for t in tensors})


def made_of(passes: int, **more: bool) -> ShardingProblem:
    context, _ = sharding_problem({"dp": 8}, 8)
    mesh = mesh_of(context.cluster, {"dp": 8})
    return build(graph(**more), mesh, figures_of(context), passes=passes)


def price(made: ShardingProblem, storage: str) -> tuple[dict[str, float], float, list[str]]:
    """Bytes by name, seconds on dp, and the collectives, of data parallelism with a storage."""
    words = {"up": "dp:b", "w": storage}
    picks = [node.options.index(words[node.name]) for node in made.nodes]
    cost = made.problem.cost(picks)
    seconds = float(sum(t.time_s for t in cost.terms if t.kind == "dp"))
    steps = [f"{c.step} {c.kind} x{c.times:.0f}" for c in made.collectives(picks)]
    return {m.name: float(m.bytes) for m in cost.memory}, seconds, steps


@pytest.mark.parametrize("passes", [1, 4])
def test_bytes_and_collectives_of_the_stages(passes: int) -> None:
    made = made_of(passes)
    f, m = made.figures, float(N * N)
    p, g, s = f.parameter_bytes * m, f.gradient_bytes * m, f.state_bytes * m
    every = f"x{passes}"
    stages = {
        "whole": ((p, g, s), ["gradient all-reduce x1"]),
        "dp:states": ((p, g, s / 8), ["gradient reduce-scatter x1", "gather all-gather x1"]),
        "dp:gradients": (
            (p, g / 8, s / 8), [f"gradient reduce-scatter {every}", "gather all-gather x1"]
        ),
        "dp:0": (
            (p / 8, g / 8, s / 8),
            [f"forward all-gather {every}", f"again all-gather {every}",
             f"gradient reduce-scatter {every}"],
        ),
    }  # fmt: skip
    node = made.nodes[made.index("parameter", "w")]
    assert set(node.options) == (set(stages) | {"dp:1"}) - ({"dp:states"} if passes == 1 else set())
    span = made.mesh[0].span
    gather = float(collectives.all_gather_s(2.0 * m, span))
    scatter = float(collectives.reduce_scatter_s(g, span))
    seconds = {
        "whole": float(collectives.all_reduce_s(g, span)), "dp:states": scatter + gather,
        "dp:gradients": passes * scatter + gather, "dp:0": passes * (2 * gather + scatter),
    }  # fmt: skip
    for storage in set(stages) & set(node.options):
        held, ours, steps = price(made, storage)
        assert (held["weights"], held["gradients"], held["optimizer states"]) == stages[storage][0]
        assert steps == stages[storage][1]
        # gathers of weights hide where the stack says so; nothing is free, nothing is dearer
        assert 0.0 < ours <= seconds[storage] * (1 + 1e-12)
    assert price(made, "whole")[1] == pytest.approx(seconds["whole"], rel=1e-12)


def test_a_frozen_weight_has_neither_gradient_nor_state() -> None:
    made = made_of(1, given=True)
    held, _, steps = price(made, "whole")
    assert held["frozen weights"] == 2.0 * N * N
    assert {"gradients", "optimizer states"} & set(held) == set()
    assert steps == []
    assert price(made, "dp:0")[2] == ["forward all-gather x1", "again all-gather x1"]


def test_one_copy_serves_every_repeat_of_a_shared_weight() -> None:
    context, _ = sharding_problem({"dp": 8}, 8)
    mesh, figures = mesh_of(context.cluster, {"dp": 8}), figures_of(context)
    own, shared = graph(), graph(shared=True)
    held = []
    for one in (own, shared):
        (op,) = one.operators
        op = Operator(op.name, op.kind, op.sizes, op.operands, op.result, backward=1.0, repeats=3,
                      region="r")  # fmt: skip
        repeated = OperatorGraph((op,), one.tensors, {"r": (3, ())})
        stored = parameter_node(repeated, one.tensors["w"], mesh, figures, 1)
        held.append(np.asarray(stored.node.memory[0].bytes)[0])
    assert held[0] == 3 * held[1]
