"""Looser consistency by hand: outer exchanges, gradients that lag, jitter that is not felt."""

import dataclasses

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from costmodels import collectives
from planner.cluster import Cluster
from planner.dims import CONSISTENCY, OUTER_PRECISION, ParallelDims
from planner.workloads import training
from planner.workloads.training import consistency as looser
from planner.workloads.training.context import Context
from planner.workloads.training.exchange import axis_span
from planner.workloads.training.states import Fullest

LEVELS = [
    {"name": "node", "devices": 8, "bytes_per_s": 3.2e11, "latency_s": 1.5e-6},
    {"name": "cluster", "devices": 16, "bytes_per_s": 3.4e11, "latency_s": 8.5e-6},
    {"name": "wide", "devices": 64, "bytes_per_s": 1e9, "latency_s": 2e-2},
]
LOCAL, STALE, ASYNCHRONOUS = (float(CONSISTENCY.index(k)) for k in CONSISTENCY[1:])


def sites(**hardware: object) -> Context:
    return context_of(job_of(devices=64, batch=256, hardware={"levels": LEVELS, **hardware}))


def local(context: Context, **given: float) -> ParallelDims:
    made = {"consistency": LOCAL, "sites": 4, "apart": 50, "zero": 1, "zero_group": 16, **given}
    return row(context, **made)


def times(context: Context, dims: ParallelDims) -> dict[str, tuple[float, float]]:
    priced = training.times_of(context, dims)
    return {t.name: (taken(t.time_s), taken(t.hidden_s)) for t in priced.terms}


def held(context: Context, dims: ParallelDims) -> dict[str, float]:
    return {m.name: taken(m.bytes) for m in training.memory_of(context, dims).memory}


def test_inside_a_site_a_step_costs_what_it_costs_on_a_site_alone() -> None:
    """But for jitter and what is rare, four sites of 16 step as 16 devices with a quarter."""
    one = context_of(job_of(devices=16, batch=64, hardware={"levels": LEVELS[:2]}))
    alone = times(one, row(one, zero=1, zero_group=16))
    together = times(sites(), local(sites()))
    for name, seconds in alone.items():
        if name != "stragglers":
            assert together[name] == pytest.approx(seconds, rel=1e-12), name
    assert set(together) - set(alone) == {"outer exchange", "outer optimizer"}


def test_an_outer_exchange_by_hand() -> None:
    """Every rank all-reduces its sixteenth over its sixteenth of the link, once in 50 steps."""
    context = sites()
    dims = local(context)
    parameters = Fullest(np.array([1.6e9]), np.zeros(1), np.zeros(1))
    (exchange, _) = looser.outer_terms(context, dims, parameters, np.zeros(1), np.zeros(1))
    part, link = 1.6e9 / 16 * 2.0, 1e9 / 16
    between = 2 * (3 * 2e-2 + 3 / 4 * part / link)
    inside = taken(collectives.all_gather_s(1.6e9 * 2.0, axis_span(context, dims, "replicas")))
    assert taken(exchange.time_s) == pytest.approx((between + inside) / 50, rel=1e-6)
    assert taken(exchange.hidden_s) == 0.0
    sent = looser.outer_sent_bytes(dims, parameters)
    assert taken(sent) == pytest.approx(2 * 3 / 4 * part)


def test_an_outer_exchange_hides_beside_two_thirds_of_a_step() -> None:
    context = sites()
    dims, parameters = local(context), Fullest(np.array([1.6e9]), np.zeros(1), np.zeros(1))
    alone, beside = (
        looser.outer_terms(context, dims, parameters, np.array([k]), np.zeros(1))[0]
        for k in (0.0, 3.0)
    )
    assert taken(beside.hidden_s) == pytest.approx(3.0 * 2 / 3 / 50)
    assert taken(beside.time_s + beside.hidden_s) == pytest.approx(taken(alone.time_s))


@pytest.mark.parametrize(("name", "share"), [("int8", 0.5), ("int4", 0.25), ("fp32", 2.0)])
def test_fewer_bits_are_fewer_bytes_between_sites(name: str, share: float) -> None:
    context = sites()
    parameters = Fullest(np.array([1.6e9]), np.zeros(1), np.zeros(1))
    code = OUTER_PRECISION.index(name)
    plain, other = (looser.outer_sent_bytes(local(context, outer=c), parameters) for c in (0, code))
    assert taken(other) == pytest.approx(share * taken(plain))


def test_the_outer_optimizer_keeps_eight_bytes_a_parameter_sharded_as_the_states() -> None:
    context = sites()
    dims = local(context)
    made, plain = held(context, dims), held(context, dataclasses.replace(dims, consistency=dims.sp))
    parameters = context.graph.weights()
    assert made.pop("outer optimizer states") == pytest.approx(8.0 * parameters / 16)
    assert made.pop("second copy of weights") == 0.0
    assert made == plain
    whole = held(context, local(context, zero=0, zero_group=16))["outer optimizer states"]
    assert whole == pytest.approx(8.0 * parameters)
    there = dataclasses.replace(dims, offload=np.ones(1))
    assert held(context, there)["outer optimizer states"] == 0.0


def test_stale_gradients_hide_under_the_compute_of_a_step() -> None:
    """What the link can carry in a step's compute is hidden; what it cannot is not, ever."""
    fast = context_of(job_of(devices=64, batch=256))
    plain = times(fast, row(fast, zero=1))["gradient reduction"]
    stale = times(fast, row(fast, zero=1, consistency=STALE, apart=1))["gradient reduction"]
    assert plain[0] > 0
    assert stale == (0.0, pytest.approx(sum(plain)))
    slow = context_of(
        job_of(devices=64, batch=64, hardware={"set": {"inter_node_bytes_per_s": 1e9}})
    )
    before = times(slow, row(slow, zero=0))
    one, eight, free = (
        times(slow, row(slow, zero=0, consistency=kind, apart=s))["gradient reduction"][0]
        for kind, s in ((STALE, 1), (STALE, 8), (ASYNCHRONOUS, 0))
    )
    assert before["gradient reduction"][0] > one > 0.0
    assert one >= eight == free > 0.0


def test_weights_that_are_gathered_for_use_do_not_lag() -> None:
    context = context_of(job_of(devices=64, batch=256, preset="fsdp-compile"))
    dims = row(context, zero=3)
    plain, stale = (
        times(context, dataclasses.replace(dims, consistency=np.array([k]), apart=np.array([4.0])))
        for k in (0.0, STALE)
    )
    assert stale["parameter gathering"] == plain["parameter gathering"]
    assert stale["gradient reduction"][0] <= plain["gradient reduction"][0]


def test_jitter_is_felt_by_those_who_meet() -> None:
    context = sites()
    hosts = 8.0

    def felt(dims: ParallelDims) -> float:
        return taken(looser.felt_doublings(dims, hosts))

    assert felt(row(context)) == 3.0
    assert felt(local(context, apart=1)) == pytest.approx(3.0)
    assert felt(local(context, apart=100)) == pytest.approx(1.0 + 2.0 / 10.0)
    assert felt(row(context, consistency=STALE, apart=3)) == pytest.approx(1.5)
    assert felt(row(context, consistency=ASYNCHRONOUS)) == 0.0


def test_synchronous_rows_cost_the_same_beside_others() -> None:
    context = sites()
    rows = [row(context, zero=1), local(context), row(context, consistency=STALE, apart=2)]
    mixed = rows[0].joined(rows[1]).joined(rows[2])
    together = training.cost(context, mixed)
    for index, one in enumerate(rows):
        alone = training.cost(context, one)
        assert np.asarray(together.total_s)[index] == taken(alone.total_s)
        assert np.asarray(together.total_bytes)[index] == taken(alone.total_bytes)


@pytest.mark.parametrize(
    "stated",
    [
        "synchronous",
        "asynchronous",
        {"stale": 3},
        {"local_sgd": {"steps": 70, "across": "wide", "precision": "int4"}},
        {"local_sgd": {"steps": 1, "across": "node", "precision": "bf16"}},
    ],
)
def test_a_strategy_and_its_columns_are_each_other(stated: object) -> None:
    cluster: Cluster = sites().cluster
    columns = {"sites": 1.0, "apart": 0.0, "outer": 0.0, **looser.columns_of(cluster, stated)}
    assert looser.consistency_of(cluster, columns) == stated


def test_the_level_to_cross_is_by_default_the_innermost_between_sites() -> None:
    assert looser.across_level(sites().cluster).name == "wide"
    assert looser.across_level(sites().cluster, "cluster").name == "cluster"
    plain = context_of(job_of(devices=64, model=GPT)).cluster
    assert looser.across_level(plain).name == "cluster"
