"""What the consistency of a plan costs in learning, from the job's own figures."""

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from costmodels import staleness
from planner.dims import CONSISTENCY
from planner.workloads import training
from planner.workloads.training.context import Context
from planner.workloads.training.learning import critical_tokens, parameters_of

SYNCHRONOUS, LOCAL, STALE, ASYNCHRONOUS = range(len(CONSISTENCY))
WIDE = [
    {"name": "node", "devices": 8, "bytes_per_s": 3.2e11, "latency_s": 1.5e-6},
    {"name": "wide", "devices": 32, "bytes_per_s": 1e9, "latency_s": 2e-2},
]


def given(learning: dict[str, object] | None = None, **sections: object) -> Context:
    workload = {} if learning is None else {"learning": learning}
    return context_of(job_of(devices=32, batch=64, workload=workload, **sections))


def test_kinds_are_searched_where_learning_can_be_priced() -> None:
    assert training.searched_kinds(given()) == (SYNCHRONOUS,)
    assert training.searched_kinds(given(hardware={"levels": WIDE})) == (SYNCHRONOUS, LOCAL)
    assert training.searched_kinds(given({})) == (SYNCHRONOUS, LOCAL)
    stale = training.searched_kinds(given({"law": "critical_batch"}))
    assert stale == (SYNCHRONOUS, STALE, ASYNCHRONOUS)
    assert training.searched_kinds(given({"law": "both"})) == (0, 1, 2, 3)


def test_a_synchronous_step_is_one_update() -> None:
    context = given()
    assert training.updates_factor(context, row(context)) == 1.0
    found = training.updates(context, row(context))
    assert (taken(found.least), taken(found.law), taken(found.factor)) == (1.0, 1.0, 1.0)


def test_local_updates_are_priced_at_the_careful_end_of_the_law() -> None:
    context = given()
    dims = row(context, consistency=LOCAL, sites=4, apart=100)
    found = training.updates(context, dims)
    n = parameters_of(context)
    law = staleness.local_log_loss(n, 4.0, 100.0)
    doubt = staleness.local_doubt(n, 4.0, 100.0, 2.0)
    assert taken(found.law) == pytest.approx(taken(staleness.tokens_factor(law)))
    assert taken(found.factor) == pytest.approx(taken(staleness.tokens_factor(law + doubt)))
    assert 1.0 <= taken(found.least) < taken(found.law) < taken(found.factor)


def test_staleness_is_of_the_batch_and_the_critical_batch() -> None:
    context = given({"law": "critical_batch", "critical_batch_tokens": 1e6})
    batch = 64 * 2048.0
    stale = training.updates(context, row(context, consistency=STALE, apart=4))
    assert taken(stale.law) == pytest.approx((5.0 + 1e6 / batch) / (1.0 + 1e6 / batch))
    assert taken(stale.factor) == pytest.approx((5.0 + 5e5 / batch) / (1.0 + 5e5 / batch))
    free = training.updates(context, row(context, consistency=ASYNCHRONOUS))
    assert taken(free.law) == pytest.approx((32.0 + 1e6 / batch) / (1.0 + 1e6 / batch))


def test_the_critical_batch_is_read_at_the_target() -> None:
    assert critical_tokens(given({"target_loss": 3.0})) == pytest.approx(1.1226e6, rel=1e-3)
    model = staleness.dp_loss(parameters_of(given()))
    assert critical_tokens(given()) == pytest.approx(staleness.critical_batch_tokens(model))


def test_parameters_are_those_that_a_token_uses() -> None:
    moe = {**GPT, "moe": {"experts": 8, "top_k": 2, "ffn_hidden": 2048}}
    context = context_of(job_of(model=moe, devices=32, batch=64))
    graph = context.graph
    experts = sum(b.count * b.weights(expert=True) for b in graph.blocks)
    assert parameters_of(context) == pytest.approx(graph.weights() - 0.75 * experts)


def test_a_run_takes_the_updates_of_its_consistency() -> None:
    context = context_of(job_of(devices=32, batch=64, workload={"tokens": 1e10}))
    job = job_of(devices=32, batch=64, workload={"tokens": 1e10})
    plain, loose = row(context), row(context, consistency=LOCAL, sites=4, apart=100, zero_group=8)
    factor = taken(training.updates_factor(context, loose))
    runs = [
        training.economics(job, context, d, training.cost(context, d).at(0)) for d in (plain, loose)
    ]
    assert taken(runs[1].steps) == np.ceil(taken(runs[0].steps) * factor)


def test_what_is_outside_the_law_is_said() -> None:
    context = given()
    assert training.doubts(context, row(context)) == []
    inside = row(context, consistency=LOCAL, sites=4, apart=30)
    assert training.doubts(context, inside) == []
    (said,) = training.doubts(context, row(context, consistency=LOCAL, sites=16, apart=500))
    assert "16 sites, fitted up to 8" in said and "H 500" in said
    (said,) = training.doubts(context, row(context, consistency=ASYNCHRONOUS))
    assert "31 steps old; no run at scale is known above 8" in said
