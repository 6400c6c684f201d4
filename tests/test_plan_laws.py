"""Laws over best plans, through the door: text -> spec.load -> recommend.plan."""

import json
import random
import subprocess
import sys

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from jobs import jobs, text_of
from plans import EXAMPLES, exact_sum, load_example, names, pinned, stable

from hardware_profiles.load import load
from hardware_profiles.stack import load_stack
from planner import recommend, spec
from planner.errors import NoFeasiblePlan, PlannerError

INFINITE = float("inf")
PHASES = (Phase.explicit, Phase.generate)
"""A plan takes a tenth of a second: what fails is shown as drawn, not made smaller first."""


def plan(raw):
    return recommend.plan(spec.load(text_of(raw)))


def best(raw):
    """Objective of the best plan, infinite where there is none."""
    found = recommend.best_of(recommend.search(spec.load(text_of(raw))))
    return INFINITE if found is None else found.objective


def figures(system):
    profile = load(system)
    return {
        "memory_bytes": profile.memory_bytes.value,
        "memory_bytes_per_s": profile.memory_bytes_per_s.value,
        "peak_flop_per_s": profile.peak_flop_per_s["bf16"].value,
        "intra_node_bytes_per_s": profile.network[0].bytes_per_s.value,
        "inter_node_bytes_per_s": profile.network[1].bytes_per_s.value,
    }


@settings(max_examples=25, phases=PHASES)
@given(
    jobs(),
    st.sampled_from(("memory_bytes", "memory_bytes_per_s", "peak_flop_per_s",
                     "intra_node_bytes_per_s", "inter_node_bytes_per_s")),
    st.sampled_from((1.03, 1.5, 8.0)),
)  # fmt: skip
def test_a_better_machine_is_never_slower(raw, figure, factor):
    set_ = raw["hardware"].get("set", {})
    value = set_.get(figure) or figures(raw["hardware"]["system"])[figure]
    better = {**raw, "hardware": {**raw["hardware"], "set": {**set_, figure: value * factor}}}
    assert best(better) <= best(raw) * (1 + 1e-12)


SLOW = {
    "workload": {
        "kind": "training", "sequence_length": 4096, "global_batch": 256,
        "model": {"name": "s", "layers": 24, "hidden": 2048, "ffn_hidden": 8192, "heads": 16,
                  "kv_heads": 16, "vocab": 32000, "gated_mlp": True},
    },
    "hardware": {"system": "dgx-h100", "devices": 32},
    "software": {"preset": "fsdp-compile"},
    "strategy": {"tp": 1, "pp": 1, "cp": 1, "zero": 3, "zero_group": 32, "micro_batch": 1,
                 "recompute": "none"},
}  # fmt: skip


@pytest.mark.parametrize("bytes_per_s", [7e9, 2e10, 3.66e10, 1e11])
def test_a_faster_chip_never_slows_a_plan_that_waits_for_its_network(bytes_per_s):
    """Sharded parameters over a slow network: compute, gathers and gradients share the time."""
    steps = []
    for peak in (2e14, 3e14, 4e14, 5.59e14, 7.15e14, 1e15, 2e15, 4e15):
        set_ = {"inter_node_bytes_per_s": bytes_per_s, "peak_flop_per_s": peak}
        steps.append(best({**SLOW, "hardware": {**SLOW["hardware"], "set": set_}}))
    assert all(b <= a * (1 + 1e-12) for a, b in zip(steps, steps[1:], strict=False))
    assert steps[-1] < steps[0] or bytes_per_s < 5e10  # below, all compute hides


PINS = {
    "tp": (1, 2, 4, 8), "cp": (1, 2, 4), "pp": (1, 2, 3, 4), "vpp": (1, 2, 3), "dp": (2, 4, 8),
    "ep": (1, 2, 4), "etp": (1, 2), "zero": (0, 1, 2, 3), "zero_group": (2, 4, 8),
    "micro_batch": (1, 2, 3, 4, 6), "cp_comm": ("p2p", "all-gather", "a2a"),
    "schedule": ("1f1b", "gpipe", "interleaved"), "sp": (True, False),
    "recompute": ("none", "selective", "full", {"full": 2}), "offload": ([], ["optimizer"]),
}  # fmt: skip


@settings(max_examples=25, phases=PHASES)
@given(jobs(), st.data())
def test_a_pinned_plan_never_beats_the_free_one(raw, data):
    keys = data.draw(st.lists(st.sampled_from(sorted(PINS)), min_size=1, max_size=2, unique=True))
    pins = {key: data.draw(st.sampled_from(PINS[key])) for key in keys}
    # what the stack cannot build is not in the free plan's reach
    supports = load_stack(raw["software"]["preset"]).supports
    assume("zero" not in pins or pins["zero"] in supports.pipeline_zero)
    try:
        held = best({**raw, "strategy": pins})
    except PlannerError:
        return
    assert held >= best(raw) * (1 - 1e-12), pins


def shuffled(value, order):
    """Return the same mapping with the keys of every mapping in another order."""
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    if isinstance(value, list):
        return [shuffled(inner, order) for inner in value]
    return value


@settings(max_examples=10, phases=PHASES)
@given(jobs(), st.integers(0, 10))
def test_the_order_of_keys_changes_nothing(raw, seed):
    inner, outer = (level.name for level in load(raw["hardware"]["system"]).network)
    raw = {**raw, "strategy": {"placement": {"tp": inner, "cp": outer},
                               "collectives": {"tp": "ring", "dp": "tree"}}}  # fmt: skip
    mixed = shuffled(raw, random.Random(seed))
    try:
        first = plan(raw)
    except NoFeasiblePlan as error:
        with pytest.raises(NoFeasiblePlan) as again:
            plan(mixed)
        assert str(again.value) == str(error)
        return
    assert stable(plan(mixed)) == stable(first)


@settings(max_examples=12, phases=PHASES)
@given(jobs())
def test_a_plan_agrees_with_itself(raw):
    """Sums to the last digit, its own prediction to the byte, its own point of the scaling."""
    try:
        made = plan(raw)
    except NoFeasiblePlan:
        return
    prediction = made["prediction"]
    assert exact_sum(prediction["time"], "exposed_s") == prediction["step_time_s"]
    assert exact_sum(prediction["memory"], "bytes") == prediction["memory_bytes"]
    assert json.dumps(pinned(made, made["strategy"])["prediction"]) == json.dumps(prediction)
    here = [
        p["step_time_s"] for p in made["scaling"]["points"]
        if p["devices"] == raw["hardware"]["devices"]
    ]  # fmt: skip
    assert here == [prediction["step_time_s"]]
    assert all(
        a["prediction"]["step_time_s"] >= prediction["step_time_s"] for a in made["alternatives"]
    )
    assert stable(plan(raw)) == stable(made)


@pytest.mark.parametrize("name", ["llama3-8b-8-h100", "mixtral-8x22b-256-h100"])
def test_the_same_input_gives_the_same_bytes_in_another_process(name):
    code = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from planner import recommend, spec\n"
        "plan = recommend.plan(spec.load(Path(sys.argv[1])))\n"
        "plan['search'].pop('wall_s')\n"
        "sys.stdout.write(json.dumps(plan))\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code, str(EXAMPLES / f"{name}.yaml")],
            env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(texts) == 1
    assert len(texts.pop()) > 1000


@pytest.mark.parametrize("name", names())
def test_a_resolved_job_is_the_job(name):
    """plan.json holds the job that the file meant: loading it again changes nothing."""
    job = load_example(name)
    assert spec.load(json.dumps(spec.dump(job))) == job


@settings(max_examples=8, phases=PHASES)
@given(jobs(devices=(16, 32)), st.sampled_from((2, 4)))
def test_more_devices_to_choose_from_are_never_worse(raw, factor):
    count = raw["hardware"]["devices"]
    choice = {**raw, "hardware": {**raw["hardware"], "devices": [count, count * factor]}}
    assert best(choice) <= best(raw)


@settings(max_examples=8, phases=PHASES)
@given(jobs(devices=(8, 16)))
def test_less_reserve_is_never_slower(raw):
    tight = {**raw, "constraints": {"memory_reserve": 0.2}}
    loose = {**raw, "constraints": {"memory_reserve": 0.0}}
    assert best(loose) <= best(tight)
