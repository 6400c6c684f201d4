"""What every shipped example gave when its answer was last looked at: goldens catch change.

A golden holds the strategy, the figures, the terms and the search's counts, to six digits. A
change that should not move numbers leaves them alone; one that should explains each line of the
diff. `SIXFOLD_UPDATE_GOLDEN=1 python -m pytest tests/test_golden.py` writes them anew.
"""

import json
import os
from pathlib import Path

import pytest
from plans import examples, names, planned

GOLDEN = Path(__file__).parent / "golden"
UPDATE = os.environ.get("SIXFOLD_UPDATE_GOLDEN") == "1"
FIGURES = (
    "step_time_s", "interval_s", "tokens_per_s_per_device", "model_flop_per_s_per_device", "mfu",
    "memory_bytes", "memory_limit_bytes", "goodput", "checkpoint_interval_s", "time_to_train_s",
    "finish_s", "cost_usd", "energy_j",
)  # fmt: skip


def rounded(value):
    """Keep six significant digits of every number."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return value


def digest(plan):
    """Return what a golden holds of a plan."""
    prediction, search, hardware = plan["prediction"], plan["search"], plan["job"]["hardware"]
    return rounded(
        {
            "hardware": {k: hardware[k] for k in ("system", "devices", "pools") if k in hardware},
            "strategy": plan["strategy"],
            "prediction": {name: prediction[name] for name in FIGURES},
            "time": {
                t["name"]: [t["exposed_s"], t["hidden_s"]]
                for t in prediction["time"]
                if t["exposed_s"] or t["hidden_s"]
            },
            "memory": {m["name"]: m["bytes"] for m in prediction["memory"] if m["bytes"]},
            "scaling": {k: plan["scaling"][k] for k in ("p_star", "comm_dominated_at")},
            "search": {k: search[k] for k in ("candidates", "priced", "status", "gap")},
            "rules": search["rules"],
            "runner_up": [a["strategy"] for a in plan["alternatives"][:1]],
            "frontier": [
                [p["system"], p["devices"], p["step_time_s"], p["cost_usd"]]
                for p in plan["frontier"]
            ],
        }
    )


@pytest.mark.parametrize("name", examples())
def test_an_example_gives_what_it_gave(name):
    path = GOLDEN / f"{name}.json"
    made = digest(planned(name))
    if UPDATE:
        path.write_text(json.dumps(made, indent=1) + "\n", "utf-8")
    assert path.exists(), "no golden yet: run with SIXFOLD_UPDATE_GOLDEN=1 and review it"
    assert made == json.loads(path.read_text("utf-8"))


def test_every_golden_is_of_an_example():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(names())


def test_updating_is_never_left_on():
    assert not (UPDATE and os.environ.get("CI")), "goldens are reviewed, not made, in CI"
