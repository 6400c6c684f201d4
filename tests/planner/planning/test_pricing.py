"""What a second of a step is worth and how long a step may be, against the runs themselves."""

import numpy as np
import pytest
from rows import job_of

from planner.cluster.choices import clusters
from planner.planning.pricing import bound_of, longest_step_s, objective_of, worth_of_a_step
from planner.workloads import training

FAILING = {
    "reliable": {},
    "spot": {"preemption_mean_s": 7200, "notice_s": 30, "replacement_s": 600},
    "rare checkpoints": {"node_mtbf_s": 2e5, "checkpoint_interval_s": 20000, "spare_nodes": 1},
    "hasty checkpoints": {"node_mtbf_s": 2e5, "checkpoint_interval_s": 1},
    "blocking": {"node_mtbf_s": 5e4, "checkpoint_async": False, "checkpoint_bytes_per_s": 1e8},
}


def priced(metric: str, failure: dict[str, float], tokens: float, **constraints: float):
    job = job_of(
        devices=64, workload={"tokens": tokens}, failure=failure, objective={"metric": metric},
        constraints=constraints,
    )  # fmt: skip
    (cluster,) = clusters(job.hardware)
    context = training.make(job, cluster)
    dims, _ = training.candidates(job, context, coarse=True)
    return job, context, dims.take(np.arange(0, len(dims), 3))


@pytest.mark.parametrize("tokens", [1e7, 1e12])
@pytest.mark.parametrize("metric", ["time_to_train", "cost"])
@pytest.mark.parametrize("failure", FAILING.values(), ids=FAILING)
def test_no_run_is_below_the_worth_of_its_steps(metric, failure, tokens):
    job, context, dims = priced(metric, failure, tokens)
    value = objective_of(job, context, dims)(np.arange(len(dims)))
    assert np.all(bound_of(job, context, dims) <= value)
    step_s = np.asarray(training.times_of(context, dims).total_s)
    worth = worth_of_a_step(job, context)
    assert np.all(worth * step_s <= value)
    if tokens > 1e9:  # no idle bound, but where one checkpoint takes longer than the run
        fastest = int(np.argmin(step_s))
        assert value[fastest] < 1.1 * worth * step_s[fastest]


@pytest.mark.parametrize("limit", ["deadline_s", "max_cost_usd"])
@pytest.mark.parametrize("failure", FAILING.values(), ids=FAILING)
def test_no_step_longer_than_the_longest_keeps_the_limits(limit, failure):
    job, context, dims = priced("step_time", failure, 1e12, **{limit: 1e12})
    price = training.times_of(context, dims)
    run = training.economics(job, context, dims, price)
    figures = {"deadline_s": run.finish_s, "max_cost_usd": run.finish_cost_usd}
    middle = float(np.median(np.asarray(figures[limit])))
    job, context, dims = priced("step_time", failure, 1e12, **{limit: middle})
    kept = np.isfinite(objective_of(job, context, dims)(np.arange(len(dims))))
    step_s, longest = np.asarray(price.total_s), longest_step_s(job, context)
    assert kept.any()
    assert not kept.all()
    assert np.all(step_s[kept] <= longest)
    assert longest < 1.02 * step_s[kept].max() or step_s.max() <= longest


def test_a_token_rate_bounds_the_step_and_no_limit_does_not():
    job, context, _ = priced("step_time", {}, 1e12, min_tokens_per_s=1e6)
    tokens = job.workload.global_batch * job.workload.sequence_length
    assert longest_step_s(job, context) == tokens / 1e6
    job, context, _ = priced("step_time", {}, 1e12)
    assert longest_step_s(job, context) == np.inf
