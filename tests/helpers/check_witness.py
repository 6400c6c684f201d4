"""Plans compiled on fake devices, as many as 512, and what each sends set beside its plan.

Run as a program: prints, by case, every line of the comparison, the bytes of the arguments, and
the seconds that building and compiling took.
"""

import json
import os
import sys
import time

from quick_xla import QUICK

MOST = 512
if __name__ == "__main__":  # before JAX is imported, and not in who imports the cases alone
    os.environ |= QUICK
    os.environ["XLA_FLAGS"] += f" --xla_force_host_platform_device_count={MOST}"
    os.environ["JAX_PLATFORMS"] = "cpu"

MODEL = {
    "name": "toy", "layers": 4, "hidden": 64, "ffn_hidden": 128, "heads": 8, "kv_heads": 8,
    "vocab": 256, "gated_mlp": True, "tied_embeddings": False, "position": "rope",
}  # fmt: skip
MOE = {**MODEL, "moe": {"experts": 8, "top_k": 2, "ffn_hidden": 64, "imbalance": 1.0}}
TIED = {**MODEL, "tied_embeddings": True}
SEQUENCE, BATCH = 32, 32
DEFAULTS = {
    "tp": 1, "sp": False, "cp": 1, "cp_comm": "p2p", "pp": 1, "vpp": 1, "ep": 1, "etp": 1,
    "zero": 0, "micro_batch": 1, "schedule": "gpipe", "recompute": "none", "offload": [],
}  # fmt: skip

CASES = {
    "dp": (MODEL, {}),
    "zero 1": (MODEL, {"zero": 1}),
    "zero 2": (MODEL, {"zero": 2}),
    "zero 3": (MODEL, {"zero": 3}),
    "hsdp": (TIED, {"zero": 3, "zero_group": 4}),
    "tp": (MODEL, {"tp": 4}),
    "tp, sp": (MODEL, {"tp": 2, "sp": True, "zero": 1, "zero_group": 2}),
    "ring": (MODEL, {"cp": 4}),
    "gathered": (MODEL, {"cp": 4, "cp_comm": "all-gather"}),
    "exchanged": (MODEL, {"cp": 4, "cp_comm": "a2a"}),
    "pp": (TIED, {"pp": 4}),
    "ep": (MOE, {"ep": 4}),
    "ep, etp": (MOE, {"tp": 2, "sp": True, "ep": 2, "etp": 2, "zero": 3}),
    "full": (MODEL, {"tp": 2, "cp": 2, "recompute": "full"}),
    "full, gathered": (MODEL, {"cp": 2, "cp_comm": "all-gather", "recompute": "full"}),
    "all": (MOE, {"tp": 2, "sp": True, "cp": 2, "pp": 2, "ep": 2, "zero": 1}),
    "512": (
        {**MOE, "heads": 16, "kv_heads": 16, "moe": {**MOE["moe"], "imbalance": 1.3}},
        {"devices": 512, "tp": 4, "sp": True, "cp": 2, "pp": 4, "ep": 8, "zero": 3,
         "zero_group": 8, "recompute": "full"},
    ),
}  # fmt: skip


def plan_of(model, given):
    """Return a plan as `plan.json` has it."""
    s = {**DEFAULTS, **given}
    devices = s.pop("devices", 8)
    s["dp"] = devices // (s["tp"] * s["cp"] * s["pp"])
    s.setdefault("zero_group", s["dp"] * s["cp"])
    workload = {"kind": "training", "model": model, "sequence_length": SEQUENCE,
                "global_batch": BATCH, "precision": "fp32"}  # fmt: skip
    hardware = {"system": "dgx-h100", "devices": devices}
    return {"job": {"workload": workload, "hardware": hardware}, "strategy": s}


def compiled(name):
    """Compile a case and compare it; everything as plain values."""
    import jax

    from planner.check.counted import counted
    from planner.check.expected import expected
    from planner.check.hlo import communication
    from planner.check.step import build
    from planner.check.witness import argument_parts, compare

    start = time.perf_counter()
    plan = plan_of(*CASES[name])
    step = build(plan, jax.devices()[: plan["job"]["hardware"]["devices"]])
    made = step.lower().compile()
    held = counted(plan, step.axes, step.roles)
    parts = expected(held, step.layout.capacity)
    found = compare(parts, communication(made.as_text()), step.axes)
    return {
        "unknown": found.unknown,
        "equal": found.equal,
        "lines": [
            {
                "axes": line.axes,
                "predicted": line.predicted_bytes,
                "compiled": line.compiled_bytes,
                "counted": sum(part.bytes for part in line.parts if part.counted),
                "over": line.over,
            }
            for line in found.lines
        ],
        "arguments": [
            sum(size for _, size in argument_parts(held)),
            made.memory_analysis().argument_size_in_bytes,
        ],
        "seconds": time.perf_counter() - start,
    }


if __name__ == "__main__":
    print(json.dumps({name: compiled(name) for name in sys.argv[1:] or CASES}))
