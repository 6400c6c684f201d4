"""Memory against the published counts of activations (Korthikanti et al. 2022) and plain sums."""

import dataclasses

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.workloads.training.cost import memory_of, stage_bytes, times_of
from planner.workloads.training.footprint import fetched_bytes, offloaded
from planner.workloads.training.kept import kept_bytes
from planner.workloads.training.staging import Staging
from planner.workloads.training.states import Fullest

S, H, HEADS = 2048, 2048, 16
SBH = S * 1 * H


def layer_bytes(context, dims):
    kept, _, _ = kept_bytes(context, context.layer_blocks[0], dims, dims.recompute)
    return taken(kept)


def named(context, dims):
    return {m.name: taken(m.bytes) for m in memory_of(context, dims).memory}


# Korthikanti et al., table 2, bytes of a layer over s b h. Ours holds no dropout masks: two of
# one byte (after attention and after the MLP); the softmax's mask is in 5 a s / h.
@pytest.mark.parametrize(
    ("tp", "sp", "mode", "published"),
    [
        (1, 0, "none", lambda t: 34 - 2 + 5 * HEADS * S / H),
        (8, 0, "none", lambda t: 10 - 2 + 24 / t + 5 * HEADS * S / (H * t)),
        (8, 1, "none", lambda t: (34 - 2) / t + 5 * HEADS * S / (H * t)),
        (1, 0, "selective", lambda t: 34 - 2),
        (8, 1, "selective", lambda t: (34 - 2) / t),
        (8, 0, "full", lambda t: 2),
        (8, 1, "full", lambda t: 2 / t),
    ],
)
def test_activations_of_a_gpt_layer_are_the_published_count(tp, sp, mode, published):
    context = context_of(job_of(software={"flash_attention": False}))
    dims = row(context, tp=tp, sp=float(sp), recompute=mode)
    assert layer_bytes(context, dims) == pytest.approx(published(tp) * SBH, rel=1e-12)


def test_fused_attention_keeps_no_scores():
    fused = context_of(job_of())
    assert layer_bytes(fused, row(fused)) == pytest.approx(32 * SBH, rel=1e-12)
    selective = row(fused, recompute="selective")
    assert layer_bytes(fused, selective) == layer_bytes(fused, row(fused))


def test_per_operator_keeps_the_input_attention_and_every_second_product():
    """Of query, key, value, out, up, down: query, value and up."""
    context = context_of(job_of())
    wanted = (H + H + H + H + 4 * H) * S * 2
    dims = row(context, recompute="per-operator")
    assert layer_bytes(context, dims) == pytest.approx(wanted, rel=1e-12)
    products = 3 * H + H + 4 * H + H
    kept_all = row(context, recompute="projections")
    assert layer_bytes(context, kept_all) == pytest.approx((H + products) * S * 2, rel=1e-12)


def test_a_compiler_drops_what_no_backward_pass_reads():
    """The down product is the seventh of a gated layer: saved when eager, never read."""
    model = {**GPT, "gated_mlp": True}
    eager, compiled = (
        context_of(job_of(model=model, software={"compile": c})) for c in (False, True)
    )
    for mode in ("per-operator", "projections"):
        dims = row(eager, recompute=mode)
        fewer = layer_bytes(eager, dims) - layer_bytes(compiled, dims)
        assert fewer == pytest.approx(H * S * 2, rel=1e-12)
    results = (H + 3 * H + H + H + 2 * 4 * H) * S * 2
    assert layer_bytes(compiled, row(compiled)) == pytest.approx(results, rel=1e-12)


def test_pytorch_keeps_the_gathered_inputs_of_split_products():
    """Inputs of qkv and of up: whole on every tensor rank, not an eighth."""
    job = job_of(software={"preset": "fsdp-eager"})
    gathers = context_of(job)
    again = context_of(job_of(software={"preset": "megatron-core"}))
    dims = row(gathers, tp=8, sp=1.0)
    more = layer_bytes(gathers, dims) - layer_bytes(again, dims)
    assert more == pytest.approx(2 * H * S * 2 * 7 / 8, rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "vpp", "chunks"), [("1f1b", 1, 4), ("gpipe", 1, 16), ("interleaved", 2, 11)]
)
def test_the_first_stage_holds_what_is_in_flight(schedule, vpp, chunks):
    """Four stages, 16 microbatches: 4, 16, and 2 (4 - 1) + (2 - 1) 4 + 1 = 11 half stages."""
    context = context_of(job_of(devices=4, batch=16))
    dims = row(context, pp=4, schedule=schedule, vpp=vpp)
    layers_of_a_chunk = 8 / 4 / vpp
    wanted = chunks * layers_of_a_chunk * layer_bytes(context, dims)
    assert named(context, dims)["activations in flight"] == pytest.approx(wanted, rel=1e-12)


def test_memory_by_stage_has_the_fullest_that_is_reported():
    context = context_of(job_of(devices=16, batch=64))
    for mesh in ({"pp": 4}, {"pp": 8, "tp": 2}, {"pp": 4, "vpp": 2, "schedule": "interleaved"}):
        dims = row(context, zero=1, **mesh)
        stages = stage_bytes(context, dims)
        assert len(stages) == mesh["pp"]
        assert max(stages) == taken(memory_of(context, dims).total_bytes)


def test_early_stages_hold_more_activations_and_the_ends_their_tables():
    context = context_of(job_of(devices=8, batch=64))
    dims = row(context, pp=8)
    stages = stage_bytes(context, dims)
    inner = stages[1:-1]
    assert inner == sorted(inner, reverse=True)
    one_layer = layer_bytes(context, dims)
    step = one_layer * (1 + context.stack.family.fragmentation.value)
    assert inner[0] - inner[1] == pytest.approx(step, rel=1e-9)
    tables = 51200 * H + 2048 * H
    states = context.parameter_bytes + context.gradient_bytes + 12.0
    # the first stage holds the embedding and one microbatch more than the second
    assert stages[0] - stages[1] == pytest.approx(tables * states + step, rel=1e-9)


def test_a_pinned_layout_moves_the_memory():
    context = context_of(job_of(devices=4, batch=16))

    def first(*layers):
        staged, code = context.staged(Staging(layers))
        return stage_bytes(staged, row(context, pp=4, staging=code))[0]

    assert first(5, 1, 1, 1) > stage_bytes(context, row(context, pp=4))[0] > first(1, 1, 1, 5)


def loss_bytes(software, **mesh):
    context = context_of(job_of(software=software))
    return named(context, row(context, **mesh))["logits and loss"]


def test_logits_follow_the_vocabulary_its_split_and_the_kind_of_loss():
    family = context_of(job_of(software={"preset": "fsdp-compile"})).stack.family
    for tp, micro_batch in ((1, 1), (4, 2)):
        logits = micro_batch * S * 51200 / tp
        # inputs of the last normalisation, split over the tensor ranks, and of the head, gathered
        # by rank and then in order
        head = micro_batch * SBH * (1 / tp + (2 if tp > 1 else 1)) * 2
        for fused, each in (
            (True, family.logit_bytes_fused),
            (False, family.logit_bytes_split if tp > 1 else family.logit_bytes),
        ):
            software = {"preset": "fsdp-compile", "fused_loss": fused}
            held = loss_bytes(software, tp=tp, micro_batch=micro_batch)
            assert held == pytest.approx(logits * each.value + head, rel=1e-12)
            chunked = loss_bytes({**software, "chunked_loss": True}, tp=tp, micro_batch=micro_batch)
            assert chunked == pytest.approx(logits * each.value / 8 + head, rel=1e-12)


def test_the_recipes_of_a_runtime_tell_its_loss_and_a_job_s_own_word_goes_first():
    eager = {"preset": "fsdp-eager"}
    composer = {**eager, "runtime": "Composer FSDP"}
    plain, fused = loss_bytes(eager), loss_bytes(composer)
    assert fused == loss_bytes({**eager, "fused_loss": True})
    assert plain == loss_bytes({**composer, "fused_loss": False})
    family = context_of(job_of(software=eager)).stack.family
    each = family.logit_bytes.value - family.logit_bytes_fused.value
    assert plain - fused == pytest.approx(S * 51200 * each, rel=1e-12)


def test_gradients_of_gathered_inputs_are_whole_on_every_tensor_rank():
    """Of eight ranks each has an eighth of the widest result, and all of its input's gradient."""
    context = context_of(job_of(devices=8, model={**GPT, "vocab": 512}))
    held = named(context, row(context, tp=8))
    at_work = held["working layer"] + held["logits and loss"]  # the larger of the two counts
    assert held["logits and loss"] < at_work
    assert at_work == pytest.approx((4 * H / 8 + H) * S * 2, rel=1e-12)


@pytest.mark.parametrize(("preset", "gradients"), [("fsdp-compile", 2), ("megatron-core", 1)])
def test_a_gate_run_apart_gives_a_gradient_of_the_input_of_its_own(preset, gradients):
    """Of four ranks each has a fourth of gate and up, and all of their input's gradients."""
    model = {**GPT, "gated_mlp": True, "vocab": 512}
    software = {"preset": preset, "compile": True}
    context = context_of(job_of(devices=8, model=model, software=software))
    held = named(context, row(context, tp=4))
    at_work = held["working layer"] + held["logits and loss"]
    assert held["working layer"] > 0
    assert at_work == pytest.approx((2 * 4 * H / 4 + gradients * H) * S * 2, rel=1e-12)


def test_products_of_low_precision_cast_two_operands():
    """The gradient of the widest result, and the input: a byte each, beside what bf16 holds."""
    at_work = {}
    for precision in ("bf16", "fp8"):
        job = job_of(devices=8, model={**GPT, "vocab": 512}, precision=precision)
        context = context_of(job)
        held = named(context, row(context, tp=8))
        at_work[precision] = held["working layer"] + held["logits and loss"]
    # what the head keeps of its input is smaller by as much in either
    assert at_work["fp8"] - at_work["bf16"] == pytest.approx((4 * H / 8 + H) * S, rel=1e-12)


def test_pipelines_of_pytorch_hold_what_they_receive_and_the_logits_of_all_microbatches():
    """Two stages, 16 microbatches; the first has two in flight, the last one."""
    context = context_of(job_of(devices=4, batch=32, software={"preset": "fsdp-compile"}))
    none = context_of(job_of(devices=4, batch=32))
    dims = row(context, pp=2, zero=3)
    plain = none.stack.family, context.stack.family
    first, last = np.array(stage_bytes(context, dims))
    each = SBH * 2
    logits = S * 51200 * 2
    assert plain[1].keeps_boundaries and not plain[0].keeps_boundaries
    quiet = context.stack.family.model_copy(update={"keeps_boundaries": False})
    stack = context.stack.model_copy(update={"family": quiet})
    without = np.array(stage_bytes(dataclasses.replace(context, stack=stack), dims))
    # gradients of 16 outputs, and two outputs in flight
    assert first - without[0] == pytest.approx((16 + 2) * each, rel=1e-9)
    # 15 inputs that the layers do not hold already, gradients of 14, and logits of 15 others
    assert last - without[1] == pytest.approx((15 + 14) * each + 15 * logits, rel=1e-9)


def test_copies_of_the_optimizer_go_where_the_passes_had_a_larger_tensor():
    """DeepSpeed's flat weights, 2 bytes each, fit into fp32 logits of enough tokens."""
    context = context_of(job_of(devices=8, batch=256, software={"preset": "megatron-deepspeed"}))
    stack = context.stack
    held = {
        n: named(context, row(context, micro_batch=n, zero=1, recompute="full")) for n in (1, 16)
    }
    weights = held[1]["weights"] / 2
    flat = stack.whole_transient_bytes.value * weights
    own = stack.optimizer_transient_bytes.value * weights / 8
    logits = 4 * S * 51200
    assert own > logits and flat > logits
    assert held[1]["optimizer's copies"] == pytest.approx(flat + own, rel=1e-12)
    assert flat < 16 * logits and own < 16 * logits
    assert held[16]["optimizer's copies"] == 0.0


def test_a_pipeline_engine_holds_outputs_of_earlier_microbatches_at_the_loss():
    kept = {}
    for preset in ("megatron-deepspeed", "megatron-2022"):
        software = {"preset": preset, "fused_loss": False}
        kept[preset] = loss_bytes(software, zero=0)
    assert kept["megatron-deepspeed"] - kept["megatron-2022"] == pytest.approx(4 * S * 51200)


def test_fsdp_keeps_the_tables_beside_the_gathered_layers():
    """XLA gathers the embedding or a layer; FSDP's root module stays gathered."""
    held = {}
    for preset in ("fsdp-compile", "maxtext"):
        context = context_of(job_of(devices=8, batch=8, software={"preset": preset}))
        held[preset] = named(context, row(context, zero=3))["gathered layers"]
    layer = sum(op.weights for op in context.layer_blocks[0].phase("forward"))
    tables = 51200 * H + S * H + 51200 * H + H
    if context.spec.model.tied_embeddings:
        tables -= 51200 * H
    apart = max(2 * layer, tables)  # the stream that gathers keeps its buffers
    assert held["fsdp-compile"] == pytest.approx(2 * (3 * layer + tables + apart), rel=1e-3)
    assert held["maxtext"] == pytest.approx(2 * max(1.5 * layer, tables), rel=1e-3)


@pytest.mark.parametrize("what", ["optimizer", "activations", "parameters"])
def test_what_is_offloaded_is_not_on_the_device(what):
    context = context_of(job_of(devices=8))
    on_device, on_host = named(context, row(context)), named(context, row(context, offload=(what,)))
    name = {
        "optimizer": "optimizer states", "activations": "activations in flight",
        "parameters": "weights",
    }[what]  # fmt: skip
    assert on_host[name] < on_device[name]
    assert offloaded(row(context, offload=(what,)).offload, what).all()
    others = {"optimizer", "activations", "parameters"} - {what}
    assert not any(
        offloaded(row(context, offload=(what,)).offload, other).any() for other in others
    )


def test_offloaded_parameters_are_fetched_for_both_passes_of_every_microbatch():
    context = context_of(job_of(devices=8, batch=64))
    dims = row(context, offload=("parameters",))
    fetched = fetched_bytes(context, dims, Fullest(3e9, 0.0, 1e9))
    assert taken(fetched) == 2 * (2 * 3e9 + 2 * 1e9) * 8
    there, here = (
        {t.name: taken(t.time_s) for t in times_of(context, plan).terms}["parameters from the host"]
        for plan in (dims, row(context))
    )
    assert there > here == 0.0


def test_buffers_count_the_axes_in_use():
    context = context_of(job_of(devices=64, batch=64))
    each = context.stack.family.group_bytes.value
    sizes = [
        named(context, row(context, **mesh))["communication buffers"]
        for mesh in ({}, {"tp": 2}, {"tp": 2, "pp": 2}, {"tp": 2, "pp": 2, "cp": 2})
    ]
    assert np.diff(sizes).tolist() == [each] * 3


def test_full_recomputation_of_some_layers_keeps_the_others():
    context = context_of(job_of(devices=8, batch=16))
    none = named(context, row(context))["activations in flight"]
    full = named(context, row(context, recompute="full"))["activations in flight"]
    for layers in range(1, 8):
        some = row(context, recompute="full", recompute_layers=float(layers))
        wanted = (layers * full + (8 - layers) * none) / 8
        kept = named(context, some)["activations in flight"]
        assert kept == pytest.approx(wanted, rel=1e-12), layers
    assert none > full


def test_dualpipe_keeps_two_copies_of_the_weights():
    context = context_of(job_of(devices=4, batch=16))
    plain, dual = (named(context, row(context, pp=4, schedule=s)) for s in ("1f1b", "dualpipe"))
    # the fullest stage may change with the schedule: compare one that both have, an inner one
    assert dual["weights"] >= plain["weights"]
    assert GPT["layers"] == 8
