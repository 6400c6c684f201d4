"""Jobs over pools of unlike devices, through the door, and their shares against brute force."""

import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import oracle
import pytest
from plans import exact_sum, pinned, planned

from hardware_profiles.load import load
from planner import recommend, spec
from planner.cluster.choices import clusters, pool_cluster
from planner.emit import emit_all
from planner.errors import NoFeasiblePlan, SpecError
from planner.explain import explain
from planner.planning.pooled import search
from planner.planning.searched import best_of
from planner.report import html, terminal
from planner.workloads import training
from planner.workloads.training.pools import beside

EXAMPLE = "llama3-70b-64-a100-32-h100"
of_the_example = pytest.mark.xdist_group(EXAMPLE)
MODEL = {
    "name": "small", "layers": 8, "hidden": 2048, "ffn_hidden": 8192, "heads": 16, "kv_heads": 8,
    "vocab": 32000, "gated_mlp": True,
}  # fmt: skip
A100 = {"name": "a", "system": "dgx-a100-80gb", "devices": 8}
H100 = {"name": "h", "system": "dgx-h100", "devices": 4}


def job(*pools: Mapping[str, Any], batch: int = 48, model: Any = MODEL, **rest: Any) -> Any:
    """Return a job over pools as plain values."""
    hardware = {"pools": list(pools), **rest.pop("hardware", {})}
    workload = {
        "kind": "training", "model": model, "sequence_length": 2048, "global_batch": batch,
        **rest.pop("workload", {}),
    }  # fmt: skip
    strategy = {"cp": 1, "pp": [1, 2, 4], **rest.pop("strategy", {})}  # few meshes: quick tests
    return {"workload": workload, "hardware": hardware, "strategy": strategy, **rest}


def plan(raw: Any) -> dict[str, Any]:
    """Plan a job given as plain values; as JSON has it."""
    made: dict[str, Any] = json.loads(json.dumps(recommend.plan(spec.load(json.dumps(raw)))))
    return made


def step(raw: Any) -> float:
    """Step time of the best plan, from the search alone."""
    best = best_of(search(spec.load(json.dumps(raw))))
    assert best is not None
    return best.objective


@of_the_example
def test_two_generations_share_unevenly_and_beat_each_alone() -> None:
    made = planned(EXAMPLE)
    pools = {pool["pool"]: pool for pool in made["prediction"]["pools"]}
    assert sum(pool["sequences"] for pool in pools.values()) == 512
    each = {name: pool["sequences"] / pool["devices"] for name, pool in pools.items()}
    assert each["h100"] > 2.0 * each["a100"]
    alone = {point["pool"]: point["step_time_s"] for point in made["frontier"]}
    here = made["prediction"]["step_time_s"]
    assert here < 0.7 * min(alone["a100"], alone["h100"])
    ideal = 1.0 / (1.0 / alone["a100"] + 1.0 / alone["h100"])
    assert here < 1.1 * ideal  # the link between and whole sequences cost little
    assert max(pool["step_time_s"] for pool in pools.values()) == here
    assert min(pool["step_time_s"] for pool in pools.values()) > 0.95 * here


@of_the_example
def test_the_report_says_which_pool_gets_what_and_what_each_alone_would_reach() -> None:
    made = planned(EXAMPLE)
    balance = made["design"]["load_balancing"]
    for pool in made["prediction"]["pools"]:
        assert f"{pool['pool']} {pool['sequences']} of 512 sequences" in balance["choice"]
    assert {a["choice"] for a in balance["alternatives"]} >= {"a100 alone", "h100 alone"}
    text = terminal.render(made)
    assert "What each pool does" in text
    assert "64 x dgx-a100-80gb and 32 x dgx-h100" in " ".join(text.split())
    assert "a100 0" in html.render(made)  # memory by stage names its pool


@of_the_example
def test_a_pool_costs_what_plain_loops_say() -> None:
    """The oracle prices each pool as a job of its own; beside it, only the link between pools."""
    made = planned(EXAMPLE)
    stages = made["strategy"]["stages"]
    slowest = max(made["prediction"]["pools"], key=lambda pool: pool["step_time_s"])
    own = [stage for stage in stages if stage["pool"] == slowest["pool"]]
    hardware = next(p for p in made["job"]["hardware"]["pools"] if p["name"] == slowest["pool"])
    workload = {**made["job"]["workload"], "global_batch": slowest["sequences"]}
    strategy = {
        **made["strategy"], "dp": slowest["dp"], "pp": len(own), "tp": own[0]["tp"],
        "zero_group": slowest["dp"] * made["strategy"]["cp"],
        "layers_per_stage": [stage["layers"] for stage in own],
    }  # fmt: skip
    del strategy["stages"]
    seconds, _ = oracle.price({**made["job"], "workload": workload, "hardware": hardware}, strategy)
    whole = made["prediction"]["step_time_s"]
    for term in made["prediction"]["time"]:
        if term["name"] not in ("stragglers", "gradient reduction across pools"):
            assert abs(term["exposed_s"] - seconds.get(term["name"], 0.0)) < 1e-9 * whole, term


def test_gradients_cross_at_the_rate_of_the_pool_that_sends_least() -> None:
    """Two pools, 2 (k - 1)/k n / beta, half a step of n bytes both ways: by hand."""
    raw = job(A100, H100, software={"overlap_grad_reduce": False, "grad_dtype": "fp32"})
    made = plan(raw)
    model = spec.load(json.dumps(raw)).workload.model
    kv = model.hidden // model.heads * 8
    layer = model.hidden * (2 * model.hidden + 2 * kv + 3 * model.ffn_hidden) + 2 * model.hidden
    parameters = 8 * layer + 2 * model.vocab * model.hidden + model.hidden
    # eight A100 and half a node of H100, of a node's adapters as the profiles say
    sends = []
    for name, share in (("dgx-a100-80gb", 1.0), ("dgx-h100", 0.5)):
        level = load(name).network[1]
        sends.append(share * level.bytes_per_s.value * level.efficiency.value)
    term = next(t for t in made["prediction"]["time"] if "across pools" in t["name"])
    assert term["hidden_s"] == 0.0
    assert term["exposed_s"] == pytest.approx(parameters * 4.0 / min(sends), rel=1e-2)


def brute_force(raw: Any) -> float:
    """Least step over every share and every plan of each pool, priced one by one."""
    loaded = spec.load(json.dumps(raw))
    cluster = pool_cluster(loaded.hardware, loaded.hardware.pools or ())
    batch = loaded.workload.global_batch
    common = ("cp", "ep", "etp", "zero", "cp_comm")
    tables: list[list[dict[tuple[float, ...], float]]] = []
    for pool, own in zip(cluster.pools, loaded.hardware.pools or (), strict=True):
        one = loaded.model_copy(update={"hardware": loaded.hardware.of_pool(own)})
        context = replace(training.make(one, pool), beside=beside(cluster, pool))
        table: list[dict[tuple[float, ...], float]] = [{}]
        for share in range(1, batch):
            work = one.workload.model_copy(update={"global_batch": share})
            dims, _ = training.candidates(
                one.model_copy(update={"workload": work}), replace(context, spec=work)
            )
            best: dict[tuple[float, ...], float] = {}
            dims = dims.take((dims.vpp == 1) & (dims.zero_group == dims.replicas))
            if len(dims):
                price = training.cost(context, dims)
                fits = np.asarray(price.total_bytes) <= context.memory_limit_bytes
                for row in np.flatnonzero(fits):
                    key = tuple(float(getattr(dims, name)[row]) for name in common)
                    seconds = float(np.asarray(price.total_s)[row])
                    best[key] = min(seconds, best.get(key, np.inf))
            table.append(best)
        tables.append(table)
    found = np.inf
    for share in range(1, batch):
        first, second = tables[0][share], tables[1][batch - share]
        for a, b in product(first, second):
            if a == b:
                found = min(found, max(first[a], second[b]))
    return float(found)


@pytest.mark.parametrize(
    "pools, batch",
    [((A100, H100), 24), (({**A100, "devices": 4}, {**H100, "devices": 6}), 30),
     (({**A100, "set": {"memory_bytes": 12e9}}, H100), 16)],
)  # fmt: skip
def test_no_share_and_no_plan_of_a_pool_is_better(
    pools: tuple[Mapping[str, Any], ...], batch: int
) -> None:
    raw = job(*pools, batch=batch, strategy={"pp": [1, 2]})
    least = brute_force(raw)
    assert np.isfinite(least)
    assert step(raw) <= least * (1 + 1e-12)


def test_a_pool_cut_in_two_is_as_good_as_whole() -> None:
    halves = [{**H100, "name": name, "devices": 8} for name in ("one", "two")]
    whole = step({**job(batch=64), "hardware": {"system": "dgx-h100", "devices": 16}})
    cut = plan(job(*halves, batch=64))
    assert cut["prediction"]["step_time_s"] == pytest.approx(whole, rel=0.05)
    assert [pool["sequences"] for pool in cut["prediction"]["pools"]] == [32, 32]


def test_another_pool_never_makes_any_worse() -> None:
    any_ = {"hardware": {"use": "any"}}
    slow = {**A100, "name": "slow", "devices": 4, "set": {"peak_flop_per_s": 1e12}}
    one = step(job(H100, **any_))
    with_slow = plan(job(H100, slow, **any_))
    assert with_slow["prediction"]["step_time_s"] <= one
    assert step(job(H100, A100, **any_)) < one
    # one that is a hundred times slower is left out, or gets what it can carry
    shares = with_slow["prediction"].get("pools")
    if shares is not None:
        assert shares[1]["sequences"] <= 2


def test_a_slow_pool_gets_little() -> None:
    slow = {**A100, "set": {"peak_flop_per_s": 2e13}}
    made = plan(job(slow, H100, batch=256))
    share = {pool["pool"]: pool["sequences"] for pool in made["prediction"]["pools"]}
    assert 0 < share["a"] < 0.3 * share["h"]


def test_use_one_is_the_best_pool_alone() -> None:
    made = plan(job(A100, H100, hardware={"use": "one"}))
    alone = {p["name"]: step({**job(), "hardware": {k: v for k, v in p.items() if k != "name"}})
             for p in (A100, H100)}  # fmt: skip
    assert made["prediction"]["step_time_s"] == min(alone.values())
    best = min((A100, H100), key=lambda p: alone[str(p["name"])])
    assert made["job"]["hardware"]["system"] == best["system"]
    assert "pools" not in made["job"]["hardware"]
    assert {point["pool"] for point in made["frontier"]} == {"a", "h"}
    assert pinned(made, made["strategy"])["prediction"] == made["prediction"]


def test_every_device_is_paid_and_powered_at_its_own_figures() -> None:
    free, dear = {**A100, "usd_per_device_hour": 0.0}, {**H100, "usd_per_device_hour": 9.0}
    made = plan(job(free, dear, workload={"tokens": 1e9}))
    seconds = made["prediction"]["time_to_train_s"]
    # four devices of a host of eight: the host is paid
    assert made["prediction"]["cost_usd"] == pytest.approx(8 * 9.0 * seconds / 3600.0)
    one = plan(job(A100, H100))["prediction"]
    least = most = 0.0
    for pool in (A100, H100):
        power = load(str(pool["system"])).power
        each = float(str(pool["devices"])) * power.overhead.value * one["step_time_s"]
        least += each * (power.idle_w.value + power.host_w_per_device.value)
        most += each * (power.device_w.value + power.host_w_per_device.value)
    assert 0.7 * most < one["energy_j"] < most
    assert one["energy_j"] > least


def test_each_pool_is_judged_by_its_own_memory() -> None:
    """The smaller devices hold less in bytes and are still the fullest."""
    small = {**A100, "set": {"memory_bytes": 9e9}}
    made = plan(job(small, H100, batch=16))
    pools = {pool["pool"]: pool for pool in made["prediction"]["pools"]}
    for pool in pools.values():
        assert pool["memory_bytes"] <= pool["memory_limit_bytes"]
    fullest = max(pools.values(), key=lambda p: p["memory_bytes"] / p["memory_limit_bytes"])
    assert made["prediction"]["memory_bytes"] == fullest["memory_bytes"]
    assert made["prediction"]["memory_limit_bytes"] == fullest["memory_limit_bytes"]
    assert pools["a"]["memory_limit_bytes"] == pytest.approx(9e9 * 0.94)


def test_no_pool_holds_the_model() -> None:
    tiny = {"set": {"memory_bytes": 1.5e9}}
    with pytest.raises(NoFeasiblePlan):
        plan(job({**A100, **tiny}, {**H100, **tiny}))


STAGES = [
    {"layers": 4, "pool": "a", "tp": 2, "micro_batch": 1, "recompute": "none"},
    {"layers": 4, "pool": "a", "tp": 2, "micro_batch": 1, "recompute": "full"},
    {"layers": 8, "pool": "h", "tp": 1, "micro_batch": 2},
]


def test_stages_may_be_pinned_in_part() -> None:
    made = plan(job(A100, H100, strategy={"stages": STAGES}))
    pools = {pool["pool"]: pool for pool in made["prediction"]["pools"]}
    assert (pools["a"]["dp"], pools["h"]["dp"]) == (2, 4)
    assert sum(pool["sequences"] for pool in pools.values()) == 48
    assert [s["recompute"] for s in made["strategy"]["stages"][:2]] == ["none", "full"]
    assert pinned(made, made["strategy"])["prediction"] == made["prediction"]
    assert made["prediction"]["step_time_s"] >= step(job(A100, H100))


def changed(index: int, **values: Any) -> list[dict[str, Any]]:
    return [{**s, **values} if i == index else s for i, s in enumerate(STAGES)]


@pytest.mark.parametrize(
    "strategy, said",
    [
        ({"stages": changed(0, layers=3)}, "holds 15 layers, but the model has 8"),
        ({"stages": changed(2, layers=9)}, "holds 9 layers"),
        ({"stages": changed(2, pool="x")}, "allowed: a, h"),
        ({"stages": changed(2, tp=3)}, "do not divide the 4 devices of h"),
        ({"stages": changed(1, tp=4)}, "pool a has several tp"),
        ({"stages": STAGES[:2]}, "no stage is in pool h"),
        ({"stages": [*STAGES, STAGES[2]]}, "pool h comes twice"),
        ({"stages": [{**s, "microbatches": 5} for s in STAGES]}, "sum to 50, but global_batch is"),
        ({"stages": STAGES, "layers_per_stage": [8]}, "is not the layers of strategy.stages"),
        ({"dp": 4}, "follows in each pool"),
        ({"vpp": 2}, "virtual stages are not planned over pools"),
    ],
)
def test_stages_that_cannot_be_are_refused(strategy: Any, said: str) -> None:
    with pytest.raises(SpecError) as error:
        spec.load(json.dumps(job(A100, H100, strategy=strategy)))
    assert said in str(error.value)


@pytest.mark.parametrize(
    "hardware, said",
    [
        ({"system": "dgx-h100", "pools": [A100]}, "cannot stand beside pools"),
        ({"pools": [A100, A100]}, "names a twice"),
        ({"pools": [{**A100, "system": "dgx-h1000"}]}, "hardware.pools.0.system"),
        ({"pools": [{"name": "a", "system": "dgx-h100"}]}, "hardware.pools.0.devices"),
        ({"pools": [A100, H100], "levels": [{"name": "x", "devices": 8, "bytes_per_s": 1e9}]},
         "holds 8 of 12 devices"),
    ],
)  # fmt: skip
def test_pools_that_cannot_be_are_refused(hardware: Any, said: str) -> None:
    with pytest.raises(SpecError) as error:
        recommend.plan(spec.load(json.dumps({**job(), "hardware": hardware})))
    assert said in str(error.value)


def test_the_jobs_own_levels_join_the_pools() -> None:
    """A slow outermost level makes the exchange between pools dear, and is what it is priced at."""
    levels = [
        {"name": "node", "devices": 8, "bytes_per_s": 3e11, "latency_s": 2e-6},
        {"name": "site", "devices": 64, "bytes_per_s": 1e9, "latency_s": 1e-3},
    ]
    raw = job({**A100, "devices": 8}, {**H100, "devices": 8}, hardware={"levels": levels},
              strategy={"pp": 1},
              software={"overlap_grad_reduce": False})  # fmt: skip
    made = plan(raw)
    term = next(t for t in made["prediction"]["time"] if "across pools" in t["name"])
    whole = spec.load(json.dumps({**raw, "hardware": {"system": "dgx-h100", "devices": 8}}))
    context = training.make(whole, clusters(whole.hardware)[0])
    trained = sum(b.count * b.weights(trainable=True) for b in context.graph.blocks)
    assert term["exposed_s"] == pytest.approx(2e-3 + trained * context.gradient_bytes / 1e9)


def test_a_plan_over_pools_is_explained_and_written_for_each_pool() -> None:
    made = plan(job(A100, H100, emit=["megatron"]))
    answer = explain(made, ["tp=2"])
    assert answer["why_not"][0]["possible"] is True  # type: ignore[index]
    assert any("between pools" in str(f["what"]) for f in answer["faster_link"])  # type: ignore[union-attr]
    files = emit_all(made, ["megatron", "torchtitan", "jax"])
    for name in ("a", "h"):
        text = files[f"megatron/{name}/pretrain.sh"]
        assert "Not expressible: one job over pools of unlike devices" in text
        assert f"--global-batch-size {shares(made)[name]}" in text
    assert {path.split("/")[1] for path in files} == {"a", "h"}


TIGHT = {"set": {"memory_bytes": 4.6e9}}
SMALL, LARGE = {**A100, **TIGHT}, {**H100, **TIGHT}
CHAIN = [
    {"layers": 2, "pool": "a", "tp": 4, "micro_batch": 3},
    {"layers": 2, "pool": "a", "tp": 4, "micro_batch": 3},
    {"layers": 4, "pool": "h", "tp": 4, "micro_batch": 3},
]


def test_a_pipeline_crosses_pools_where_none_holds_the_model() -> None:
    """With offloading off, neither pool holds the model: the stages lie on both, end to end."""
    made = plan(job(SMALL, LARGE, emit=["megatron"], strategy={"offload": []}))
    stages = made["strategy"]["stages"]
    assert sum(stage["layers"] for stage in stages) == 8
    assert {stage["pool"] for stage in stages} == {"a", "h"}
    pools = {pool["pool"]: pool for pool in made["prediction"]["pools"]}
    each = {name: pool["layers"] / pool["devices"] for name, pool in pools.items()}
    assert each["h"] > each["a"]  # the faster devices hold more
    assert pinned(made, made["strategy"])["prediction"] == made["prediction"]
    assert exact_sum(made["prediction"]["time"], "exposed_s") == made["prediction"]["step_time_s"]
    assert "of 8 layers" in made["design"]["load_balancing"]["choice"]
    assert [s["stage"] for s in made["prediction"]["memory_by_stage"]] == list(range(len(stages)))
    text = emit_all(made, ["megatron"])["megatron/pretrain.sh"]
    assert "Not expressible: stages on unlike devices (" in text
    assert explain(made)["binds"]
    assert terminal.render(made)


@pytest.mark.parametrize("order", ["a, h", "h, a"])
def test_equal_pools_end_to_end_are_one_clusters_pipeline(order: str) -> None:
    """Two nodes as two pools: the same stages, links and hosts, so the same price."""
    names = order.split(", ")
    pools = [{"name": name, "system": "dgx-h100", "devices": 8} for name in ("a", "h")]
    chain = [{"layers": n, "pool": p, "tp": 4, "micro_batch": 1, "recompute": "none", "offload": []}
             for n, p in ((3, names[0]), (5, names[1]))]  # fmt: skip
    pins = {"zero": 1, "cp": 1, "sp": True, "pp": None}
    crossed = recommend.predict(spec.load(json.dumps(
        job(*pools, strategy={**pins, "stages": chain}))))  # fmt: skip
    strategy = {**pins, "tp": 4, "pp": 2, "micro_batch": 1, "recompute": "none", "offload": [],
                "schedule": "1f1b", "layers_per_stage": [3, 5]}  # fmt: skip
    one = recommend.predict(
        spec.load(
            json.dumps(
                {**job(), "hardware": {"system": "dgx-h100", "devices": 16}, "strategy": strategy}
            )
        )
    )
    ours, theirs = crossed["prediction"], one["prediction"]
    assert ours["step_time_s"] == pytest.approx(theirs["step_time_s"], rel=1e-12)
    assert ours["memory_bytes"] == pytest.approx(theirs["memory_bytes"], rel=1e-12)
    assert ours["energy_j"] == pytest.approx(theirs["energy_j"], rel=0.05)
    assert ours["cost_usd"] == pytest.approx(theirs["cost_usd"], rel=1e-12)


def test_no_way_to_deal_the_layers_over_the_pools_is_better() -> None:
    """Every split over one stage of each pool, either way round, priced one by one."""
    least = np.inf
    for names in (("a", "h"), ("h", "a")):
        for first in range(1, 8):
            chain = [{"layers": n, "pool": p, "tp": 4, "micro_batch": 1, "recompute": "none"}
                     for n, p in ((first, names[0]), (8 - first, names[1]))]  # fmt: skip
            pins = {"zero": 1, "pp": None, "stages": chain}
            hardware = ({**A100, "devices": 4}, H100)
            made = recommend.predict(spec.load(json.dumps(job(*hardware, strategy=pins))))
            least = min(least, made["prediction"]["step_time_s"])  # type: ignore[type-var, assignment]
    loaded = spec.load(json.dumps(job({**A100, "devices": 4}, H100, strategy={
        "zero": 1, "pp": 1, "tp": 4, "micro_batch": 1, "recompute": "none"})))  # fmt: skip
    pools = loaded.hardware.pools or ()
    chains = training.end_to_end(
        [loaded.model_copy(update={"hardware": loaded.hardware.of_pool(p)}) for p in pools],
        pool_cluster(loaded.hardware, pools), 48,
    )  # fmt: skip
    found = min(float(np.asarray(training.cost(p.context, p.dims).total_s)[0])
                for p in chains.plans)  # fmt: skip
    assert found == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize(
    "stages, said",
    [
        ([CHAIN[0], {**CHAIN[1], "tp": 2}, CHAIN[2]], "pool a has several tp"),
        ([CHAIN[0], CHAIN[1], {**CHAIN[2], "tp": 2}], "its pools make a 1, h 2"),
        ([CHAIN[0], CHAIN[2], {**CHAIN[1]}], "pool a comes twice"),
        ([{**s, "micro_batch": 5} for s in CHAIN], "does not divide global_batch 48"),
    ],
)  # fmt: skip
def test_pipelines_that_cannot_be_are_refused(stages: Any, said: str) -> None:
    with pytest.raises(SpecError) as error:
        spec.load(json.dumps(job(A100, H100, strategy={"pp": None, "stages": stages})))
    assert said in str(error.value)


def shares(made: Mapping[str, Any]) -> dict[str, int]:
    return {pool["pool"]: pool["sequences"] for pool in made["prediction"]["pools"]}


@pytest.mark.parametrize("metric", ["cost", "energy", "throughput", "reliability"])
def test_other_metrics_choose_by_the_number_that_is_shown(metric: str) -> None:
    raw = job(A100, H100, objective={"metric": metric}, workload={"tokens": 1e9})
    made = plan(raw)
    prediction = made["prediction"]
    assert exact_sum(prediction["time"], "exposed_s") == prediction["step_time_s"]
    assert pinned(made, made["strategy"])["prediction"] == prediction
    key = {"cost": "cost_usd", "energy": "energy_j"}.get(metric)
    if key:
        assert made["search"]["objective"] == prediction[key]
    assert made["search"]["bound"] <= made["search"]["objective"]
