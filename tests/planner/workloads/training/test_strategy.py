"""A row as a strategy, and back: what a plan shows is all that its price needs."""

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from jobs import jobs, text_of
from rows import GPT, context_of, job_of, row, taken

from planner import recommend, spec
from planner.dims import ParallelDims
from planner.strategy import Strategy
from planner.workloads import training
from planner.workloads.training.staging import Staging

LAID = ("lean", "staging")
"""Columns that say the layers of stages: pinned layers are another staging of the same layers."""


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(jobs(), st.randoms(use_true_random=False))
def test_a_strategy_names_exactly_its_row(raw, random):
    job = spec.load(text_of(raw))
    context = context_of(job)
    dims, _ = training.candidates(job, context)
    for _ in range(3):
        one = dims.take(np.array([random.randrange(len(dims))]))
        strategy = training.strategy_of(context, one, 0)
        pinned = spec.load(text_of({**raw, "strategy": strategy}))
        again, _ = training.candidates(pinned, context_of(pinned))
        assert len(again) == 1
        found, wanted = again.row(0), one.row(0)
        layout = tuple(strategy["layers_per_stage"])
        assert pinned.strategy.layers_per_stage == layout
        assert {k: v for k, v in found.items() if k not in LAID} == {
            k: v for k, v in wanted.items() if k not in LAID
        }
        ours, theirs = training.cost(context, one), training.cost(context_of(pinned), again)
        assert taken(ours.total_s) == taken(theirs.total_s)
        assert taken(ours.total_bytes) == taken(theirs.total_bytes)


STAGES = [
    {"layers": 2, "recompute": "full"},
    {"layers": 3, "recompute": {"full": 2}, "offload": ["optimizer"]},
    {"layers": 2, "recompute": "none", "offload": []},
    {"layers": 1, "recompute": "projections"},
]


def test_stages_are_written_as_they_are_pinned():
    raw = {"workload": {"kind": "training", "model": dict(GPT), "sequence_length": 2048,
                        "global_batch": 64},
           "hardware": {"system": "dgx-h100", "devices": 32},
           "strategy": {"stages": STAGES, "tp": 2}}  # fmt: skip
    plan = recommend.predict(spec.load(text_of(raw)))
    strategy = plan["strategy"]
    assert (strategy["stages"], strategy["layers_per_stage"]) == (STAGES, [2, 3, 2, 1])
    assert (strategy["pp"], strategy["vpp"]) == (4, 1)
    again = recommend.predict(spec.load(text_of({**raw, "strategy": strategy})))
    assert again["strategy"] == strategy
    assert again["prediction"] == plan["prediction"]
    used = [stage["bytes"] for stage in plan["prediction"]["memory_by_stage"]]
    assert max(used) == plan["prediction"]["memory_bytes"]


def test_a_strategy_has_every_key_of_the_contract_but_what_the_solver_chooses():
    context = context_of(job_of(devices=64, batch=64))
    strategy = training.strategy_of(context, row(context, tp=2, pp=4), 0)
    later = {"placement", "stages", "sharding"}
    assert set(strategy) == set(Strategy.model_fields) - later


def test_names_and_types_are_those_of_the_spec():
    context = context_of(job_of(devices=64, batch=64))
    dims = row(context, tp=2, cp=2, pp=4, cp_comm="all-gather", recompute="full",
               recompute_layers=1.0, offload=("optimizer",), schedule="interleaved",
               vpp=2)  # fmt: skip
    strategy = training.strategy_of(context, dims, 0)
    assert strategy["dp"] * 2 * 2 * 4 == 64
    assert strategy["microbatches"] == 64 / strategy["dp"]
    assert strategy["sp"] is True
    assert strategy["recompute"] == {"full": 1}
    assert strategy["offload"] == ["optimizer"]
    assert strategy["cp_comm"] == "all-gather"
    assert len(strategy["layers_per_stage"]) == 8
    assert sum(strategy["layers_per_stage"]) == 8
    assert isinstance(dims, ParallelDims)


def test_a_pinned_layout_and_order_are_kept():
    context = context_of(job_of(devices=8, batch=64))
    context, code = context.staged(Staging((1, 2, 3, 2)))
    strategy = training.strategy_of(
        context, row(context, pp=4, staging=code, order=("cp", "tp", "dp", "pp")), 0
    )
    assert strategy["layers_per_stage"] == [1, 2, 3, 2]
    assert strategy["mesh_order"] == ["cp", "tp", "dp", "pp"]
