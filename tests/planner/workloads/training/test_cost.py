"""The price of a step and of memory: an oracle of plain loops, columns as rows, named sums."""

import dataclasses

import numpy as np
import oracle
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jobs import PRESETS, jobs, text_of
from rows import GPT, context_of, job_of, row, taken

from hardware_profiles.schema import Figure
from planner import spec
from planner.dims import RECOMPUTE
from planner.workloads import training
from planner.workloads.training.staging import StageChoice, Staging

SWITCHED = tuple(system for system in PRESETS if not system.startswith("tpu"))
"""Systems whose networks the oracle knows: all but the torus."""


def agree(job, context, dims):
    """Compare every term and every footprint with the oracle's, in parts of the whole."""
    strategy = training.strategy_of(context, dims, 0)
    price = training.cost(context, dims).at(0)
    seconds, held = oracle.price(spec.dump(job), strategy)
    named = {t.name: t.time_s for t in price.terms}
    assert {n for n, s in seconds.items() if s} <= set(named)
    for name, ours in named.items():
        gap = abs(seconds.get(name, 0.0) - ours) / price.total_s
        assert gap < 1e-9, f"{name}: {ours} is {seconds.get(name, 0.0)} by the oracle: {strategy}"
    bytes_of = {m.name: taken(m.bytes) for m in price.memory}
    assert {n for n, b in held.items() if b} <= set(bytes_of)
    for name, ours in bytes_of.items():
        gap = abs(held.get(name, 0.0) - ours) / taken(price.total_bytes)
        assert gap < 1e-9, f"{name}: {ours} is {held.get(name, 0.0)} by the oracle: {strategy}"


@settings(max_examples=30, phases=[Phase.explicit, Phase.generate])
@given(jobs(systems=SWITCHED, moe=False), st.randoms(use_true_random=False))
def test_dense_plans_cost_what_plain_loops_say(raw, random):
    _sampled(raw, random)


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(jobs(systems=SWITCHED, moe=True), st.randoms(use_true_random=False))
def test_mixtures_cost_what_plain_loops_say(raw, random):
    _sampled(raw, random)


def _sampled(raw, random):
    job = spec.load(text_of(raw))
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    for _ in range(min(3, len(dims))):
        agree(job, context, dims.take(np.array([random.randrange(len(dims))])))


MESH = {"tp": 2, "cp": 2, "pp": 4, "zero": 1, "micro_batch": 2}


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe"])
@pytest.mark.parametrize("recompute", ["none", "selective", "per-operator", "projections", "full"])
def test_every_schedule_and_recompute_mode_agrees_with_the_oracle(schedule, recompute):
    job = job_of(devices=64, batch=64)
    context = context_of(job)
    vpp = 2 if schedule == "interleaved" else 1
    agree(job, context, row(context, schedule=schedule, vpp=vpp, recompute=recompute, **MESH))


MODULES = ("core_attn", "moe_act", "layernorm", "mlp", "moe", "shared_experts")
MIXTURE = {"experts": 8, "top_k": 2, "ffn_hidden": 2048, "first_dense_layers": 3}


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize(
    "modules", [*((m,) for m in MODULES[1:]), MODULES[:3], MODULES[2:4], MODULES], ids="+".join
)
def test_every_module_agrees_with_the_oracle(modules, shared, precision):
    model = {**GPT, "gated_mlp": True, "moe": {**MIXTURE, "shared_experts": shared}}
    model["mlp_clamp"] = shared > 0
    for flash in (True, False):
        job = job_of(model=model, devices=64, batch=64, precision=precision,
                     software={"flash_attention": flash})  # fmt: skip
        context = context_of(job)
        dims = row(context, recompute=modules, ep=2, schedule="interleaved", vpp=2, **MESH)
        agree(job, context, dims)


@pytest.mark.parametrize("zero", range(4))
@pytest.mark.parametrize("group", [None, 4, 8])
@pytest.mark.parametrize("preset", ["megatron-core", "megatron-deepspeed", "fsdp-eager"])
def test_every_sharding_agrees_with_the_oracle(zero, group, preset):
    job = job_of(devices=64, batch=128, preset=preset)
    context = context_of(job)
    given = {} if group is None else {"zero_group": group}
    for mesh in ({"tp": 2}, {"tp": 2, "pp": 2}):
        agree(job, context, row(context, zero=zero, **given, **mesh))


@pytest.mark.parametrize("how", ["p2p", "all-gather", "a2a", "a2a+p2p"])
@pytest.mark.parametrize("order", [("tp", "cp", "dp", "pp"), ("cp", "tp", "dp", "pp"),
                                   ("tp", "pp", "cp", "dp")])  # fmt: skip
def test_every_exchange_and_order_agrees_with_the_oracle(how, order):
    job = job_of(devices=64, batch=64)
    context = context_of(job)
    agree(job, context, row(context, tp=2, cp=8, pp=2, cp_comm=how, zero=1, order=order))


@pytest.mark.parametrize(
    "offload", [("optimizer",), ("activations",), ("parameters",),
                ("optimizer", "activations", "parameters")],
)  # fmt: skip
def test_every_offload_agrees_with_the_oracle(offload):
    job = job_of(devices=16, batch=64)
    context = context_of(job)
    agree(job, context, row(context, tp=2, pp=2, offload=offload))


@pytest.mark.parametrize("layout", [(5, 1, 1, 1), (1, 1, 1, 5), (2, 3, 2, 1)])
def test_pinned_layouts_agree_with_the_oracle(layout):
    job = job_of(model={**GPT, "tied_embeddings": True}, devices=16, batch=64,
                 strategy={"layers_per_stage": list(layout), "pp": 4})  # fmt: skip
    context = context_of(job)
    agree(job, context, row(context, pp=4, tp=2))


STAGES = (
    [{"layers": 2, "recompute": "full"}, {"layers": 2, "recompute": {"full": 1}},
     {"layers": 3, "recompute": "none"}, {"layers": 1, "recompute": "projections"}],
    [{"layers": 1, "offload": ["optimizer", "activations"]}, {"layers": 2, "recompute": "full"},
     {"layers": 5, "offload": ["parameters"]}, {"layers": 0, "recompute": "per-operator"}],
    [{"layers": 0}, {"layers": 4, "recompute": "selective", "offload": ["activations"]},
     {"layers": 4, "recompute": "projections", "offload": []}, {"layers": 0}],
)  # fmt: skip


@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("schedule", ["1f1b", "zero-bubble", "dualpipe"])
@pytest.mark.parametrize("preset", ["megatron-core", "megatron-deepspeed"])
def test_stages_that_choose_for_themselves_agree_with_the_oracle(stages, schedule, preset):
    job = job_of(model={**GPT, "moe": MIXTURE}, devices=32, batch=64, preset=preset,
                 strategy={"stages": stages, "pp": 4})  # fmt: skip
    context = context_of(job)
    agree(job, context, row(context, pp=4, tp=2, ep=2, zero=1, schedule=schedule))


def test_stages_that_choose_modules_agree_with_the_oracle():
    stages = [
        {"layers": 2, "recompute": {"selective": ["moe_act", "mlp"]}}, {"layers": 2},
        {"layers": 4, "recompute": {"selective": ["moe", "layernorm"]}}, {"layers": 0},
    ]  # fmt: skip
    job = job_of(model={**GPT, "moe": MIXTURE}, devices=32, batch=64,
                 strategy={"stages": stages, "pp": 4})  # fmt: skip
    context = context_of(job)
    agree(job, context, row(context, pp=4, tp=2, ep=2, zero=1))


def test_virtual_stages_that_choose_for_themselves_agree_with_the_oracle():
    stages = [{"layers": 3, "recompute": "full"}, {"layers": 5, "recompute": "none"}]
    given = {"stages": stages, "layers_per_stage": [2, 2, 1, 3], "pp": 2, "vpp": 2}
    job = job_of(devices=8, batch=64, strategy=given)
    context = context_of(job)
    agree(job, context, row(context, pp=2, vpp=2, tp=2, schedule="interleaved"))


def test_stages_that_all_choose_what_the_plan_does_cost_what_the_plan_costs():
    uniform = row(context_of(job_of(devices=32)), pp=4, tp=2, recompute="full")
    context, code = context_of(job_of(devices=32)).staged(
        Staging((2, 2, 2, 2), (StageChoice(recompute=RECOMPUTE.index("full")),) * 4)
    )
    staged = row(context, pp=4, tp=2, recompute="none", staging=code)
    ours, theirs = training.cost(context, staged).at(0), training.cost(context, uniform).at(0)
    assert ours == theirs
    both = training.cost(context, staged.joined(uniform))
    assert [both.at(0), both.at(1)] == [ours, theirs]


@pytest.mark.parametrize("switch", ["overlap_tp", "overlap_ep", "compile", "flash_attention",
                                    "fused_kernels", "overlap_grad_reduce", "chunked_loss",
                                    "fused_loss",
                                    "overlap_param_gather", "overlap_p2p", "fused_experts",
                                    "fused_dispatch",
                                    "cuda_graphs", "master_weights"])  # fmt: skip
@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_every_switch_agrees_with_the_oracle(switch, value, precision):
    moe = {"experts": 16, "top_k": 2, "ffn_hidden": 1024, "shared_experts": 1}
    model = {**GPT, "moe": moe, "mlp_clamp": True, "mlp_bias": True}
    job = job_of(model=model, devices=32, batch=64, precision=precision, software={switch: value})
    context = context_of(job)
    agree(job, context, row(context, tp=2, cp=2, pp=2, ep=4, zero=1))


@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(jobs(), st.randoms(use_true_random=False))
def test_a_column_s_price_is_its_rows_prices_to_the_bit(raw, random):
    job = spec.load(text_of(raw))
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    if not len(dims):
        return
    rows = np.array(sorted(random.sample(range(len(dims)), min(40, len(dims)))))
    together = training.cost(context, dims.take(rows))
    for place in range(0, len(rows), 8):
        alone = training.cost(context, dims.take(rows[place : place + 1])).at(0)
        beside = together.at(place)
        assert alone.total_s == beside.total_s
        assert taken(alone.total_bytes) == taken(beside.total_bytes)
        assert [t.hidden_s for t in alone.terms] == [t.hidden_s for t in beside.terms]


def test_the_two_halves_are_the_whole():
    context = context_of(job_of(devices=64, batch=64))
    dims = row(context, **MESH)
    whole = training.cost(context, dims)
    assert whole.terms == training.times_of(context, dims).terms or all(
        np.array_equal(a.time_s, b.time_s)
        for a, b in zip(whole.terms, training.times_of(context, dims).terms, strict=True)
    )
    assert taken(whole.total_bytes) == taken(training.memory_of(context, dims).total_bytes)


def test_no_term_is_negative_and_all_are_named_once():
    context = context_of(job_of(devices=64, batch=64))
    job = job_of(devices=64, batch=64)
    dims, _ = training.candidates(job, context)
    price = training.cost(context, dims)
    names = [t.name for t in price.terms]
    assert len(set(names)) == len(names)
    for term in price.terms:
        assert np.all(np.asarray(term.time_s) >= 0.0), term.name
        assert np.all(np.asarray(term.hidden_s) >= 0.0), term.name
    assert all(np.all(np.asarray(m.bytes) >= 0.0) for m in price.memory)


def test_stragglers_grow_with_every_doubling_of_hosts():
    shares = []
    for devices in (8, 16, 32, 64):
        context = context_of(job_of(devices=devices, batch=64))
        price = training.times_of(context, row(context))
        late = next(taken(t.time_s) for t in price.terms if t.name == "stragglers")
        shares.append(late / (taken(price.total_s) - late))
    jitter = context.stack.family.jitter.value
    assert shares == pytest.approx([0.0, jitter, 2 * jitter, 3 * jitter])


def test_the_optimizer_step_moves_every_state_twice():
    context = context_of(job_of(devices=8, batch=8))
    family = context.stack.family
    dims = row(context, zero=1)
    named = {t.name: taken(t.time_s) for t in training.times_of(context, dims).terms}
    parameters = sum(b.count * b.weights() for b in context.graph.blocks) / 8
    moved = parameters * (2 * 12 + 2 * 2 + 2)
    rate = context.cluster.profile.memory_bytes_per_s.value * family.optimizer_efficiency.value
    assert named["optimizer step"] == pytest.approx(moved / rate + family.step_s.value, rel=1e-9)


@pytest.mark.parametrize(
    ("preset", "mesh", "owned", "whole"),
    [("megatron-2022", {"tp": 8, "zero": 0}, 24, 0), ("internevo", {"zero": 1}, 32, 8)],
)
def test_passes_over_gradients_beside_the_update(preset, mesh, owned, whole):
    """Bytes a parameter: of those a rank updates, and of all that it holds."""
    context = context_of(job_of(software={"preset": preset}, devices=8, batch=8))
    dims = row(context, **mesh)
    nothing = Figure(value=0.0, basis="assumed", source="to compare with")
    bare = context.stack.model_copy(
        update=dict.fromkeys(("update_more_bytes", "bucket_copy_bytes"), nothing)
    )
    slow, fast = (
        next(t for t in training.times_of(c, dims).terms if t.name == "optimizer step")
        for c in (context, dataclasses.replace(context, stack=bare))
    )
    held = sum(b.count * b.weights() for b in context.graph.blocks)
    moved = held * (owned / 8 + whole)
    family, profile = context.stack.family, context.cluster.profile
    rate = profile.memory_bytes_per_s.value * family.optimizer_efficiency.value
    assert taken(slow.time_s) - taken(fast.time_s) == pytest.approx(moved / rate, rel=1e-2)
