"""Bytes by axis and level: what a device sends in a step, by hand."""

import pytest
from rows import GPT, context_of, job_of, row

from planner.workloads.training.traffic import traffic

TOKENS, H, LAYERS = 2048, 2048, 8


def sent(context, **strategy):
    """Return {(axis, level): bytes}."""
    entries = traffic(context, row(context, **strategy))
    assert all(e["bytes"] > 0 for e in entries)
    found = {(e["axis"], e["level"]): e["bytes"] for e in entries}
    assert len(found) == len(entries)
    return found


def test_one_device_sends_nothing():
    assert sent(context_of(job_of(devices=1, batch=8))) == {}


def test_tensor_parallel_bytes_of_a_step():
    context = context_of(job_of(devices=8, batch=16))
    found = sent(context, tp=8)
    # two all-reduces of a microbatch's activations in each pass of each layer, 16 microbatches,
    # one behind the embedding and one for the gradient behind the logits
    message = TOKENS * H * 2
    assert found == {("tp", "node"): pytest.approx(16 * (4 * LAYERS + 2) * 2 * 7 / 8 * message)}


def test_what_is_recomputed_is_exchanged_again():
    context = context_of(job_of(devices=8, batch=16))
    plain, again = (sent(context, tp=8, recompute=mode)["tp", "node"] for mode in ("none", "full"))
    assert again / plain == pytest.approx((6 * LAYERS + 2) / (4 * LAYERS + 2))


def test_of_single_modules_the_mixture_alone_exchanges_its_tokens_again():
    model = {**GPT, "moe": {"experts": 8, "top_k": 2, "ffn_hidden": 2048}}
    context = context_of(job_of(model=model, devices=8, batch=16))
    plain, light, whole = (
        sent(context, ep=8, tp=2, recompute=modules)
        for modules in ("none", ("moe_act", "layernorm"), ("moe", "layernorm"))
    )
    assert light == plain
    assert whole["ep", "node"] / plain["ep", "node"] == pytest.approx(3 / 2)
    assert whole["tp", "node"] == plain["tp", "node"]  # experts are not split by tp


def test_the_stage_that_sends_most_counts():
    """Of four stages the first looks up and the last scores: one more all-reduce than others."""
    context = context_of(job_of(devices=8, batch=16))
    found = sent(context, tp=2, pp=4)
    message = TOKENS * H * 2
    assert found["tp", "node"] == pytest.approx(16 * (4 * LAYERS / 4 + 1) * message)


def test_gradients_leave_the_node_less_than_they_move_inside_it():
    """Of an all-reduce over 8 x 4 ranks: 7/8 inside, then a rank's eighth between the nodes."""
    context = context_of(job_of(devices=32, batch=64))
    found = sent(context, zero=1)
    inside, outside = found["dp", "node"], found["dp", "cluster"]
    assert outside / inside == pytest.approx((3 / 4 / 8) / (7 / 8))
    parameters = sum(b.count * b.weights() for b in context.graph.blocks)
    assert inside + outside == pytest.approx(31 / 32 * parameters * (2 + 2), rel=1e-9)


def test_stages_send_activations_on_and_gradients_back():
    context = context_of(job_of(devices=8, batch=32))
    one = sent(context, pp=8)
    assert one == {("pp", "node"): pytest.approx(2 * 32 * TOKENS * H * 2)}
    two = sent(context, pp=4, vpp=2, schedule="interleaved", dp=2.0)
    assert two["pp", "node"] == pytest.approx(2 * 16 * 2 * TOKENS * H * 2)


def test_each_of_two_stages_sends_one_way():
    context = context_of(job_of(devices=2, batch=32))
    assert sent(context, pp=2) == {("pp", "node"): pytest.approx(32 * TOKENS * H * 2)}


def test_experts_and_context_have_their_own_lines():
    model = {**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}}
    context = context_of(job_of(model=model, devices=32, batch=32))
    axes = {axis for axis, _ in sent(context, ep=16, cp=2)}
    assert axes == {"ep", "cp", "dp"}


def test_copies_of_shards_meet_beyond_the_node():
    context = context_of(job_of(devices=32, batch=64))
    found = sent(context, zero=1, zero_group=8)
    parameters = sum(b.count * b.weights() for b in context.graph.blocks)
    assert found["dp", "node"] == pytest.approx(7 / 8 * parameters * (2 + 2), rel=1e-9)
    assert found["dp", "cluster"] == pytest.approx(2 * 3 / 4 * parameters / 8 * 2, rel=1e-9)


def test_wider_data_parallelism_sends_less_of_the_rest_and_as_much_of_the_gradients():
    context = context_of(job_of(devices=8, batch=64))
    wide, narrow = sent(context, tp=2), sent(context, tp=4)
    assert narrow["tp", "node"] == pytest.approx(wide["tp", "node"] * 2 * (3 / 4) / (1 / 2))
    assert narrow["dp", "node"] < wide["dp", "node"]
