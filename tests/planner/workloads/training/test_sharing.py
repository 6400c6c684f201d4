"""Gradients and parameters between replicas, against the ZeRO paper's volumes and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows import GPT, context_of, job_of, row, taken

from costmodels import collectives
from planner.workloads.training.exchange import axis_span
from planner.workloads.training.sharing import sent_bytes, share
from planner.workloads.training.states import Fullest

PSI = 1e9
ONE = Fullest(PSI, 0.0, 0.0)
SECONDS = st.integers(0, 40).map(lambda n: n / 20)


def shared(context, dims, *, forward_s=0.0, backward_s=0.0, layers=8.0, parameters=ONE):
    return share(context, dims, parameters, forward_s, backward_s, np.array([layers]))


@pytest.mark.parametrize(("zero", "psi"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_volume_of_the_zero_paper(zero, psi):
    """Rajbhandari et al. 2020, section 7: 2 psi elements as without ZeRO, 3 psi with stage 3."""
    context = context_of(job_of(devices=8, batch=8))  # one microbatch
    assert sent(context, row(context, zero=zero)) == pytest.approx(psi * PSI * 2 * 7 / 8, rel=1e-12)


def sent(context, dims, parameters=ONE):
    return sum(taken(part) for part in sent_bytes(context, dims, parameters).values())


def test_shards_with_copies_send_less_than_one_ring_of_all():
    """Scattered over 4 ranks, reduced over the 8 that hold the same shard, gathered over 4."""
    context = context_of(job_of(devices=32))
    found = sent_bytes(context, row(context, zero=1, zero_group=4), ONE)
    whole = 2 * PSI
    assert {group: taken(part) for group, part in found.items()} == {
        "replicas": 0.0,
        "shards": pytest.approx(2 * 3 / 4 * whole),
        "copies": pytest.approx(2 * 7 / 8 * whole / 4),
    }


def test_frozen_weights_are_sent_to_be_gathered_alone():
    context = context_of(job_of(devices=8, batch=8))
    frozen = Fullest(0.0, 0.0, PSI)
    assert sent(context, row(context, zero=2), frozen) == 0.0
    wanted = 2 * 7 / 8 * PSI * context.frozen_bytes
    assert sent(context, row(context, zero=3), frozen) == pytest.approx(wanted)


def test_plain_data_parallelism_is_one_all_reduce():
    context = context_of(job_of(devices=16, batch=64))
    dims = row(context, zero=0)
    made = shared(context, dims)
    buckets = PSI / 40e6
    span = axis_span(context, dims, "replicas")
    wanted = buckets * taken(collectives.all_reduce_s(PSI * context.gradient_bytes / buckets, span))
    assert taken(made.reduce_exposed_s) == pytest.approx(wanted, rel=1e-9)
    assert taken(made.gather_exposed_s) == 0.0


def test_sharding_over_one_rank_costs_nothing():
    context = context_of(job_of(devices=1, batch=8))
    for zero in range(4):
        made = shared(context, row(context, zero=zero))
        assert taken(made.reduce_exposed_s) == taken(made.gather_exposed_s) == 0.0
        assert sent(context, row(context, zero=zero)) == 0.0


@given(
    st.sampled_from(["megatron-core", "fsdp-compile", "fsdp-eager"]), st.integers(0, 3),
    st.floats(0.0, 5.0), st.floats(0.0, 5.0),
)  # fmt: skip
def test_seconds_are_exposed_or_hidden_and_never_lost(preset, zero, forward_s, backward_s):
    context = context_of(job_of(devices=32, batch=64, preset=preset))
    dims = row(context, zero=zero)
    alone = shared(context, dims)
    beside = shared(context, dims, forward_s=forward_s, backward_s=backward_s)
    for what in ("reduce", "gather"):
        whole = taken(getattr(alone, f"{what}_exposed_s"))
        shown = taken(getattr(beside, f"{what}_exposed_s"))
        hidden = taken(getattr(beside, f"{what}_hidden_s"))
        assert shown + hidden == pytest.approx(whole, rel=1e-9, abs=1e-15)
        assert shown >= 0.0
        assert hidden >= 0.0


@given(
    st.sampled_from(["megatron-core", "fsdp-compile"]), st.integers(0, 3),
    SECONDS, SECONDS, SECONDS, st.booleans(),
)  # fmt: skip
def test_a_second_of_compute_hides_at_most_a_second(preset, zero, forward, backward, less, first):
    """Else a faster chip would be slower: what one pass hides, it hides for one exchange only."""
    context = context_of(job_of(devices=32, batch=32, preset=preset,
                                hardware={"set": {"inter_node_bytes_per_s": 2e10}}))  # fmt: skip
    dims = row(context, zero=zero)
    big = Fullest(10 * PSI, 0.0, 0.0)

    def step(forward_s, backward_s):
        made = shared(context, dims, forward_s=forward_s, backward_s=backward_s, parameters=big)
        shown = taken(made.reduce_exposed_s) + taken(made.gather_exposed_s)
        return forward_s + backward_s + shown

    f = max(0.0, forward - less) if first else forward
    b = backward if first else max(0.0, backward - less)
    assert step(f, b) <= step(forward, backward) * (1 + 1e-12)


def test_a_group_inside_a_node_reduces_inside_and_then_across():
    context = context_of(job_of(devices=64, batch=64))
    whole = shared(context, row(context, zero=3))
    inside = shared(context, row(context, zero=3, zero_group=8))
    # parameters are gathered over NVLink only; gradients still reach every replica
    assert taken(inside.gather_exposed_s) < taken(whole.gather_exposed_s)
    assert taken(inside.reduce_exposed_s) > 0.0


@pytest.mark.parametrize("preset", ["fsdp-compile", "megatron-core"])
@pytest.mark.parametrize(
    ("zero", "reduces", "gathers"), [(1, 1.0, 1.0), (2, 4.0, None), (3, 4.0, 4.0)]
)
def test_sharded_gradients_and_parameters_are_paid_for_every_microbatch(
    preset, zero, reduces, gathers
):
    context = context_of(job_of(devices=8, batch=32, preset=preset))
    one, four = (shared(context, row(context, zero=zero, micro_batch=m)) for m in (4, 1))
    if gathers is None:  # Megatron keeps the parameters of zero 2 whole
        gathers = 1.0 if context.stack.family.keeps_whole else 4.0
    assert taken(four.reduce_exposed_s) == pytest.approx(reduces * taken(one.reduce_exposed_s))
    assert taken(four.gather_exposed_s) == pytest.approx(gathers * taken(one.gather_exposed_s))


def test_by_units_copies_of_the_shards_reduce_once_a_step():
    """8 nodes with a copy each: 4 microbatches scatter inside, and one all-reduce goes across."""
    context = context_of(job_of(devices=64, batch=256))
    dims = row(context, zero=3, zero_group=8)
    gradients = PSI * context.gradient_bytes / 8.0  # a layer's, of 8
    scatter = collectives.reduce_scatter_s(gradients, axis_span(context, dims, "shards"))
    across = collectives.all_reduce_s(gradients / 8.0, axis_span(context, dims, "copies"))
    wanted = 8.0 * (4.0 * taken(scatter) + taken(across))
    assert taken(shared(context, dims).reduce_exposed_s) == pytest.approx(wanted, rel=1e-9)
    sends = {name: taken(part) for name, part in sent_bytes(context, dims, ONE).items()}
    assert sends["shards"] == pytest.approx(4 * 7 / 8 * PSI * (2 + 4))
    assert sends["copies"] == pytest.approx(2 * 7 / 8 * PSI * 2 / 8)


def test_parameters_are_gathered_twice_under_zero_3():
    context = context_of(job_of(devices=8, batch=8))
    buckets = PSI / 40e6  # as many messages as layers
    once = taken(shared(context, row(context, zero=2), layers=buckets).gather_exposed_s)
    twice = taken(shared(context, row(context, zero=3), layers=buckets).gather_exposed_s)
    assert twice == pytest.approx(2 * once, rel=1e-9)


def test_frozen_weights_are_gathered_and_never_reduced():
    context = context_of(job_of(devices=8, preset="fsdp-compile", workload={"task": "lora"}))
    trained, both = Fullest(1e7, 0.0, 0.0), Fullest(1e7, 0.0, PSI)

    def seconds(zero, parameters):
        made = shared(context, row(context, zero=zero), parameters=parameters)
        return taken(made.gather_exposed_s), taken(made.reduce_exposed_s)

    assert seconds(3, both)[0] > 10 * seconds(3, trained)[0]
    assert seconds(3, both)[1] == seconds(3, trained)[1]
    assert seconds(2, both) == seconds(2, trained)


def test_experts_are_reduced_among_their_own_copies():
    model = {**GPT, "moe": {"experts": 16, "top_k": 2, "ffn_hidden": 1024}}
    context = context_of(job_of(model=model, devices=32, batch=64))
    experts = Fullest(0.0, PSI, 0.0)
    apart = sent(context, row(context, zero=1, ep=16), experts)
    copied = sent(context, row(context, zero=1, ep=1), experts)
    # 2 copies of an expert against 32: less to send, and the same gradients to each
    assert apart == pytest.approx(2 * PSI * 2 * 1 / 2)
    assert copied == pytest.approx(2 * PSI * 2 * 31 / 32)
