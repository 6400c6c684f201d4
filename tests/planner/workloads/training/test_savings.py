"""Savings that are added where a plan does not fit: the least that fits, and no other."""

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.dims import ALL_LAYERS, CODES, code_of_modules
from planner.workloads import training

FULL, NONE = CODES["recompute"].index("full"), CODES["recompute"].index("none")


def saved(context, dims, limit, *, offload=True, partial=True):
    more, used = training.with_savings(context, dims, limit, offload=offload, partial=partial)
    return more, np.asarray(used)


def pair(context, **mesh):
    """One plan without recomputation and one with all of it."""
    none, full = row(context, **mesh), row(context, recompute="full", **mesh)
    return none.joined(full), [
        taken(training.memory_of(context, d).total_bytes) for d in (none, full)
    ]


@pytest.mark.parametrize("mesh", [{}, {"pp": 2}, {"pp": 4}, {"tp": 2, "pp": 2}], ids=str)
@pytest.mark.parametrize("tightness", [0.05, 0.3, 0.6, 0.95])
def test_the_fewest_layers_that_fit_are_recomputed(mesh, tightness):
    context = context_of(job_of(devices=8, batch=64))
    dims, (most, least) = pair(context, **mesh)
    limit = least + (most - least) * tightness
    more, used = saved(context, dims, limit, offload=False)
    layers = -(-GPT["layers"] // mesh.get("pp", 1))
    fitting = [
        n for n in range(1, layers)
        if taken(training.memory_of(
            context, row(context, recompute="full", recompute_layers=float(n), **mesh)
        ).total_bytes) <= limit
    ]  # fmt: skip
    added = more.recompute_layers[2:]
    assert added.tolist() == ([float(fitting[0])] if fitting else [])
    assert (used[2:] <= limit).all()


MIXTURE = {**GPT, "moe": {"experts": 8, "top_k": 2, "ffn_hidden": 2048}}
ACTIVATION, CHEAP = (code_of_modules(m) for m in (["moe_act"], ["moe_act", "layernorm"]))


def test_the_lightest_set_of_modules_that_fits_is_recomputed():
    context = context_of(job_of(model=MIXTURE, devices=8, batch=64))
    mesh = {"ep": 8, "micro_batch": 4}
    dims, (most, least) = pair(context, **mesh)
    held = {
        code: taken(training.memory_of(context, row(context, recompute=m, **mesh)).total_bytes)
        for code, m in ((ACTIVATION, ("moe_act",)), (CHEAP, ("moe_act", "layernorm")))
    }
    assert least < held[CHEAP] < held[ACTIVATION] < most
    for limit, wanted in (
        (held[ACTIVATION], [ACTIVATION]),
        (held[ACTIVATION] - 1.0, [CHEAP]),
        (held[CHEAP] - 1.0, []),
    ):
        more, used = saved(context, dims, limit, offload=False)
        added = more.recompute[2:][more.recompute[2:] > FULL]
        assert added.tolist() == wanted
        assert (used[2:] <= limit).all()


def test_a_stack_without_modules_recomputes_none():
    context = context_of(job_of(model=MIXTURE, devices=8, batch=64, preset="fsdp-eager"))
    dims, (most, least) = pair(context, ep=8, micro_batch=4)
    more, _ = saved(context, dims, (most + least) / 2, offload=False)
    assert (more.recompute <= FULL).all()


def test_nothing_is_saved_where_nothing_is_missing():
    context = context_of(job_of(devices=8, batch=64))
    dims, (most, _) = pair(context)
    more, _ = saved(context, dims, most + 1.0)
    assert len(more) == len(dims)


def test_optimizer_states_go_to_the_host_only_where_that_makes_it_fit():
    context = context_of(job_of(devices=8, batch=64))
    dims, (most, _) = pair(context)
    states = 12 * sum(b.count * b.weights() for b in context.graph.blocks)
    more, used = saved(context, dims, most - 0.5 * states, partial=False)
    assert more.offload.tolist()[:2] == [0.0, 0.0]
    assert (more.offload[2:] == 1.0).all()
    assert (used[2:] <= most - 0.5 * states).all()
    too_tight, _ = saved(context, dims, 0.01 * states, partial=False)
    assert len(too_tight) == len(dims)


def test_what_the_job_pins_is_not_added():
    context = context_of(job_of(devices=8, batch=64))
    dims, (most, least) = pair(context)
    more, _ = saved(context, dims, (most + least) / 2, offload=False, partial=False)
    assert len(more) == len(dims)


def test_footprints_are_those_of_the_price():
    job = job_of(devices=16, batch=64, hardware={"set": {"memory_bytes": 12e9}})
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    more, used = saved(context, dims, context.memory_limit_bytes)
    held = np.asarray(training.memory_of(context, more).total_bytes)
    assert np.allclose(used, held, rtol=1e-14, atol=0.0)
    assert ((more.recompute_layers < ALL_LAYERS) <= (more.recompute == FULL)).all()
    assert NONE != FULL
