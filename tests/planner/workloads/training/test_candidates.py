"""What may be tried: pins, rules and shapes by hand, and the search against brute force."""

import itertools

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from jobs import jobs, text_of
from rows import GPT, context_of, job_of

from planner import recommend, spec
from planner.dims import ALL_LAYERS, CODES, ParallelDims
from planner.workloads import training

MOE = {**GPT, "moe": {"experts": 8, "top_k": 2, "ffn_hidden": 1024}}


def listed(job):
    context = context_of(job)
    dims, tally = training.candidates(job, context)
    return context, dims, tally


def values(dims, name):
    return sorted(set(getattr(dims, name).tolist()))


@settings(max_examples=15, phases=[Phase.explicit, Phase.generate])
@given(jobs())
def test_every_candidate_can_be_built(raw):
    job = spec.load(text_of(raw))
    context, d, _ = listed(job)
    model, stack = job.workload.model, context.stack.supports
    assert len(d)
    assert (d.tp * d.cp * d.pp * d.dp == d.devices).all()
    assert (d.dp * d.micro_batch * d.microbatches == job.workload.global_batch).all()
    assert (model.heads % d.tp == 0).all()
    assert (d.pp * d.vpp <= model.layers).all()
    assert ((d.dp * d.cp) % d.zero_group == 0).all()
    assert ((d.tp * d.cp * d.dp) % (d.ep * d.etp) == 0).all()
    interleaved = d.schedule == CODES["schedule"].index("interleaved")
    assert ((d.vpp > 1) <= interleaved).all()
    assert (d.microbatches % np.where(d.vpp > 1, d.pp, 1) == 0).all()
    if model.moe:
        assert (model.moe.experts % d.ep == 0).all()
        assert (model.moe.ffn_hidden % d.etp == 0).all()
    else:
        assert values(d, "ep") == values(d, "etp") == [1.0]
    copied = (d.zero > 0) & (d.zero_group < d.replicas)  # copies of experts' shards are whole too
    assert ((d.zero_group * d.tp) % (d.ep * d.etp) == 0)[copied].all()
    # the search keeps to what the stack can build
    assert set(values(d.take(d.pp == 1), "zero")) <= set(stack.zero)
    assert set(values(d.take(d.pp > 1), "zero")) <= set(stack.pipeline_zero)
    names = {CODES["recompute"][int(code)] for code in values(d, "recompute")}
    assert names <= set(stack.recompute)


@pytest.mark.parametrize("zero", [2, 3])
def test_what_a_stack_shards_in_no_pipeline_alone_is_tried_in_none(zero):
    job = job_of(devices=32, batch=64, strategy={"zero": zero})
    dims, tally = training.candidates(job, context_of(job))
    assert set(values(dims, "pp")) == {1.0}
    assert tally["the stack shards so much in no pipeline"] > 0
    # a pipeline that is pinned too is priced all the same, and one that the stack has is tried
    pinned = job_of(devices=32, batch=64, strategy={"zero": zero, "pp": 4})
    assert len(training.candidates(pinned, context_of(pinned))[0])
    other = job_of(devices=32, batch=64, preset="fsdp-compile", strategy={"zero": zero})
    assert len(values(training.candidates(other, context_of(other))[0], "pp")) > 1


def test_a_search_offers_megatrons_sharded_parameters_where_no_pipeline_is():
    job = job_of(devices=32, batch=64)
    dims, _ = training.candidates(job, context_of(job))
    assert values(dims.take(dims.pp == 1), "zero") == [0.0, 1.0, 2.0, 3.0]
    assert values(dims.take(dims.pp > 1), "zero") == [0.0, 1.0]


@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(jobs())
def test_no_candidate_stands_twice(raw):
    _, dims, _ = listed(spec.load(text_of(raw)))
    table = np.stack([getattr(dims, name) for name in ParallelDims.names()])
    assert np.unique(table, axis=1).shape[1] == len(dims)


PINS = {
    "tp": 2, "cp": 2, "pp": 4, "zero": 1, "micro_batch": 2, "dp": 4, "zero_group": 4,
    "schedule": "1f1b", "cp_comm": "all-gather", "recompute": "full",
}  # fmt: skip


@pytest.mark.parametrize("key", PINS)
def test_a_pinned_key_takes_its_value_only(key):
    _, free, _ = listed(job_of(devices=32, batch=64))
    _, dims, _ = listed(job_of(devices=32, batch=64, strategy={key: PINS[key]}))
    wanted = float(CODES[key].index(PINS[key])) if key in CODES else float(PINS[key])
    assert values(dims, key) == [wanted]
    assert len(values(free, key)) > 1
    assert len(dims) < len(free)


def test_a_list_of_allowed_values_is_a_union_of_pins():
    def rows_of(pin):
        _, dims, _ = listed(job_of(devices=32, batch=64, strategy={"tp": pin}))
        return {tuple(dims.row(i).values()) for i in range(len(dims))}

    assert rows_of([2, 4]) == rows_of(2) | rows_of(4)


@pytest.mark.parametrize(
    ("strategy", "because"),
    [
        ({"tp": 8, "micro_batch": 3}, "leaves a rule of convenience: no power of two"),
        ({"tp": 1, "pp": 3}, "leaves even splits: 8 layers on 3 stages"),
        ({"zero": 3}, "leaves what the stack has"),
        ({"schedule": "zero-bubble", "pp": 2}, "leaves what the stack has"),
        ({"recompute": {"full": 3}}, "is a number of layers"),
        ({"recompute": "selective"}, "buys no memory with fused attention"),
    ],
)
def test_a_pin_is_not_bound_by_convenience(strategy, because):
    job = job_of(devices=24, batch=72, strategy=strategy)
    _, dims, _ = listed(job)
    assert len(dims), because


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        ({"tp": 3}, "tp divides heads"),
        ({"cp": 64}, "tp cp pp divides devices"),
        ({"micro_batch": 5}, "microbatches are whole"),
        ({"tp": 8, "cp": 4, "cp_comm": "a2a"}, "tp cp divides key-value heads, for a2a"),
    ],
)
def test_the_tally_names_the_rule_that_dropped_everything(strategy, rule):
    from planner.errors import PlannerError

    try:
        job = job_of(devices=32, batch=64, strategy=strategy)
    except PlannerError:
        return  # refused at the door: better still
    _, dims, tally = listed(job)
    assert len(dims) == 0
    assert rule in tally


def test_latent_attention_is_split_by_whole_heads():
    """Twelve heads on eight ranks: no key-value heads there to forbid it first."""
    latent = {"kind": "mla", "kv_lora_rank": 64, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32,
              "v_head_dim": 64}  # fmt: skip
    model = {"name": "m", "layers": 4, "hidden": 1536, "ffn_hidden": 4096, "heads": 12,
             "vocab": 32000, "attention": latent}  # fmt: skip
    _, dims, tally = listed(job_of(model=model, devices=16, batch=64))
    assert values(dims, "tp") == [1.0, 2.0, 4.0]
    assert tally["tp divides heads"] > 0


def test_placement_keeps_an_axis_inside_a_level():
    def widest(strategy):
        _, dims, _ = listed(job_of(model=MOE, devices=32, batch=64, strategy=strategy))
        return max(values(dims, "ep")), max((dims.ep * dims.etp).tolist())

    free, inside = widest({}), widest({"placement": {"ep": "node"}})
    assert free[0] >= inside[0]
    assert inside[1] <= 8 < free[1]


def test_contiguous_experts_never_leave_their_stage():
    _, dims, _ = listed(job_of(model=MOE, devices=32, batch=64))
    assert (dims.ep * dims.etp <= dims.tp * dims.cp * dims.dp).all()


# ----- the search against every combination that a user could pin


def combinations(job, context):
    """Every strategy that the contract and the stack allow, by plain loops."""
    model, supports = job.workload.model, context.stack.supports
    devices, batch = context.cluster.devices, job.workload.global_batch
    moe = model.moe
    counts = [n for n in range(1, devices + 1) if devices % n == 0]
    modes = [m for m in supports.recompute if m != "selective"]
    for tp, cp, pp in itertools.product(counts, counts, counts):
        if devices % (tp * cp * pp) or model.heads % tp or model.ffn_hidden % tp:
            continue
        if (model.kv_heads or model.heads) % tp or tp > context.cluster.node_devices:
            continue
        if pp > model.layers or (cp > 1 and job.workload.sequence_length % (1024 * cp)):
            continue
        dp = devices // (tp * cp * pp)
        ways = [w for w in supports.cp_comm if w != "a2a+p2p"] if cp > 1 else ["p2p"]
        if cp > 1 and (model.kv_heads or model.heads) % (tp * cp):
            ways = [w for w in ways if w != "a2a"]
        experts = [(1, 1)]
        if moe:
            experts = [
                (ep, etp)
                for ep in range(1, moe.experts + 1)
                for etp in {1, tp}
                if moe.experts % ep == 0 and (tp * cp * dp) % (ep * etp) == 0
                and moe.ffn_hidden % etp == 0
            ]  # fmt: skip
        zeros = supports.pipeline_zero if pp > 1 else supports.zero
        groups = [g for g in range(1, dp * cp + 1) if (dp * cp) % g == 0]
        for size in range(1, 33):
            if batch % (dp * size):
                continue
            m = batch // (dp * size)
            depths = [("1f1b", 1)]
            if pp > 1:
                most = model.layers // pp
                depths += [("interleaved", v) for v in range(2, most + 1) if m % pp == 0]
            for (schedule, vpp), zero, group, mode, way, (ep, etp) in itertools.product(
                depths, zeros, groups, modes, ways, experts
            ):
                if zero == 0 and group != dp * cp:
                    continue
                if group * tp % (ep * etp):  # copies of the shards of experts would be no whole
                    continue
                if schedule not in supports.schedules:
                    continue
                layers = [ALL_LAYERS]
                if mode == "full":
                    layers += [float(n) for n in range(1, -(-model.layers // pp))]
                for many in layers:
                    yield (devices, tp, float(tp > 1), cp, CODES["cp_comm"].index(way), pp, vpp,
                           CODES["schedule"].index(schedule), dp, ep, etp, zero, group, size, m,
                           CODES["recompute"].index(mode), many, 0, 0)  # fmt: skip


SMALL = {**GPT, "layers": 4, "hidden": 1024, "ffn_hidden": 4096, "heads": 8, "kv_heads": 8}


@pytest.mark.parametrize("memory_bytes", [14e9, 6e9])
@pytest.mark.parametrize("preset", ["megatron-core", "fsdp-compile"])
@pytest.mark.parametrize(
    ("model", "devices", "batch"),
    [(SMALL, 8, 16), (SMALL, 12, 36), ({**SMALL, "moe": {"experts": 4, "top_k": 2,
                                                        "ffn_hidden": 1024}}, 8, 24)],
    ids=["dense", "twelve", "mixture"],
)  # fmt: skip
def test_the_search_is_no_worse_than_every_combination(model, devices, batch, preset, memory_bytes):
    job = job_of(model=model, devices=devices, batch=batch, preset=preset,
                 hardware={"set": {"memory_bytes": memory_bytes}})  # fmt: skip
    context = context_of(job)
    table = np.array(list(combinations(job, context)), np.float64).T
    dims = ParallelDims.from_columns(dict(zip(ParallelDims.names(), table, strict=False)))
    assert ParallelDims.names()[len(table) - 3 : len(table)] == (
        "recompute_layers", "offload", "lean",
    )  # fmt: skip
    used = np.asarray(training.memory_of(context, dims).total_bytes)
    fit = dims.take(np.flatnonzero(used <= context.memory_limit_bytes))
    assert 0 < len(fit) < len(dims) or memory_bytes > 10e9
    step = np.asarray(training.times_of(context, fit).total_s)
    order = np.argsort(step)[:5]
    singly = [training.cost(context, fit.take(np.array([i]))).at(0).total_s for i in order]
    assert singly == step[order].tolist()
    best = recommend.best_of(recommend.search(job))
    assert best is not None
    assert best.objective <= singly[0] * (1 + 1e-12), training.strategy_of(
        context, fit.take(order[:1]), 0
    )


@pytest.mark.parametrize(("system", "preset"), [("dgx-h100", "megatron-core"),
                                                 ("tpu-v5p", "maxtext")])  # fmt: skip
def test_candidates_are_the_same_every_time(system, preset):
    job = job_of(system=system, preset=preset, devices=32, batch=64)
    (_, first, tally), (_, second, again) = listed(job), listed(job)
    assert tally == again
    assert all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in ParallelDims.names()
    )


def test_ranks_that_the_batch_cannot_feed_may_share_short_sequences():
    """100 sequences on 16 devices have 4 replicas at most: 4 more context ranks, of 64 tokens."""
    assert values(listed(job_of(devices=16, batch=100, sequence=1024))[1], "cp") == [1, 2, 4]
    assert values(listed(job_of(devices=16, batch=64, sequence=1024))[1], "cp") == [1]


def test_a_batch_of_few_divisors_is_cut_by_all_of_them():
    _, dims, _ = listed(job_of(devices=16, batch=100, sequence=1024))
    assert {5.0, 25.0} <= set(values(dims, "micro_batch"))


def test_sequence_parallelism_pinned_alone_asks_for_tensor_ranks():
    dims = listed(job_of(strategy={"sp": True}))[1]
    assert min(dims.tp) > 1
    assert (dims.sp == 1).all()
