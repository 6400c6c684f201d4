"""Steps of small plans on eight fake devices, each against the same step on one device.

Run as a program: prints, by case, the losses, how far they and Adam's moments are from those of
one device, and how many bytes of exchanges the step has by axis.
"""

import json
import os
import sys

from quick_xla import QUICK

if __name__ == "__main__":  # before JAX is imported, and not in who imports the cases alone
    os.environ |= QUICK
    os.environ["XLA_FLAGS"] += " --xla_force_host_platform_device_count=8"
    os.environ["JAX_PLATFORMS"] = "cpu"

MODEL = {
    "name": "toy", "layers": 2, "hidden": 32, "ffn_hidden": 64, "heads": 8, "kv_heads": 4,
    "head_dim": 8, "vocab": 64,
}  # fmt: skip
EXPERTS = {**MODEL, "gated_mlp": False, "tied_embeddings": True, "position": "none",
           "moe": {"experts": 8, "top_k": 2, "ffn_hidden": 32, "imbalance": 1.0,
                   "shared_experts": 1}}  # fmt: skip
SEQUENCE, BATCH, STEPS = 32, 8, 2
DEGREES = ("tp", "cp", "pp", "dp")

CASES = {
    "zero 0": (MODEL, {"dp": 4, "micro_batch": 1}),
    "zero 2, groups": (MODEL, {"dp": 4, "zero": 2, "zero_group": 2, "micro_batch": 1}),
    "zero 3, groups, full": (MODEL, {"dp": 4, "zero": 3, "zero_group": 2, "micro_batch": 1,
                                     "recompute": "full"}),
    "tp, ring": (MODEL, {"tp": 2, "cp": 4, "zero": 3, "micro_batch": 4}),
    "sp": (MODEL, {"tp": 4, "sp": True, "dp": 2, "zero": 1, "recompute": "projections"}),
    "pp, gathered": (MODEL, {"pp": 2, "cp": 2, "cp_comm": "all-gather", "dp": 2, "zero": 3,
                             "micro_batch": 1}),
    "ep, etp": (EXPERTS, {"dp": 4, "tp": 2, "sp": True, "ep": 2, "etp": 2, "zero": 3}),
    "ep, pp, exchanged": (EXPERTS, {"dp": 2, "pp": 2, "cp": 2, "cp_comm": "a2a", "ep": 4,
                                    "micro_batch": 2}),
}  # fmt: skip
MORE = {
    "dp": (MODEL, {"dp": 8}),
    "zero 1, groups": (MODEL, {"dp": 8, "zero": 1, "zero_group": 4}),
    "zero 3": (MODEL, {"dp": 8, "zero": 3}),
    "tp": (MODEL, {"tp": 4, "dp": 2}),
    "ring": (MODEL, {"cp": 4, "dp": 2}),
    "exchanged": (MODEL, {"cp": 4, "cp_comm": "a2a", "dp": 2, "zero": 3}),
    "pp": (MODEL, {"pp": 2, "dp": 2, "micro_batch": 1}),
    "all": (MODEL, {"pp": 2, "tp": 2, "cp": 2, "sp": True, "micro_batch": 4, "zero": 1}),
    "ep": (EXPERTS, {"dp": 8, "ep": 4, "zero": 1}),
}  # fmt: skip


def devices_of(strategy):
    """Count the devices of a strategy."""
    count = 1
    for axis in DEGREES:
        count *= strategy.get(axis, 1)
    return count


def plan_of(model, strategy):
    """Return a plan as `plan.json` has it."""
    dp = strategy.get("dp", 1)
    whole = {"tp": 1, "cp": 1, "pp": 1, "dp": 1, "zero": 0, "micro_batch": BATCH // dp,
             "schedule": "gpipe", **strategy}  # fmt: skip
    workload = {"kind": "training", "model": model, "sequence_length": SEQUENCE,
                "global_batch": BATCH, "precision": "fp32"}  # fmt: skip
    hardware = {"system": "cpu-host", "devices": devices_of(strategy)}
    job = {"name": "toy", "workload": workload, "hardware": hardware,
           "software": {"preset": "jax-explicit"}}  # fmt: skip
    return {"job": job, "strategy": whole}


def main():
    """Run CASES, or with `more` MORE."""
    import jax
    import numpy as np

    from planner.check.exchanges import exchanges_of, sent_bytes
    from planner.check.step import build

    def run(model, strategy):
        step = build(plan_of(model, strategy), jax.devices()[: devices_of(strategy)])
        state, batch = step.place()
        losses = []
        for _ in range(STEPS):
            state, loss = step.run(state, batch)
            losses.append(float(loss))
        return step, losses, {n: np.asarray(x) for n, x in state.first.items()}

    def apart(name, one, other):
        """Largest difference over the largest value; of the tables, of the stage that uses them."""
        if name == "embedding":
            one, other = one[:1], other[:1]
        if name in ("head", "final_norm"):
            one, other = one[-1:], other[-1:]
        return float(np.abs(one - other).max() / np.abs(other).max())

    alone = {}
    found = {}
    for name, (model, strategy) in (MORE if sys.argv[1:] == ["more"] else CASES).items():
        key = json.dumps(model)
        if key not in alone:
            alone[key] = run(model, {})
        _, losses, moments = alone[key]
        step, own, first = run(model, strategy)
        found[name] = {
            "losses": own,
            "loss": max(abs(a / b - 1.0) for a, b in zip(own, losses, strict=True)),
            "moments": {n: apart(n, x, moments[n]) for n, x in first.items()},
            "sent": sent_bytes(exchanges_of(step), step.axes),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
