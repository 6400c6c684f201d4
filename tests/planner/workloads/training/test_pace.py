"""The pace of a pipeline: the slowest stage, the bubble, microbatches."""

import pytest
from rows import GPT, context_of, job_of, row, taken

from planner.workloads.training import stages, states
from planner.workloads.training.pace import pace_of
from planner.workloads.training.staging import Staging

SMALL_ENDS = {**GPT, "layers": 16, "hidden": 8192, "ffn_hidden": 32768, "heads": 64, "kv_heads": 64,
              "vocab": 256}  # fmt: skip


def paced(context, layout=None, **strategy):
    if layout:
        context, strategy["staging"] = context.staged(Staging(layout))
    dims = row(context, **strategy)
    slots = stages.slots_of(context.kinds, dims, context.stagings)
    made = pace_of(context, dims, slots, states.parameters_of(context, dims, slots))
    return made, {t.name: taken(t.time_s) for t in made.terms}


def rest(named):
    return sum(s for name, s in named.items() if name != "pipeline bubble")


def test_without_a_pipeline_there_is_no_bubble_and_nothing_is_sent():
    context = context_of(job_of())
    _, named = paced(context)
    assert named["pipeline bubble"] == named["stage boundary sends"] == 0.0


@pytest.mark.parametrize(("pp", "m"), [(2, 8), (4, 16), (8, 8)])
def test_the_bubble_of_even_stages_is_p_minus_1_over_m(pp, m):
    """Narayanan et al., SC 2021, section 2.2: (p - 1)/m; a head of nothing makes stages even."""
    context = context_of(job_of(model=SMALL_ENDS, devices=pp, batch=m))
    _, named = paced(context, pp=pp)
    share = named["pipeline bubble"] / rest(named)
    assert share == pytest.approx((pp - 1) / m, rel=0.05)


def test_virtual_stages_divide_the_bubble():
    context = context_of(job_of(model=SMALL_ENDS, devices=4, batch=16))
    _, plain = paced(context, pp=4)
    for vpp in (2, 4):
        _, interleaved = paced(context, pp=4, vpp=vpp, schedule="interleaved")
        ratio = plain["pipeline bubble"] / interleaved["pipeline bubble"]
        assert ratio == pytest.approx(vpp, rel=0.05)
        sends = interleaved["stage boundary sends"] / plain["stage boundary sends"]
        assert sends == pytest.approx(vpp, rel=1e-12)


def test_schedules_are_ordered_by_their_bubbles():
    context = context_of(job_of(devices=8, batch=16))
    bubbles = [
        paced(context, pp=8, schedule=s)[1]["pipeline bubble"]
        for s in ("1f1b", "gpipe", "zero-bubble", "dualpipe")
    ]
    assert bubbles[0] == bubbles[1] > bubbles[2] > bubbles[3] >= 0.0


def test_work_grows_with_the_microbatches():
    context = context_of(job_of(devices=4, batch=32))
    _, one = paced(context, pp=4, batch=None, microbatches=8.0)
    _, two = paced(context, pp=4, batch=None, microbatches=16.0)
    for name, seconds in one.items():
        factor = 1.0 if name == "pipeline bubble" else 2.0
        assert two[name] == pytest.approx(factor * seconds, rel=1e-12), name


def test_gradients_are_accumulated_only_over_several_microbatches():
    context = context_of(job_of(devices=8, batch=16))
    assert paced(context, micro_batch=2)[1]["gradient accumulation"] == 0.0
    assert paced(context, micro_batch=1)[1]["gradient accumulation"] > 0.0


def test_the_slowest_stage_sets_the_pace():
    """One stage with 10 of 16 layers: its products are what the terms show."""
    context = context_of(job_of(model=SMALL_ENDS, devices=4, batch=16))
    even, _ = paced(context, (4, 4, 4, 4), pp=4)
    tall, named = paced(context, (2, 10, 2, 2), pp=4)
    assert taken(even.layers) == 4
    assert taken(tall.layers) == 10
    _, alone = paced(context, (4, 4, 4, 4), pp=4)
    assert named["matrix products, forward"] == pytest.approx(
        2.5 * alone["matrix products, forward"], rel=1e-9
    )


def test_a_large_vocabulary_makes_the_last_stage_the_slowest():
    context = context_of(job_of(model={**GPT, "vocab": 512000}, devices=4, batch=16))
    _, named = paced(context, pp=4)
    assert named["embedding, logits and loss"] > named["matrix products, forward"]


def test_recomputing_some_layers_costs_their_share():
    context = context_of(job_of(devices=8, batch=64))
    _, every = paced(context, recompute="full")
    for layers in (2, 5):
        _, some = paced(context, recompute="full", recompute_layers=float(layers))
        assert some["recomputation"] == pytest.approx(layers / 8 * every["recomputation"])
        assert rest(some) - some["recomputation"] == pytest.approx(
            rest(every) - every["recomputation"]
        )
