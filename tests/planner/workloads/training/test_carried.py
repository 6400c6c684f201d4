"""Which algorithm carries which axis: small messages by trees or switches, large by rings."""

import json

import numpy as np
import pytest
from rows import GPT, context_of, job_of, row

from costmodels.collectives import all_reduce_choice
from hardware_profiles.load import load
from planner import recommend, spec
from planner.cluster import build
from planner.spec import dump
from planner.workloads import training
from planner.workloads.training.carried import carried

MOE = {**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}}


def by_axis(job, **degrees):
    context = context_of(job)
    return {(c.axis, c.among): c for c in carried(context, row(context, **degrees))}


def test_in_a_node_a_ring_carries_small_messages_and_the_switch_large_ones():
    """The switch moves half the bytes of a ring, after a longer wait."""
    small = by_axis(job_of(devices=8, batch=8, sequence=512), tp=8, sp=0)["tp", ""]
    large = by_axis(job_of(devices=8, batch=8, sequence=65536), tp=8, sp=0)["tp", ""]
    assert (small.what, small.algorithm) == ("all-reduce", "ring")
    assert large.algorithm == "in-switch"
    assert large.message_bytes == 128 * small.message_bytes == 65536 * 2048 * 2


def test_without_a_switch_that_reduces_it_is_a_ring():
    made = by_axis(job_of(system="dgx-v100", devices=8, batch=8), tp=8, sp=0)["tp", ""]
    assert made.algorithm in ("ring", "hierarchical")


def test_replicas_across_nodes_reduce_by_trees_and_round_a_ring_when_bytes_decide():
    tiny = {**GPT, "layers": 1, "hidden": 64, "ffn_hidden": 64, "heads": 1, "kv_heads": 1,
            "vocab": 64, "max_positions": 64}  # fmt: skip
    a100 = {"system": "dgx-a100-80gb", "sequence": 64}
    small = by_axis(job_of(model=tiny, devices=1024, batch=1024, **a100), zero=0)["dp", ""]
    large = by_axis(job_of(devices=32, batch=32, **a100), zero=0)["dp", ""]
    assert small.message_bytes < 1e6 < 5e7 < large.message_bytes
    assert (small.algorithm, large.algorithm) == ("tree", "tree")
    span = build(load("dgx-a100-80gb"), 32).span((32.0, 1.0))
    assert all_reduce_choice(100 * large.message_bytes, span) == "ring"


def test_shards_gather_and_their_copies_reduce():
    made = by_axis(job_of(model=MOE, devices=64, batch=64), tp=2, ep=4, zero=1, zero_group=8)
    assert set(made) == {
        ("tp", ""), ("dp", ""), ("dp", "copies"), ("dp", "experts"), ("dp", "copies of experts"),
    }  # fmt: skip
    assert made["dp", ""].what == "reduce-scatter and all-gather"
    assert made["dp", "copies"].what == "all-reduce"
    assert made["dp", "copies"].message_bytes == made["dp", ""].message_bytes / 8


@pytest.mark.parametrize("name", ["ring", "tree", "hierarchical"])
def test_a_pinned_algorithm_is_named_priced_and_kept(name):
    pinned = {"tp": 1, "pp": 1, "cp": 1, "zero": 0, "micro_batch": 1, "recompute": "none",
              "offload": [], "collectives": {"dp": name}}  # fmt: skip
    job = job_of(devices=64, batch=64, strategy=pinned)
    plan = recommend.predict(job)
    assert plan["design"]["communication"]["numbers"]["dp_algorithm"] == name
    assert plan["strategy"]["collectives"] == {"dp": name}
    again = recommend.predict(spec.load(json.dumps(dump(job) | {"strategy": plan["strategy"]})))
    assert json.dumps(again["prediction"]) == json.dumps(plan["prediction"])
    auto = pinned | {"collectives": "auto"}
    free = recommend.predict(job_of(devices=64, batch=64, strategy=auto))
    if name != "hierarchical":  # a library of rings has no such algorithm to choose
        assert free["prediction"]["step_time_s"] <= plan["prediction"]["step_time_s"]


def test_auto_is_never_slower_than_any_pinned_algorithm_of_the_library():
    levels = [
        {"name": "node", "devices": 4, "bytes_per_s": 3e11, "latency_s": 2e-6},
        {"name": "rack", "devices": 32, "bytes_per_s": 5e10, "latency_s": 8e-6},
        {"name": "spine", "devices": 256, "bytes_per_s": 1e10, "latency_s": 3e-5},
    ]
    job = job_of(devices=256, batch=256, hardware={"levels": levels})
    dims, _ = training.candidates(job, context_of(job))
    few = dims.part(0, 500)
    auto = np.asarray(training.times_of(context_of(job), few).total_s)
    for name in ("ring", "tree"):
        pinned = job_of(devices=256, batch=256, hardware={"levels": levels},
                        strategy={"collectives": {"tp": name, "dp": name}})  # fmt: skip
        named = np.asarray(training.times_of(context_of(pinned), few).total_s)
        assert (auto <= named).all()


def test_one_rank_carries_nothing():
    context = context_of(job_of(devices=1, batch=8))
    assert carried(context, row(context)) == []
    assert build(context.cluster.profile, 1).devices == 1
