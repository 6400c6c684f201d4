"""Pipelines against a plain simulation of the published schedules, microbatch by microbatch."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from costmodels.pipeline import SCHEDULES, bubble_s, in_flight_chunks

GPIPE, ONE_F_ONE_B, INTERLEAVED, ZERO_BUBBLE, DUALPIPE = range(5)
Work = tuple[str, int, int]  # forward or backward, chunk, microbatch


def one_f_one_b(stage: int, stages: int, chunks: int, microbatches: int, warm: int) -> list[Work]:
    """List a stage's work: `warm` forwards, one forward and one backward in turn, the rest."""

    def virtual(k: int, kind: str) -> Work:
        chunk = k % (stages * chunks) // stages
        batch = k // (stages * chunks) * stages + k % stages
        return (kind, chunk if kind == "F" else chunks - 1 - chunk, batch)

    every = microbatches * chunks
    work = [virtual(k, "F") for k in range(min(warm, every))]
    for k in range(every):
        if k + warm < every:
            work.append(virtual(k + warm, "F"))
        work.append(virtual(k, "B"))
    return work


def schedule(kind: int, stages: int, chunks: int, microbatches: int) -> list[list[Work]]:
    """Order of work of every stage, as Narayanan et al. (SC 2021) and Megatron-Core give it."""
    if kind == GPIPE:
        batches = range(microbatches)
        return [[(k, 0, i) for k in "FB" for i in batches] for _ in range(stages)]
    orders = []
    for s in range(stages):
        warm = stages - s - 1
        if kind == INTERLEAVED:
            warm = 2 * (stages - s - 1) + (chunks - 1) * stages
        orders.append(one_f_one_b(s, stages, chunks, microbatches, warm))
    return orders


def before(stage: int, stages: int, chunks: int, work: Work) -> tuple[int, Work] | None:
    """Return what must be done before, and on which stage."""
    kind, chunk, batch = work
    if kind == "F":
        if stage:
            return stage - 1, work
        return (stages - 1, ("F", chunk - 1, batch)) if chunk else None
    if stage < stages - 1:
        return stage + 1, work
    return (0, ("B", chunk + 1, batch)) if chunk < chunks - 1 else (stage, ("F", chunk, batch))


def simulate(
    orders: Sequence[Sequence[Work]], chunks: int, takes: Callable[[int, Work], float]
) -> float:
    """Return the time from the first work to the last, sends being free."""
    done: dict[tuple[int, Work], float] = {}
    free = [0.0] * len(orders)
    left = [list(order) for order in orders]
    while any(left):
        waiting = sum(map(len, left))
        for stage, order in enumerate(left):
            while order:
                first = before(stage, len(orders), chunks, order[0])
                if first is not None and first not in done:
                    break
                work = order.pop(0)
                start = max(free[stage], done[first] if first else 0.0)
                free[stage] = done[stage, work] = start + takes(stage, work)
        assert sum(map(len, left)) < waiting, "the order of work deadlocks"
    return max(free)


def most_held(order: Sequence[Work]) -> int:
    """Chunks of activations held at the fullest moment: forwards begun, backwards not ended."""
    held = most = 0
    for kind, _, _ in order:
        most = max(most, held + 1) if kind == "F" else most
        held += 1 if kind == "F" else -1
    return most


CASES = [
    (kind, stages, chunks, microbatches)
    for kind, chunks in ((GPIPE, 1), (ONE_F_ONE_B, 1), (INTERLEAVED, 2), (INTERLEAVED, 3))
    for stages in (2, 3, 4, 8)
    for microbatches in (stages, 2 * stages, 4 * stages)
]


@pytest.mark.parametrize(("kind", "stages", "chunks", "microbatches"), CASES)
def test_even_stages_are_priced_as_simulated(
    kind: int, stages: int, chunks: int, microbatches: int
) -> None:
    forward, backward = 3.0, 7.0

    def takes(_: int, work: Work) -> float:
        return (forward if work[0] == "F" else backward) / chunks

    simulated = simulate(schedule(kind, stages, chunks, microbatches), chunks, takes)
    others = (stages - 1) * (forward + backward)
    idle = bubble_s(kind, stages, chunks, others, forward, backward, 3.5)
    assert simulated == pytest.approx(microbatches * (forward + backward) + float(idle), rel=1e-12)


@pytest.mark.parametrize(("kind", "stages", "chunks", "microbatches"), CASES)
def test_activations_in_flight_are_what_the_schedule_holds(
    kind: int, stages: int, chunks: int, microbatches: int
) -> None:
    for stage, order in enumerate(schedule(kind, stages, chunks, microbatches)):
        held = in_flight_chunks(kind, stages, stage, chunks, microbatches)
        assert float(held) == most_held(order)


def uneven(kind: int, forwards: Sequence[float], microbatches: int) -> tuple[float, float]:
    """Return the simulated and the priced time of stages that take `forwards`, twice that back."""

    def takes(stage: int, work: Work) -> float:
        return forwards[stage] * (1.0 if work[0] == "F" else 2.0)

    slowest = max(forwards)
    idle = bubble_s(
        kind, len(forwards), 1, 3.0 * (sum(forwards) - slowest), slowest, 2.0 * slowest, slowest
    )
    simulated = simulate(schedule(kind, len(forwards), 1, microbatches), 1, takes)
    return simulated, 3.0 * slowest * microbatches + float(idle)


@pytest.mark.parametrize("forwards", [(1.0, 1.3), (1.0, 1.0, 1.0, 1.4), (1.2, 1.0, 1.1, 1.0, 1.5)])
@pytest.mark.parametrize("kind", [GPIPE, ONE_F_ONE_B])
def test_a_slow_last_stage_is_priced_as_simulated(kind: int, forwards: Sequence[float]) -> None:
    for microbatches in (1, 5, 20):
        simulated, priced = uneven(kind, forwards, microbatches)
        assert priced == pytest.approx(simulated, rel=1e-12)


@pytest.mark.parametrize("forwards", [(1.3, 1.0), (1.3, 1.0, 1.0, 1.0), (1.0, 1.5, 1.0, 1.2, 1.0)])
def test_a_slow_early_stage_is_never_priced_too_short_and_little_too_long(
    forwards: Sequence[float],
) -> None:
    for microbatches in (8, 32):
        simulated, priced = uneven(ONE_F_ONE_B, forwards, microbatches)
        assert simulated <= priced <= 1.15 * simulated
    assert uneven(GPIPE, forwards, 8)[1] == pytest.approx(uneven(GPIPE, forwards, 8)[0], rel=1e-12)


def test_zero_bubble_of_the_paper() -> None:
    # Qi et al. 2023, table 2: ZB-H1 idles (p - 1)(T_F + T_B - T_W), T_B there without T_W.
    forward, inputs, weights = 18.5, 18.1, 9.3
    idle = bubble_s(
        ZERO_BUBBLE, 8, 1, 7 * (forward + inputs + weights), forward, inputs + weights, weights
    )
    assert float(idle) == pytest.approx(7 * (forward + inputs - weights), rel=1e-12)


def test_equal_passes_leave_zero_bubble_a_third_of_1f1b() -> None:
    # F = B = W: (p - 1) F of (p - 1) 3 F, the paper's headline
    assert float(bubble_s(ZERO_BUBBLE, 4, 1, 9.0, 1.0, 2.0, 1.0)) == pytest.approx(3.0)


def test_dualpipe_of_the_paper() -> None:
    # DeepSeek-V3, table 2: (p/2 - 1)(FB + B - 3W), with FB = F + W as our note assumes.
    forward, backward, weights, stages = 4.0, 9.0, 4.0, 16
    both = forward + weights
    published = (stages / 2 - 1) * (both + backward - 3 * weights)
    others = (stages - 1) * (forward + backward)
    idle = bubble_s(DUALPIPE, stages, 1, others, forward, backward, weights)
    assert float(idle) == pytest.approx(published, rel=1e-12)
    assert float(bubble_s(DUALPIPE, 2, 1, others, forward, backward, weights)) == 0.0


def test_dualpipe_holds_one_more_than_its_stages_everywhere() -> None:
    # DeepSeek-V3, table 2: PP + 1 activations on every rank
    held = in_flight_chunks(DUALPIPE, 16.0, np.arange(16.0), 1.0, 64.0)
    assert np.asarray(held).tolist() == [17.0] * 16


def test_few_microbatches_bound_what_is_held() -> None:
    for kind in range(len(SCHEDULES)):
        chunks = 3 if kind == INTERLEAVED else 1
        assert float(in_flight_chunks(kind, 16, 0, chunks, 2)) <= 2 * chunks


@pytest.mark.parametrize("kind", range(len(SCHEDULES)))
def test_one_stage_does_not_wait(kind: int) -> None:
    assert float(bubble_s(kind, 1, 1, 0.0, 1.0, 2.0, 1.0)) == 0.0


def test_no_work_no_bubble() -> None:
    assert [float(bubble_s(kind, 4, 1, 0.0, 0.0, 0.0, 0.0)) for kind in range(5)] == [0.0] * 5


def test_schedules_are_the_contracts() -> None:
    assert SCHEDULES == ("gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe")
