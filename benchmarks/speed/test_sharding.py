"""Seconds to make and to solve the sharding of whole models on three mesh axes.

Asserted: the answer is within 1% of the bound, and keeps the limit with room for what operators
work on. Processor seconds are reported, never asserted.
"""

import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from planner.cluster.choices import clusters
from planner.functions.operator_search import Searched, search
from planner.sharding.mesh import mesh_of
from planner.sharding.price import figures_of
from planner.sharding.problem import build
from planner.sharding.transformer import operator_graph
from planner.spec import load_mapping
from planner.workloads import training

CASES = (
    ("llama-3.1-70b", {"tp": 8, "more": 2, "dp": 32}, 70e9),
    ("llama-3.1-405b", {"tp": 8, "more": 4, "dp": 64}, 75e9),
    ("deepseek-v3", {"tp": 8, "more": 2, "dp": 128}, 60e9),
)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize(("model", "degrees", "limit"), CASES, ids=[c[0] for c in CASES])
def test_a_whole_model_on_three_axes(
    benchmark: BenchmarkFixture, model: str, degrees: dict[str, int], limit: float
) -> None:
    """Make the graph and the problem, and solve it within the limit."""
    devices = degrees["tp"] * degrees["more"] * degrees["dp"]
    job = load_mapping({
        "workload": {"kind": "training", "model": model, "sequence_length": 4096,
                     "global_batch": 2048},
        "hardware": {"system": "dgx-h100", "devices": devices},
    })  # fmt: skip
    (cluster,) = clusters(job.hardware)
    context = training.make(job, cluster)

    def solved() -> Searched:
        graph = operator_graph(context, degrees["more"] * degrees["dp"])
        mesh = mesh_of(cluster, degrees)
        return search(build(graph, mesh, figures_of(context), memory_limit_bytes=limit))

    found = benchmark.pedantic(solved, rounds=1)
    assert found.solution.gap <= 0.01
    assert found.price is not None
    assert found.price.total_bytes + found.working_bytes <= limit
