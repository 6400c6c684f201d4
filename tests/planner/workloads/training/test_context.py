"""A job on a cluster with its defaults filled in: rates, bytes, switches, documents."""

import math

import numpy as np
import pytest
from rows import context_of, job_of

from hardware_profiles.load import load
from planner.workloads.training.context import documents_of


def test_bytes_of_a_number_follow_the_precision():
    bf16 = context_of(job_of())
    assert (bf16.activation_bytes, bf16.product_bytes, bf16.parameter_bytes) == (2.0, 2.0, 2.0)
    fp8 = context_of(job_of(precision="fp8"))
    assert (fp8.activation_bytes, fp8.product_bytes) == (2.0, 1.0)
    fp32 = context_of(job_of(precision="fp32"))
    assert (fp32.activation_bytes, fp32.product_bytes, fp32.master_bytes) == (4.0, 4.0, 0.0)


def test_states_follow_the_optimizer_and_the_stack():
    adam = context_of(job_of())
    assert adam.master_bytes + adam.moment_bytes == 12.0  # K of the ZeRO paper
    sgd = context_of(job_of(workload={"optimizer": "sgd"}))
    assert sgd.moment_bytes == 4.0
    fsdp = context_of(job_of(preset="fsdp-compile"))
    # the fp32 parameters are the master copy: 4 + 8 in all, none twice
    assert (fsdp.parameter_bytes, fsdp.master_bytes, fsdp.moment_bytes) == (4.0, 0.0, 8.0)


def test_rates_are_the_profile_s_figures():
    profile = load("dgx-h100")
    rates = context_of(job_of()).rates
    kernel = profile.kernels.matmul["bf16"]
    peak = profile.peak_flop_per_s["bf16"].value
    training = profile.kernels.training
    alone = peak * kernel.efficiency.value
    assert rates.matmul.flop_per_s == pytest.approx(alone * training.matmul["bf16"].value)
    bandwidth = profile.memory_bytes_per_s.value * profile.kernels.memory.efficiency.value
    assert rates.memory_bytes_per_s == pytest.approx(bandwidth * training.memory.value)
    assert rates.matmul.fixed_s == kernel.fixed_s.value
    given = context_of(job_of(software={"gemm_efficiency": 0.5})).rates
    assert given.matmul.flop_per_s == 0.5 * peak
    fp8 = context_of(job_of(precision="fp8")).rates
    assert fp8.matmul.flop_per_s > fp8.bf16_matmul.flop_per_s == rates.matmul.flop_per_s


@pytest.mark.parametrize(("kernels", "figure"), [("flash-2", "flash_2"), ("flash-1", "flash_1")])
def test_attention_of_an_older_generation_reaches_its_share_of_the_chip_s(kernels, figure):
    own, older = (
        context_of(job_of(software={"attention_kernels": name})).rates.attention_backward
        for name in ("chip", kernels)
    )
    share = getattr(load("dgx-h100").kernels.training, figure).value
    assert older.flop_per_s == pytest.approx(share * own.flop_per_s)
    assert 0.0 < share < 1.0


def test_the_job_s_word_on_attention_kernels_goes_before_the_runtime_s_and_the_preset_s():
    preset = context_of(job_of(preset="fsdp-eager"))
    assert preset.stack.attention_kernels == "flash-2"
    older = {"runtime": "Composer FSDP"}
    runtime = context_of(job_of(preset="fsdp-eager", software=older))
    assert runtime.stack.attention_kernels == "flash-1"
    said = {**older, "attention_kernels": "chip"}
    own = context_of(job_of(preset="fsdp-eager", software=said))
    rates = [one.rates.attention_forward.flop_per_s for one in (runtime, preset, own)]
    assert rates == sorted(rates) and len(set(rates)) == 3


def test_a_switch_of_the_job_goes_before_the_recipes_of_its_runtime():
    work = {"model": "qwen3-30b-a3b", "precision": "mxfp8"}
    release = {"runtime": "Megatron-Bridge 26.06"}
    here = context_of(job_of(system="gb200-nvl72", software=release, **work)).switches
    assert here.cuda_graphs and here.fused_experts and here.overlap_ep
    own = {**release, "cuda_graphs": False}
    said = context_of(job_of(system="gb200-nvl72", software=own, **work)).switches
    assert said == here.model_copy(update={"cuda_graphs": False})


def test_a_switch_of_the_job_beats_the_preset_s():
    on = context_of(job_of(software={"overlap_tp": True}))
    off = context_of(job_of(software={"overlap_tp": False}))
    assert on.overlap_frac("tp") == on.stack.family.overlap.tp.value > 0
    assert off.overlap_frac("tp") == 0.0


def test_the_reserve_is_taken_from_the_memory():
    context = context_of(
        job_of(hardware={"set": {"memory_bytes": 50e9}}, constraints={"memory_reserve": 0.1})
    )
    assert context.memory_limit_bytes == pytest.approx(45e9)


def test_experts_are_uneven_unless_the_job_says_how_even():
    moe = {"experts": 8, "top_k": 2, "ffn_hidden": 512}
    model = {"name": "m", "layers": 2, "hidden": 512, "ffn_hidden": 512, "heads": 8, "vocab": 1000}
    stated = context_of(job_of(model={**model, "moe": {**moe, "imbalance": 1.0}}))
    assert stated.imbalance == 1.0
    assert context_of(job_of(model={**model, "moe": moe})).imbalance > 1.0
    assert context_of(job_of(model=model)).imbalance == 1.0


def test_packed_documents_weigh_by_their_tokens():
    """E[L^2]/E[L] of a lognormal with the given mean and 99th percentile, by sampling."""
    job = job_of(
        sequence=65536, workload={"sequence_lengths": {"mean": 900, "p99": 4000}, "packing": True}
    )
    documents = documents_of(job.workload)
    sigma = 2.3263 - math.sqrt(2.3263**2 - 2 * math.log(4000 / 900))
    drawn = np.random.default_rng(1).lognormal(math.log(900) - sigma**2 / 2, sigma, 2_000_000)
    assert np.quantile(drawn, 0.99) == pytest.approx(4000, rel=0.01)
    assert documents.mean_length == 900
    assert documents.weighted_length == pytest.approx((drawn**2).mean() / drawn.mean(), rel=0.02)


def test_padded_documents_cost_the_whole_sequence():
    job = job_of(workload={"sequence_lengths": {"mean": 900, "p99": 1800}, "packing": False})
    assert documents_of(job.workload).pairs(causal=True, window=None) == (2048 + 1) / 2
    packed = job_of(workload={"sequence_lengths": {"mean": 900, "p99": 1800}, "packing": True})
    assert documents_of(packed.workload).pairs(causal=True, window=None) < (2048 + 1) / 2
