"""What experts published for a model and a machine: inside the searched space, fits, never better.

Each configuration is pinned in the example that comes nearest to it, with what its source states;
what the source leaves open (sharding groups, recomputation, virtual stages) stays free.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest
from plans import load_example, pinned, planned

from hardware_profiles.load import load
from planner.cluster.choices import clusters
from planner.dims import CODES
from planner.workloads import training

GUIDE = "Megatron-Core, user guide, Parallelism Selection Guide"


@dataclass(frozen=True)
class Expert:
    """One published configuration: `source` is a run of the measurements or a publication."""

    example: str
    source: str
    strategy: dict = field(hash=False)


EXPERTS = (
    Expert("gpt3-175b-1024-a100", "seqsel-tab5-gpt3-175B-seqsel (64 A100); scores are never kept by"
           " fused attention, so its selective recomputation is none here",
           {"tp": 8, "cp": 1, "pp": 8, "vpp": 3, "schedule": "interleaved", "micro_batch": 1,
            "recompute": "none"}),
    Expert("gpt3-175b-1024-a100", "nemo24-004 (512 H100)",
           {"tp": 4, "cp": 1, "pp": 8, "vpp": 6, "schedule": "interleaved", "micro_batch": 2,
            "zero": 1}),
    Expert("gpt-1t-3072-a100", "seqsel-tab5-megatron-1T-seqsel (512 A100)",
           {"tp": 8, "cp": 1, "pp": 64, "schedule": "1f1b", "micro_batch": 1,
            "recompute": "none"}),
    Expert("llama3-8b-8-h100", "titan-8b-8gpu-compile-bf16 (its H100 has 95 GiB)",
           {"tp": 1, "cp": 1, "pp": 1, "zero": 3, "micro_batch": 2, "recompute": "per-operator"}),
    Expert("llama3-70b-64-h100", "nemo24-012",
           {"tp": 4, "cp": 2, "pp": 4, "vpp": 5, "schedule": "interleaved", "micro_batch": 1,
            "zero": 1}),
    Expert("llama3-70b-64-h100", "mbridge-257",
           {"tp": 4, "cp": 1, "pp": 8, "vpp": 5, "schedule": "interleaved", "micro_batch": 1,
            "zero": 1}),
    Expert("llama3-70b-1024-h100", "nemo24-012 (64 H100)",
           {"tp": 4, "cp": 2, "pp": 4, "vpp": 5, "schedule": "interleaved", "micro_batch": 1,
            "zero": 1}),
    Expert("llama3-70b-1024-h100", "gpur-a3u-nemo-70b-fp8 (256 H200)",
           {"tp": 2, "pp": 4, "vpp": 20, "schedule": "interleaved", "micro_batch": 1, "zero": 1}),
    Expert("llama3-405b-16384-h100", "titan-405b-Interleaved1F1B (512 H100); ZeRO as the stack has",
           {"tp": 8, "cp": 1, "pp": 8, "schedule": "interleaved", "recompute": "full"}),
    Expert("llama3-405b-16384-h100", f"{GUIDE} (1,024 GPUs)", {"tp": 8, "cp": 2, "pp": 8}),
    Expert("llama3-405b-16384-h100", "Llama 3 Herd, table 4: 16,384 H100, degrees alone",
           {"tp": 8, "cp": 1, "pp": 16, "dp": 128}),
    Expert("mixtral-8x22b-256-h100", f"{GUIDE} (256 GPUs)", {"tp": 4, "cp": 1, "pp": 4, "ep": 8}),
    Expert("deepseek-v3-2048-h100", "DeepSeek-V3 technical report, section 3.2: 2,048 H800",
           {"tp": 1, "cp": 1, "pp": 16, "ep": 64, "etp": 1, "zero": 1, "micro_batch": 1}),
    Expert("deepseek-v3-2048-h100", f"{GUIDE} (1,024 GPUs)",
           {"tp": 2, "cp": 1, "pp": 16, "ep": 64}),
    Expert("qwen3-235b-256-b200", "Megatron-Bridge performance summary 25.11 (64 B200)",
           {"tp": 1, "cp": 1, "pp": 8, "vpp": 2, "ep": 8, "micro_batch": 1}),
    Expert("qwen3-235b-256-b200", "mbridge-100 (Qwen3 30B on 8 B200), experts over one node",
           {"tp": 1, "cp": 1, "ep": 8, "etp": 1, "zero": 1}),
    Expert("llama2-70b-256-v5p", "maxtext-v5p-128b-512 (128 B on 256 v5p)",
           {"tp": 8, "cp": 1, "pp": 1, "zero": 3, "micro_batch": 8, "recompute": "projections"}),
    Expert("llama2-70b-256-v5p", "maxtext-v5p-64b-128 (64 B on 64 v5p)",
           {"tp": 4, "cp": 1, "pp": 1, "zero": 3, "recompute": "projections"}),
    Expert("llama-7b-8-v100", "bsv100-009 (1.3 B on 8 V100)",
           {"tp": 1, "cp": 1, "pp": 4, "micro_batch": 1, "recompute": "full"}),
)  # fmt: skip


@cache
def space(example):
    """Candidates of an example's free job."""
    job = load_example(example)
    (cluster,) = clusters(job.hardware)
    return training.candidates(job, training.make(job, cluster))[0]


def label(expert):
    return f"{expert.example}: {expert.source}"


every_expert = pytest.mark.parametrize(
    "expert",
    [pytest.param(e, id=label(e), marks=pytest.mark.xdist_group(e.example)) for e in EXPERTS],
)


@every_expert
def test_it_is_in_the_searched_space(expert):
    dims = space(expert.example)
    rows = np.ones(len(dims), bool)
    for key, value in expert.strategy.items():
        code = CODES[key].index(value) if key in CODES else value
        rows &= getattr(dims, key) == code
    assert rows.any()


@every_expert
def test_it_fits_and_the_recommendation_is_as_fast(expert):
    plan = planned(expert.example)
    theirs = pinned(plan, expert.strategy)["prediction"]
    assert theirs["fits"] is True
    assert theirs["memory_bytes"] <= theirs["memory_limit_bytes"]
    assert plan["prediction"]["step_time_s"] <= theirs["step_time_s"]


@pytest.mark.xdist_group("llama3-405b-16384-h100")
def test_llama_3_ran_without_recomputation_and_is_priced_at_the_limit():
    """Llama 3 Herd, section 3.3: no recomputation at 8K, states sharded over all 128 replicas.

    Ours holds 1.4% more than the limit, which keeps a reserve of 6%: it fits the card, as it did.
    Theirs also freed inputs and outputs of stages early, which ours does not count. A known
    difference, kept in sight: it may shrink, and this test then asks for its removal.
    """
    plan = planned("llama3-405b-16384-h100")
    strategy = {"tp": 8, "cp": 1, "pp": 16, "dp": 128, "micro_batch": 1, "zero": 1,
                "zero_group": 128, "schedule": "1f1b", "recompute": "none",
                "offload": []}  # fmt: skip
    theirs = pinned(plan, strategy)["prediction"]
    over = theirs["memory_bytes"] / theirs["memory_limit_bytes"]
    assert 1.0 < over < 1.02
    assert theirs["memory_bytes"] < load("dgx-h100").memory_bytes.value


@pytest.mark.parametrize(
    "issue",
    ["gpt3-175b-1024-a100", "llama3-8b-8-h100", "llama3-70b-64-h100", "llama3-70b-1024-h100",
     "llama3-405b-16384-h100", "mixtral-8x22b-256-h100", "deepseek-v3-2048-h100",
     "qwen3-235b-256-b200", "llama2-70b-256-v5p", "llama-7b-8-v100", "gpt-1t-3072-a100"],
)  # fmt: skip
def test_every_model_that_ships_with_a_published_configuration_has_one_here(issue):
    assert issue in {expert.example for expert in EXPERTS}
