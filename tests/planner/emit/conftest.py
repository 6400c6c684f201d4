"""Plans to emit, as `plan.json` holds them: what an emitter reads, and nothing else."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

Plan = dict[str, Any]

LLAMA_70B = {
    "name": "llama-3.1-70b",
    "layers": 80,
    "hidden": 8192,
    "ffn_hidden": 28672,
    "heads": 64,
    "kv_heads": 8,
    "head_dim": 128,
    "vocab": 128256,
}
LLAMA_8B = {
    **LLAMA_70B,
    "name": "llama-3.1-8b",
    "layers": 32,
    "hidden": 4096,
    "ffn_hidden": 14336,
    "heads": 32,
}
DEEPSEEK_V3 = {
    "name": "deepseek-v3",
    "layers": 61,
    "hidden": 7168,
    "ffn_hidden": 18432,
    "heads": 128,
    "kv_heads": 128,
    "vocab": 129280,
    "attention": {
        "kind": "mla",
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
    },
    "moe": {
        "experts": 256,
        "top_k": 8,
        "ffn_hidden": 2048,
        "shared_experts": 1,
        "first_dense_layers": 3,
        "groups": 8,
        "top_k_groups": 4,
        "score_bias": True,
    },
    "mtp_layers": 1,
}
QWEN3_30B = {
    "name": "qwen3-30b-a3b",
    "layers": 48,
    "hidden": 2048,
    "ffn_hidden": 6144,
    "heads": 32,
    "kv_heads": 4,
    "head_dim": 128,
    "vocab": 151936,
    "qk_norm": True,
    "moe": {"experts": 128, "top_k": 8, "ffn_hidden": 768},
}
GPT3 = {
    "name": "gpt3-1.3b",
    "layers": 24,
    "hidden": 2048,
    "ffn_hidden": 8192,
    "heads": 16,
    "vocab": 51200,
    "gated_mlp": False,
    "tied_embeddings": True,
    "position": "learned",
    "max_positions": 2048,
    "linear_bias": True,
    "norm_bias": True,
}


def make_plan(
    name: str, model: Plan, strategy: Plan, *, devices: int, system: str = "dgx-h100", **work: Any
) -> Plan:
    """A plan as `sixfold plan` writes it, without the parts that no emitter reads."""
    software = work.pop("software", {"preset": "megatron-core"})
    full = {
        "tp": 1,
        "sp": False,
        "cp": 1,
        "pp": 1,
        "vpp": 1,
        "ep": 1,
        "etp": 1,
        "zero": 1,
        "micro_batch": 1,
        "schedule": "1f1b",
        "cp_comm": "p2p",
        "recompute": "none",
        "offload": [],
        **strategy,
    }
    workload = {
        "kind": "training",
        "model": model,
        "sequence_length": 8192,
        "global_batch": 1024,
        "precision": "bf16",
        "optimizer": "adam",
        "task": "pretrain",
        **work,
    }
    full["dp"] = devices // (full["tp"] * full["cp"] * full["pp"])
    full.setdefault("zero_group", full["dp"] * full["cp"])
    full["microbatches"] = workload["global_batch"] // (full["dp"] * full["micro_batch"])
    return {
        "schema_version": 1,
        "job": {
            "name": name,
            "workload": workload,
            "hardware": {"system": system, "devices": devices},
            "software": software,
        },
        "strategy": full,
        "prediction": {"step_time_s": 10.0, "checkpoint_interval_s": 1800.0},
    }


PLANS = {
    "dense": make_plan(
        "llama3-70b-1024",
        LLAMA_70B,
        {"tp": 8, "sp": True, "pp": 4, "vpp": 5, "schedule": "interleaved"},
        devices=1024,
        tokens=15.0e12,
    ),
    "moe": make_plan(
        "deepseek-v3-2048",
        DEEPSEEK_V3,
        {
            "pp": 16,
            "ep": 64,
            "layers_per_stage": [3] + [4] * 14 + [2],
            "recompute": "per-operator",
        },
        devices=2048,
        sequence_length=4096,
        global_batch=15360,
        precision="fp8",
    ),
    "fsdp": make_plan(
        "llama3-8b-64",
        LLAMA_8B,
        {"zero": 3, "zero_group": 8, "recompute": "full"},
        devices=64,
        global_batch=256,
        software={"preset": "fsdp-compile"},
    ),
    "case": make_plan(
        "case-512",
        QWEN3_30B,
        {"tp": 2, "sp": True, "cp": 2, "pp": 4, "zero": 3, "zero_group": 16, "ep": 8},
        devices=512,
    ),
    "plain": make_plan(
        "gpt3-8",
        GPT3,
        {"tp": 2, "pp": 2, "zero": 0, "micro_batch": 4, "recompute": {"full": 6}},
        devices=8,
        sequence_length=2048,
        global_batch=64,
        precision="fp16",
        software={"preset": "megatron-2022"},
        system="dgx-a100-80gb",
    ),
}


@pytest.fixture
def plans() -> dict[str, Plan]:
    """Plans by what they stand for: dense, moe, fsdp, case (the contract's), plain."""
    return copy.deepcopy(PLANS)


@pytest.fixture
def plan(request: pytest.FixtureRequest) -> Plan:
    """One of the plans, by indirect parametrisation with its name."""
    return copy.deepcopy(PLANS[request.param])


@pytest.fixture
def planned() -> Callable[..., Plan]:
    """`make_plan`, for plans of a test's own."""
    return make_plan
