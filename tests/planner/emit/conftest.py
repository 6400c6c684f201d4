"""Plans to emit, as `plan.json` holds them: what an emitter reads, and nothing else."""

import copy
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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
    """Return a plan as `sixfold plan` writes it, without the parts that no emitter reads."""
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


HOSTILE = (
    "'; touch canary; '",
    '"; touch canary; "',
    "$(touch canary)",
    "`touch canary`",
    "${IFS:+$(touch canary)}",
    "name\ntouch canary\n",
    "name\r\ntouch canary #",
    "{{ 7 * 7 }}{% raw %}",
    '"""\nimport os; os.mkdir("canary")\n"""',
    "\\\n\\",
    "%s %(x)s {0}",
    "-rf --lr 9",
    "\x00\x1b[31m\u2028\u202e",
    "名前 é ~ * ? !",
)


@pytest.fixture
def hostile() -> tuple[str, ...]:
    """Texts that would do something if they were not quoted."""
    return HOSTILE


def hostile_plan(plan: Plan, text: str) -> Plan:
    """Return the plan with `text` wherever a job holds free text."""
    bad = copy.deepcopy(plan)
    bad["job"]["name"] = text
    bad["job"]["workload"]["model"]["name"] = text
    bad["job"]["hardware"]["system"] = text
    bad["job"]["software"]["runtime"] = text
    bad["strategy"]["placement"] = {"ep": text, "tp": text}
    return bad


@pytest.fixture
def spoil() -> Callable[[Plan, str], Plan]:
    """`hostile_plan`."""
    return hostile_plan


@dataclass(frozen=True)
class Launched:
    """What a launch script gave to its launcher."""

    launcher: list[str]
    args: list[str]
    environment: dict[str, str]
    output: str

    def value(self, flag: str) -> str:
        """Return the value behind a flag of the launcher."""
        return self.launcher[self.launcher.index(flag) + 1]


STUB = """#!/bin/sh
printf '%s\\0' "$@" > "$CAUGHT.args"
env -0 > "$CAUGHT.env"
"""


@pytest.fixture
def launch(tmp_path: Path) -> Callable[..., Launched]:
    """Run a script with a launcher that only writes down what it was given."""
    stub = tmp_path / "bin" / "torchrun"
    stub.parent.mkdir()
    stub.write_text(STUB)
    stub.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()

    def run(script: str, *extra: str, split: str, **environment: str) -> Launched:
        path = work / "script.sh"
        path.write_text(script, encoding="utf-8")
        caught = tmp_path / "caught"
        given = {
            "PATH": f"{stub.parent}{os.pathsep}{os.environ['PATH']}",
            "CAUGHT": str(caught),
            "MASTER_ADDR": "host0",
            **environment,
        }
        done = subprocess.run(
            ["bash", str(path), *extra],
            cwd=work,
            env=given,
            capture_output=True,
            text=True,
            check=True,
        )
        assert sorted(os.listdir(work)) == ["script.sh"], "the script left something behind"
        words = (tmp_path / "caught.args").read_text(encoding="utf-8").split("\0")[:-1]
        at = next(i for i, word in enumerate(words) if word.endswith(split))
        lines = (tmp_path / "caught.env").read_text(encoding="utf-8").split("\0")
        env = dict(line.split("=", 1) for line in lines if "=" in line)
        return Launched(words[:at], words[at + 1 :], env, done.stdout)

    return run
