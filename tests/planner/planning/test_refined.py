"""Stages dealt one by one: against every staging of small pipelines, and better than alike ones."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from rows import GPT, context_of, job_of, row, taken

from planner import recommend, spec
from planner.dims import ALL_LAYERS, RECOMPUTE, ParallelDims
from planner.planning.homogeneous import search
from planner.planning.refined import CLOSE, refined
from planner.workloads import training
from planner.workloads.training.stages import even_layout
from planner.workloads.training.staging import StageChoice, Staging

MOE = {
    **GPT, "layers": 6, "moe": {"experts": 8, "top_k": 2, "ffn_hidden": 2048,
                                "first_dense_layers": 2},
}  # fmt: skip
SMALL = {**GPT, "layers": 6}


def splits(layers: int, stages: int, least: int = 1) -> Iterator[tuple[int, ...]]:
    """Every way to deal layers to stages; the first and the last may hold none."""
    for split in itertools.product(range(layers + 1), repeat=stages):
        if sum(split) == layers and all(n >= least for n in split[1:-1]):
            yield split


def every_staging(context: Any, job: Any, stages: int) -> Iterator[Staging]:
    layers = context.spec.model.layers
    for split in splits(layers, stages):
        each = [training.stage_choices(context, job.strategy, n) for n in split]
        for choices in itertools.product(*each):
            yield Staging(split, choices)


def priced(context: Any, one: ParallelDims, stagings: list[Staging]) -> tuple[Any, Any]:
    """Seconds and bytes of a mesh with each of some stagings."""
    plans = one.part(0, 0)
    for staging in stagings:
        context, code = context.staged(staging)
        plans = plans.joined(ParallelDims.from_columns({**one.row(0), "staging": code}))
    price = training.cost(context, plans)
    return np.asarray(price.total_s), np.asarray(price.total_bytes)


CASES = [
    ({"model": SMALL}, {"pp": 2}),
    ({"model": SMALL}, {"pp": 3, "devices": 6, "batch": 48}),
    ({"model": SMALL}, {"pp": 2, "tp": 2, "schedule": "zero-bubble"}),
    ({"model": SMALL}, {"pp": 2, "schedule": "dualpipe"}),
    ({"model": {**SMALL, "tied_embeddings": True}}, {"pp": 2, "offload": ("optimizer",)}),
    ({"model": MOE, "preset": "megatron-deepspeed"}, {"pp": 2, "ep": 2, "zero": 1}),
    ({"model": MOE}, {"pp": 3, "devices": 6, "batch": 48, "tp": 2}),
]


@pytest.mark.parametrize(("given_", "mesh"), CASES)
@pytest.mark.parametrize("memory_bytes", [5.2e9, 7e9, 80e9])
def test_every_staging_of_a_small_pipeline_is_no_better(given_, mesh, memory_bytes):
    mesh = dict(mesh)
    devices, batch = mesh.pop("devices", 8), mesh.pop("batch", 64)
    job = job_of(**given_, devices=devices, batch=batch, sequence=4096,
                 hardware={"set": {"memory_bytes": memory_bytes}})  # fmt: skip
    context = context_of(job)
    one = row(context, **mesh)
    stagings = list(every_staging(context, job, int(mesh["pp"])))
    seconds, used = priced(context, one, stagings)
    fits = used <= context.memory_limit_bytes
    found = refined(
        job, context, one, np.inf, 1.0, np.inf,
        lambda here, dims: np.asarray(training.times_of(here, dims).total_s),
    )  # fmt: skip
    if not fits.any():
        assert len(found.dims) == 0
        return
    best = float(seconds[fits].min())
    assert found.bound <= best * (1 + 1e-9)
    assert found.bound >= best * 0.85  # tables of small models make the average stage unlike any
    # where the optimizer's step on the host decides, the even pipeline, which is always
    # searched beside, may be best
    even = training.cost(context, one)
    even_s = float(
        np.where(even.total_bytes <= context.memory_limit_bytes, even.total_s, np.inf)[0]
    )
    assert min(found.objective[-1], even_s) <= best * (1 + CLOSE)
    price = training.cost(found.context, found.dims)
    assert (np.asarray(price.total_bytes) <= context.memory_limit_bytes).all()
    assert np.asarray(price.total_s).tolist() == found.objective.tolist()


@settings(max_examples=25, phases=[Phase.explicit, Phase.generate])
@given(st.data())
def test_no_staging_is_below_the_bounds_of_its_mesh(data):
    model = data.draw(st.sampled_from([SMALL, MOE, {**MOE, "layers": 9}]))
    memory_bytes = data.draw(st.sampled_from([6e9, 9e9, 80e9]))
    job = job_of(model=model, devices=16, batch=64, sequence=4096,
                 hardware={"set": {"memory_bytes": memory_bytes}})  # fmt: skip
    context = context_of(job)
    pp = data.draw(st.sampled_from([2, 4]))
    vpp = data.draw(st.sampled_from([1, 1, 2]))
    vpp = 1 if pp * vpp > model["layers"] else vpp
    schedule = "interleaved" if vpp > 1 else data.draw(
        st.sampled_from(["1f1b", "gpipe", "zero-bubble", "dualpipe"])
    )  # fmt: skip
    one = row(context, pp=pp, vpp=vpp, tp=data.draw(st.sampled_from([1, 2])), schedule=schedule,
              zero=data.draw(st.sampled_from([0, 1])))  # fmt: skip
    cuts = sorted(data.draw(st.lists(st.integers(0, model["layers"]), min_size=pp * vpp - 1,
                                     max_size=pp * vpp - 1)))  # fmt: skip
    layers = tuple(np.diff([0, *cuts, model["layers"]]).tolist())
    choices = training.stage_choices(context, job.strategy, 3)
    staging = Staging(layers, tuple(data.draw(st.sampled_from(choices)) for _ in range(pp)))
    seconds, used = priced(context, one, [staging])
    modes = training.whole_modes(choices)
    average = training.average_bound_s(context, one, modes)
    assert taken(average) <= taken(seconds) * (1 + 1e-9)
    limit = max(context.memory_limit_bytes, taken(used))  # a limit that the staging keeps
    for enough in (np.inf, 1.001 * taken(seconds)):
        bound = training.staging_bound_s(context, one, modes, limit, enough)
        assert taken(average) <= taken(bound.step_s) * (1 + 1e-9)
        if all(layers[1:-1]):
            assert taken(bound.step_s) <= taken(seconds) * (1 + 1e-9)


LLAMA: dict[str, Any] = {
    "workload": {"kind": "training", "model": "llama-3.1-405b", "sequence_length": 8192,
                 "global_batch": 2048},
    "hardware": {"system": "dgx-h100", "devices": 16384},
    "strategy": {"tp": 8, "cp": 1, "pp": 16, "zero": 1, "micro_batch": 1},
}  # fmt: skip
DEEPSEEK: dict[str, Any] = {
    "workload": {"kind": "training", "model": "deepseek-v3", "sequence_length": 4096,
                 "global_batch": 15360, "precision": "fp8"},
    "hardware": {"system": "dgx-h100", "devices": 2048},
    "strategy": {"tp": 1, "cp": 2, "pp": 16, "ep": 16, "etp": 1, "vpp": 1, "micro_batch": 1,
                 "zero": 1, "cp_comm": "p2p"},
}  # fmt: skip
VISION: dict[str, Any] = {
    "workload": {"kind": "training", "model": "internvl2.5-78b", "sequence_length": 16384,
                 "images_per_sequence": 24, "global_batch": 512},
    "hardware": {"system": "dgx-h100", "devices": 256},
    "strategy": {"tp": 2, "cp": 4, "pp": 4, "micro_batch": 1, "zero": 1, "cp_comm": "p2p"},
}  # fmt: skip


def best_alike(raw: dict[str, Any], layers: int, vpp: int) -> float:
    """Least step time with even layers and one recompute mode on all stages, through the spec."""
    steps = []
    for mode in ("none", "full"):
        even = list(even_layout(layers, raw["strategy"]["pp"] * vpp))
        strategy = {**raw["strategy"], "vpp": vpp, "layers_per_stage": even, "recompute": mode}
        made = search(spec.load_mapping({**raw, "strategy": strategy}))[0]
        steps.append(made.objective)
    return min(steps)


@pytest.mark.parametrize(
    ("raw", "layers", "alike", "gain"),
    [(LLAMA, 126, (1, 4, 7), 0.05), (DEEPSEEK, 61, (1,), 0.05), (VISION, 80, (1, 5, 20), 0.1)],
    ids=["llama-405b", "deepseek-v3", "vision"],
)
def test_stages_of_their_own_beat_stages_alike(raw, layers, alike, gain):
    (found,) = search(spec.load_mapping(raw))
    assert found.best is not None and found.found.bound >= found.objective * 0.99
    strategy = training.strategy_of(found.context, found.best, 0)
    plan = recommend.predict(spec.load_mapping({**raw, "strategy": strategy}))
    prediction = plan["prediction"]
    assert (plan["strategy"], prediction["step_time_s"]) == (strategy, found.objective)
    uniform = min(best_alike(raw, layers, vpp) for vpp in alike)
    assert prediction["step_time_s"] <= uniform * (1 - gain)
    assert prediction["fits"]
    balance = plan["design"]["load_balancing"]
    assert "stages are dealt one by one" in balance["because"]
    (entry,) = [a for a in balance["alternatives"] if a["choice"] == "stages alike"]
    assert entry["cost"]["step_time_s"] > 0 or "memory limit" in entry["because"]
    pinned = {k: v for k, v in {**strategy, **entry["strategy"]}.items() if v is not None}
    there = recommend.predict(spec.load_mapping({**raw, "strategy": pinned}))["prediction"]
    more_s = there["step_time_s"] - prediction["step_time_s"]
    assert entry["cost"]["step_time_s"] == pytest.approx(more_s, rel=1e-9)


def test_pinned_stages_and_predictions_are_left_alone():
    raw = {**VISION, "strategy": {**VISION["strategy"], "vpp": 1}}
    even = recommend.predict(spec.load_mapping(raw))["strategy"]
    assert even["layers_per_stage"] == list(even_layout(80, 4))
    pinned = {**raw["strategy"], "layers_per_stage": [16, 22, 22, 20]}
    (found,) = search(spec.load_mapping({**raw, "strategy": pinned}))
    assert found.best is not None
    strategy = training.strategy_of(found.context, found.best, 0)
    assert strategy["layers_per_stage"] == [16, 22, 22, 20]
    assert "stages" not in strategy


def test_one_recompute_mode_is_what_all_stages_have():
    raw = {**VISION, "strategy": {**VISION["strategy"], "recompute": "full"}}
    (found,) = search(spec.load_mapping(raw))
    assert found.best is not None
    strategy = training.strategy_of(found.context, found.best, 0)
    assert strategy["recompute"] == "full"
    assert "stages" not in strategy
    assert strategy["layers_per_stage"] != list(even_layout(80, len(strategy["layers_per_stage"])))


def test_choices_are_what_stack_and_job_allow():
    context = context_of(job_of())
    free = training.stage_choices(context, job_of().strategy, 3)
    full = RECOMPUTE.index("full")
    assert [c.recompute for c in free] == [0, full, full, full]
    assert [c.recompute_layers for c in free] == [ALL_LAYERS, ALL_LAYERS, 1.0, 2.0]
    pinned = job_of(strategy={"recompute": ["projections", {"full": 2}]}).strategy
    assert training.stage_choices(context, pinned, 5) == (
        StageChoice(RECOMPUTE.index("projections")),
        StageChoice(full, 2.0),
    )


def test_no_layers_are_dealt_where_nothing_can_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest plan of 70 billion parameters on one device is over the limit many times."""
    monkeypatch.setattr("planner.planning.homogeneous.refined", lambda *_: pytest.fail("dealt"))
    job = job_of(model="llama-3.1-70b", devices=2, batch=8)
    assert not any(len(r.found.rows) for r in search(job))


def test_work_on_many_kinds_of_layers_is_limited_and_the_bound_stays_true(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = job_of(model=MOE, devices=8, batch=32)
    free = recommend.plan(job)["search"]
    monkeypatch.setattr("planner.planning.refined.MOST_ARCS", 0.0)
    limited = recommend.plan(job)["search"]
    assert limited["objective"] >= free["objective"] * (1.0 - 1e-12)
    assert limited["bound"] <= free["objective"] * (1.0 + 1e-12)


def test_the_least_energy_is_no_more_than_the_shortest_step_draws() -> None:
    """Stages of their own are found by time, and judged by energy: 0.3% more without them."""
    job = job_of(model="qwen2.5-32b", system="dgx-a100-40gb", devices=64, sequence=4096, batch=64)
    raw = spec.dump(job)
    least: Any = recommend.plan(spec.load_mapping(raw | {"objective": {"metric": "energy"}}))
    shortest: Any = recommend.plan(job)
    assert least["prediction"]["energy_j"] <= shortest["prediction"]["energy_j"] * (1 + 1e-9)
    assert "beside it, stages of their own" in least["search"]["covers"]
