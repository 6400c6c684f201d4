"""From a JAX function alone: column- then row-parallel products, data parallelism, ZeRO-3.

Which axis carries what is the solver's to say (it depends on widths, samples and links); that
weights are cut as columns and then as rows along one axis, and samples along the others, is not.
"""

import functools
from typing import Any

import pytest

from planner import recommend, spec
from planner.importers.jaxpr import import_function
from planner.operator_graph import Operator

JOB = """
workload: {{kind: training, global_batch: {batch},
           model: {{jax: "jax_wide:{name}", inputs: {{x: [1, {length}, 4096]}}}}}}
hardware: {{system: dgx-h100, devices: 16, set: {{memory_bytes: {memory}}}}}
software: {{preset: maxtext}}
strategy: {{sharding: {{mesh: {mesh}}}, microbatches: 1}}
"""
TWO, THREE = "{x: 8, y: 2}", "{x: 4, y: 2, z: 2}"


@functools.cache
def planned(
    name: str, mesh: str, batch: int, length: int = 2048, memory: float = 85e9
) -> dict[str, Any]:
    text = JOB.format(name=name, mesh=mesh, batch=batch, length=length, memory=memory)
    return recommend.plan(spec.load_any(text))


def operators(name: str, batch: int, length: int = 2048) -> dict[str, Operator]:
    graph = import_function(f"jax_wide:{name}", {"x": [batch, length, 4096]}).graph
    return {op.name: op for op in graph.operators}


def split(plan: dict[str, Any], section: str, name: str) -> dict[str, str]:
    said = plan["strategy"]["sharding"][section][name].partition(";")[0]
    return {} if said in ("none", "whole") else dict(word.split(":") for word in said.split())


def labels_of(op: Operator, tensor: str) -> tuple[str, ...]:
    (operand,) = (o for o in op.operands if o.tensor == tensor)
    return tuple(dim[0] for dim in operand.labels)


def axes_on(plan: dict[str, Any], op: Operator, *labels: str) -> set[str]:
    """Axes that split one of these labels of an operator."""
    return {axis for axis, label in split(plan, "operators", op.name).items() if label in labels}


@pytest.mark.parametrize("mesh", [TWO, THREE])
def test_columns_then_rows_and_samples_on_the_other_axes(mesh: str) -> None:
    plan, ops = planned("mlp", mesh, 8), operators("mlp", 8)
    up, down = ops["up product"], ops["down product"]
    every = set(plan["strategy"]["sharding"]["mesh"])
    tensor = axes_on(plan, up, labels_of(up, "up")[1])  # columns of the first weight
    assert tensor and tensor == axes_on(plan, down, labels_of(down, "down")[0])  # rows of the next
    assert tensor == axes_on(plan, ops["max"], ops["max"].result.labels[-1][0])
    for op in (up, down):  # all other axes split samples or their rows
        (sample,), (row,) = op.result.labels[:2]
        assert axes_on(plan, op, sample, row) == every - tensor != set()
    for weight, dim in (("up", "1"), ("down", "0")):
        stored = split(plan, "parameters", weight)
        assert {axis for axis, how in stored.items() if how == dim} == tensor
    norm = ops["gain norm"]  # sequence parallelism: norms are on all axes, none whole
    assert axes_on(plan, norm, *(dim[0] for dim in norm.result.labels[:2])) == every


def test_heads_are_split_from_queries_to_the_output() -> None:
    plan, ops = planned("attention", TWO, 8, 1024), operators("attention", 8, 1024)
    heads = axes_on(plan, ops["q product"], labels_of(ops["q product"], "q")[1])
    assert heads
    for name in ("k", "v"):
        op = ops[f"{name} product"]
        assert axes_on(plan, op, labels_of(op, name)[1]) == heads
    assert axes_on(plan, ops["softmax"], ops["softmax"].result.labels[1][0]) == heads
    out = ops["o product"]
    assert axes_on(plan, out, labels_of(out, "o")[0]) == heads
    samples = ops["softmax"].result.labels[0][0]
    assert axes_on(plan, ops["softmax"], samples) == {"x", "y"} - heads != set()


def test_many_samples_make_data_parallelism_and_short_memory_zero_3() -> None:
    wide, tight = (planned("mlp", TWO, 128, 2048, memory) for memory in (85e9, 10e9))
    ops = operators("mlp", 128)
    for plan in (wide, tight):
        for name in ("up product", "down product"):
            assert axes_on(plan, ops[name], ops[name].result.labels[0][0]) == {"x", "y"}
    for weight in ("up", "down"):
        free, short = (split(plan, "parameters", weight) for plan in (wide, tight))
        assert not any(how.isdecimal() for how in free.values())  # weights are whole
        assert any(how.isdecimal() for how in short.values())  # in pieces, gathered when used
    assert tight["prediction"]["step_time_s"] > wide["prediction"]["step_time_s"]
    assert tight["prediction"]["memory_bytes"] <= tight["prediction"]["memory_limit_bytes"]
    assert wide["prediction"]["memory_bytes"] > tight["prediction"]["memory_limit_bytes"]
