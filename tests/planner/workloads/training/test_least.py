"""The least time of a plan: below its price in every order of its mesh, and not far below it."""

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from jobs import jobs, text_of
from rows import GPT, context_of, job_of, row, taken

from planner import spec
from planner.dims import ORDERS
from planner.workloads import training
from planner.workloads.training.groups import every_order
from planner.workloads.training.staging import Staging

MOE = {**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}}
LEVELS = [
    {"name": "node", "devices": 8, "bytes_per_s": 4e11, "latency_s": 2e-6},
    {"name": "rack", "devices": 32, "bytes_per_s": 1e11, "latency_s": 5e-6},
    {"name": "site", "devices": 256, "bytes_per_s": 2e10, "latency_s": 2e-5},
]


def prices(context, dims):
    return np.asarray(training.times_of(context, dims).total_s)


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(jobs())
def test_no_plan_in_any_order_is_faster_than_its_least_time(raw):
    job = spec.load(text_of(raw))
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    few = dims.take(np.arange(0, len(dims), max(1, len(dims) // 400)))
    least = training.least_s(context, few)
    assert (least > 0).all()
    ordered, of = every_order(few)
    step = prices(context, ordered)
    assert (least[of] <= step).all()
    own = training.least_s(context, ordered, own_order=True)
    assert (least[of] <= own * (1 + 1e-12)).all()
    assert (own <= step).all()


@pytest.mark.parametrize("system", ["gb200-nvl72", "tpu-v5p", "mi300x", "l40s"])
def test_the_least_time_holds_on_every_kind_of_network(system):
    preset = "maxtext" if system == "tpu-v5p" else "megatron-core"
    devices = 64
    job = job_of(model=MOE, system=system, preset=preset, devices=devices, batch=64)
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    few = dims.take(np.arange(0, len(dims), max(1, len(dims) // 300)))
    ordered, of = every_order(few)
    assert (training.least_s(context, few)[of] <= prices(context, ordered)).all()


def test_stagings_and_partial_recomputation_are_not_below_it():
    job = job_of(devices=64, batch=64, hardware={"levels": LEVELS})
    context, code = context_of(job).staged(Staging((1, 3, 3, 1)))
    for given_keys in (
        {"staging": code, "recompute": "full"},
        {"staging": 0, "recompute": "full", "recompute_layers": 1.0},
        {"staging": 0, "recompute": "projections", "lean": 1},
        {"staging": 0, "schedule": "zero-bubble"},
        {"staging": 0, "schedule": "interleaved", "vpp": 2},
    ):
        dims = row(context, tp=2, pp=4, **given_keys)
        least, step = taken(training.least_s(context, dims)), prices(context, dims)[0]
        terms = training.times_of(context, dims).terms
        (sends,) = (taken(t.time_s) for t in terms if t.name == "stage boundary sends")
        assert 0.4 * (step - sends) < least <= step, given_keys  # sends are not in it


def test_without_a_network_it_is_nearly_the_price():
    """All but the update of the states."""
    context = context_of(job_of(devices=1, batch=8))
    dims = row(context)
    least, step = taken(training.least_s(context, dims)), prices(context, dims)[0]
    terms = training.times_of(context, dims).terms
    (updated,) = (taken(t.time_s) for t in terms if t.name == "optimizer step")
    rest = step - (updated - context.stack.family.step_s.value)
    assert 0.999 * rest < least <= rest


def test_every_order_is_listed_once_each_with_its_plan():
    context = context_of(job_of(devices=64, batch=64))
    dims = row(context, tp=2, cp=2, pp=2).joined(row(context, tp=8))
    ordered, of = every_order(dims)
    assert of.tolist() == [0] * len(ORDERS) + [1] * 2
    assert ordered.order[:24].tolist() == list(range(24))
    assert ordered.order[24] == 0.0
    assert ordered.tp.tolist() == [2.0] * 24 + [8.0] * 2


def test_orders_that_price_alike_are_listed_once():
    """On two levels, with tensor parallelism filling the node, all other axes cross alike."""
    context = context_of(job_of(devices=128, batch=128))
    dims = row(context, tp=8, cp=2, pp=2)
    unlike, _ = training.unlike_orders(context, dims)
    every, _ = every_order(dims)
    assert 1 < len(unlike) < len(every) == len(ORDERS)
    shown = {round(t, 12) for t in prices(context, every)}
    assert shown == {round(t, 12) for t in prices(context, unlike)}
    assert unlike.order[0] == 0.0
