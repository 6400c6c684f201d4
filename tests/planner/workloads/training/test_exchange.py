"""Who talks to whom and how much: groups by enumerated ranks, bytes by published counts."""

import itertools

import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.workloads.training.exchange import (
    axis_span,
    inside_block,
    stage_boundary_s,
    tensor_calls,
)
from planner.workloads.training.groups import segments

MOE = {**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}}
MESH = {"tp": 2, "cp": 2, "pp": 4, "zero": 3, "zero_group": 16, "ep": 8, "etp": 1}
TOKENS = 2048


def members(context, dims, axis):
    """Device numbers of the group of `axis` around device 0, from its segments."""
    ranks = [0]
    for degree, stride in segments(dims, axis):
        steps = [int(i * taken(stride)) for i in range(int(taken(degree)))]
        ranks = [r + s for s in steps for r in ranks]
    return sorted(ranks)


def numbered(mesh):
    """Device number of every coordinate, innermost axis first: tp, cp, dp, pp."""
    sizes = [mesh[a] for a in ("tp", "cp", "dp", "pp")]
    found = {}
    for number, at in enumerate(itertools.product(*(range(s) for s in reversed(sizes)))):
        found[tuple(reversed(at))] = number
    return found


def test_groups_of_the_contract_s_case_are_the_enumerated_ranks():
    context = context_of(job_of(model=MOE, devices=512, batch=512))
    dims = row(context, **MESH)
    number = numbered({**MESH, "dp": 32})
    replicas = [number[0, c, d, 0] for d in range(32) for c in range(2)]
    stage = [number[t, c, d, 0] for d in range(32) for c in range(2) for t in range(2)]
    wanted = {
        "tp": [number[t, 0, 0, 0] for t in range(2)],
        "cp": [number[0, c, 0, 0] for c in range(2)],
        "dp": [number[0, 0, d, 0] for d in range(32)],
        "pp": [number[0, 0, 0, p] for p in range(4)],
        "replicas": replicas,
        "shards": replicas[:16],
        "copies": replicas[::16],
        "ep": stage[:8],
        "etp": stage[:1],
        "expert replicas": stage[::8],
        "expert shards": stage[::8][:4],
        "expert copies": stage[::8][::4],
    }
    for axis, ranks in wanted.items():
        assert members(context, dims, axis) == sorted(ranks), axis


@pytest.mark.parametrize("order", [("tp", "cp", "dp", "pp"), ("cp", "tp", "pp", "dp")])
def test_groups_follow_the_mesh_order(order):
    context = context_of(job_of(devices=64, batch=64))
    dims = row(context, tp=2, cp=2, pp=2, order=order)
    sizes = {"tp": 2, "cp": 2, "pp": 2, "dp": 8}
    stride = 1
    for axis in order:
        assert members(context, dims, axis) == [i * stride for i in range(sizes[axis])]
        stride *= sizes[axis]


@pytest.mark.parametrize(
    ("axis", "inside", "outside"), [("tp", 2, 1), ("cp", 2, 1), ("dp", 2, 16), ("ep", 8, 1)]
)
def test_ranks_by_level_on_nodes_of_eight(axis, inside, outside):
    context = context_of(job_of(model=MOE, devices=512, batch=512))
    span = axis_span(context, row(context, **MESH), axis)
    assert [taken(hop.ranks) for hop in span] == [inside, outside]


def test_tensor_parallel_bytes_are_megatron_s():
    """Shoeybi et al. 2019: two all-reduces of b s h in each pass of a layer.

    With sequence parallelism an all-gather and a reduce-scatter each: the same bytes.
    """
    context = context_of(job_of(devices=8, batch=64))
    block = context.layer_blocks[0]
    message = 2 * TOKENS * GPT["hidden"] * 2
    for sp in (0.0, 1.0):
        dims = row(context, tp=8, sp=sp, micro_batch=2)
        for phase in ("forward", "backward"):
            sent = inside_block(context, block, dims, phase)["tp"].sent_bytes
            assert taken(sent) == pytest.approx(2 * 2 * 7 / 8 * message)
    single = inside_block(context, block, row(context), "forward")
    assert all(taken(t.seconds) == 0 and taken(t.sent_bytes) == 0 for t in single.values())


@pytest.mark.parametrize(("tp", "sp", "calls"), [(1, False, 0), (4, False, 2), (4, True, 4)])
def test_each_pair_of_split_products_is_an_all_reduce_or_a_gather_and_a_scatter(tp, sp, calls):
    context = context_of(job_of(devices=8, batch=8))
    layer, ends = (
        next(b for b in context.graph.blocks if bool(b.layers) is layers)
        for layers in (True, False)
    )
    dims = row(context, tp=tp, sp=sp)
    assert taken(tensor_calls(layer, dims)) == calls  # attention and MLP
    assert taken(tensor_calls(ends, dims)) == calls / 4  # the embedding is half a pair


def test_context_parallel_bytes_by_exchange():
    """A ring sends K and V cp - 1 times (backward: with their gradients); Ulysses swaps Q K V O."""
    model = {**GPT, "kv_heads": 4}
    context = context_of(job_of(model=model, devices=32, batch=64))
    block = context.layer_blocks[0]
    local = TOKENS / 4
    keys_values = local * 2 * 4 * 128 * 2
    everything = local * (2 * 2048 + 2 * 4 * 128) * 2

    def sent(how, phase):
        dims = row(context, cp=4, cp_comm=how)
        return taken(inside_block(context, block, dims, phase)["cp"].sent_bytes)

    assert sent("p2p", "forward") == pytest.approx(3 * keys_values)
    assert sent("p2p", "backward") == pytest.approx(6 * keys_values)
    assert sent("all-gather", "forward") == pytest.approx(3 * keys_values)
    assert sent("a2a", "forward") == sent("a2a", "backward") == pytest.approx(3 / 4 * everything)


def test_inside_one_node_the_mixed_exchange_is_ulysses():
    context = context_of(job_of(devices=8, batch=64))
    block = context.layer_blocks[0]
    mixed, plain = (
        inside_block(context, block, row(context, cp=4, cp_comm=how), "forward")["cp"]
        for how in ("a2a+p2p", "a2a")
    )
    assert taken(mixed.seconds) == pytest.approx(taken(plain.seconds), rel=1e-12)
    assert taken(mixed.sent_bytes) == pytest.approx(taken(plain.sent_bytes), rel=1e-12)


def test_experts_get_each_token_top_k_times():
    context = context_of(job_of(model=MOE, devices=16, batch=64))
    block = context.layer_blocks[0]
    for tp in (1, 2):
        dims = row(context, ep=8, tp=tp)
        message = TOKENS / tp * 2 * 2048 * 2
        found = inside_block(context, block, dims, "forward")["ep"]
        assert taken(found.sent_bytes) == pytest.approx(2 * 7 / 8 * message)


def test_experts_across_nodes_are_slower_than_inside_one():
    context = context_of(job_of(model=MOE, devices=64, batch=64))
    block = context.layer_blocks[0]
    inside, across = (
        taken(inside_block(context, block, row(context, ep=ep), "forward")["ep"].seconds)
        for ep in (8, 16)
    )
    assert across > 1.5 * inside


def test_a_stage_sends_its_tokens_on():
    context = context_of(job_of(devices=64, batch=64))
    for sp, split in ((0.0, 1), (1.0, 2)):
        dims = row(context, tp=2, pp=4, sp=sp, cp=2, micro_batch=2)
        sent = stage_boundary_s(context, dims).sent_bytes
        assert taken(sent) == 2 * TOKENS / 2 * 2048 * 2 / split
    assert taken(stage_boundary_s(context, row(context)).seconds) == 0.0


def test_a_pinned_algorithm_is_priced_and_auto_is_the_cheapest():
    seconds = {}
    for name in ("auto", "ring", "tree", "hierarchical", "in-switch"):
        pinned = {"collectives": {"tp": name}} if name != "auto" else {}
        context = context_of(job_of(devices=8, strategy={**pinned, "tp": 8}))
        dims = row(context, tp=8, sp=0.0)
        block = context.layer_blocks[0]
        seconds[name] = taken(inside_block(context, block, dims, "forward")["tp"].seconds)
    assert seconds["auto"] == min(seconds.values())
    assert len(set(seconds.values())) >= 3
