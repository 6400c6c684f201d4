"""States of parameters against the ZeRO paper's table, the contract's case and hand counts."""

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.models.count import count
from planner.workloads.training.stages import slots_of
from planner.workloads.training.states import Parameters, parameters_of, state_bytes

MOE = {**GPT, "tied_embeddings": True,
       "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024, "first_dense_layers": 2}}  # fmt: skip


def held(context, **strategy):
    dims = row(context, **strategy)
    slots = slots_of(context.kinds, dims)
    return dims, slots, parameters_of(context, dims, slots)


@pytest.mark.parametrize(("zero", "gigabytes"), [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_the_table_of_the_zero_paper(zero, gigabytes):
    """Rajbhandari et al., SC 2020, figure 1: 7.5 B parameters on 64 ranks, Adam, K = 12."""
    context = context_of(job_of(devices=64, batch=64))
    dims = row(context, zero=zero)
    one = np.full((1, 1), 7.5e9)
    parameters = Parameters(one, 0 * one, 0 * one, 0 * one, 0.0, 0.0)
    made = state_bytes(context, dims, parameters)
    total = taken(made.weights) + taken(made.gradients) + taken(made.optimizer)
    assert total / 1e9 == pytest.approx(gigabytes, abs=0.06)


def test_the_contract_s_case_of_shards_and_replicas():
    """512 devices, tp 2, cp 2, pp 4, dp 32, zero 3, zero_group 16, ep 8, etp 1."""
    context = context_of(job_of(model=MOE, devices=512, batch=512))
    dims, slots, parameters = held(context, tp=2, cp=2, pp=4, zero=3, zero_group=16, ep=8, etp=1)
    assert taken(dims.dp) == 32
    assert taken(dims.shards) == 16
    assert taken(dims.replicas / dims.shards) == 4
    assert taken(dims.expert_shards) == 4
    assert taken(dims.expert_replicas) == 16
    assert taken(dims.expert_replicas / dims.expert_shards) == 4
    made = state_bytes(context, dims, parameters)
    # stage 2 holds layers 5 and 6 (1-based), both mixtures: 2 of 16 experts each on a rank
    moe, h = MOE["moe"], MOE["hidden"]
    expert = 2 * (moe["experts"] / 8) * 2 * h * moe["ffn_hidden"]
    # per layer: q, k, v, out and their kin over tp; router and two norms on every rank
    dense = 2 * (4 * h * h / 2 + moe["experts"] * h + 2 * h)
    stage = next(
        i for i in range(slots.multiplicity.shape[0])
        if not slots.first[i, 0] and not slots.last[i, 0] and slots.multiplicity[i, 0]
    )  # fmt: skip
    assert parameters.expert[stage, 0] == expert
    assert parameters.dense[stage, 0] == dense
    assert made.weights[stage, 0] == pytest.approx(2 * (dense / 16 + expert / 4), rel=1e-12)
    assert made.optimizer[stage, 0] == pytest.approx(12 * (dense / 16 + expert / 4), rel=1e-12)


@pytest.mark.parametrize("model", [GPT, MOE, {**GPT, "tied_embeddings": True}])
@pytest.mark.parametrize("mesh", [{}, {"tp": 4}, {"pp": 4}, {"tp": 2, "pp": 2, "vpp": 2}], ids=str)
def test_the_shares_of_all_ranks_add_up_to_the_model(model, mesh):
    job = job_of(model=model, devices=16, batch=64)
    context = context_of(job)
    moe = "moe" in model
    experts = {"ep": 2} if moe else {}
    dims, slots, parameters = held(context, **mesh, **experts)
    tp = mesh.get("tp", 1)
    config = job.workload.model
    # what tensor parallelism copies: norms (and their biases) and routers
    copied = sum(
        block.count * op.weights
        for block, op in context.graph.ops()
        if op.split in ("", "sequence") and block.name != "embedding"
    )
    total = count(config).total
    if mesh.get("pp", 1) > 1 and config.tied_embeddings:
        total += config.vocab * config.hidden + config.hidden * 2048  # the last stage's own table
        # (positions are copied with it: a bound from above, below 0.2% here)
    ranks = slots.multiplicity[:, 0]
    dense = (parameters.dense[:, 0] * ranks).sum() * tp - (tp - 1) * copied
    expert = (parameters.expert[:, 0] * ranks).sum() * (2 if moe else 1)
    assert dense + expert == pytest.approx(total, rel=1e-12)


def test_more_sharding_never_holds_more():
    context = context_of(job_of(model=MOE, devices=64, batch=64))
    for name in ("weights", "gradients", "optimizer"):
        sizes = []
        for zero in range(4):
            dims, _, parameters = held(context, zero=zero, ep=4)
            sizes.append(taken(getattr(state_bytes(context, dims, parameters), name)))
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] > sizes[-1]


def test_frozen_weights_have_no_gradients_and_no_optimizer_states():
    job = job_of(workload={"task": "lora"}, devices=8)
    context = context_of(job)
    dims, _, parameters = held(context)
    made = state_bytes(context, dims, parameters)
    frozen = taken(parameters.frozen_dense)
    trained = taken(parameters.dense)
    assert frozen == count(job.workload.model).total
    assert taken(made.gradients) == context.gradient_bytes * trained
    assert taken(made.weights) == pytest.approx(2 * frozen + 2 * trained)
