"""Pipelines: idle time by schedule, and microbatches in flight by stage.

A schedule is known by its code, the index into `SCHEDULES`. Knows stages and seconds; nothing of
layers.
"""

import numpy as np

from costmodels.units import Num

__all__ = ["SCHEDULES", "bubble_s", "in_flight_chunks"]

SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero-bubble", "dualpipe")
GPIPE, ONE_F_ONE_B, INTERLEAVED, ZERO_BUBBLE, DUALPIPE = range(5)


def bubble_s(
    schedule: Num,
    stages: Num,
    chunks: Num,
    others_s: Num,
    forward_s: Num,
    backward_s: Num,
    weight_s: Num,
) -> Num:
    """Idle seconds of the slowest stage: filling and draining the pipeline.

        gpipe, 1f1b   sum over the other stages of (forward + backward) of one microbatch
        interleaved   that, divided by the chunks of a stage
        zero-bubble   that, times (F + B - 2 W) / (F + B)
        dualpipe      that, times (p/2 - 1)/(p - 1) (F + B - 2 W) / (F + B), never below zero

    Parameters
    ----------
    schedule   : code into SCHEDULES
    stages     : p
    chunks     : v, virtual stages per stage
    others_s   : sum over all stages but the slowest of their time for one microbatch
    forward_s, backward_s : F, B of the slowest stage; B includes W and recomputation
    weight_s   : W, the part of B that computes gradients of weights

    Notes
    -----
    With even stages the first line is (p - 1)(F + B). A simulation of 1f1b gives the same where
    the last stage is the slowest, and up to 15% less for the whole step where an early one is.
    dualpipe's published form is (p/2 - 1)(FB + B - 3W) with FB a forward and a backward
    overlapped; FB = F + B - (B - W) is assumed, which gives the line above.
    Source: Narayanan et al., SC 2021; Qi et al., Zero Bubble, 2023 (ZB-H1); DeepSeek-V3, 2024.
    """
    both = forward_s + backward_s
    free = np.maximum(0.0, both - 2.0 * weight_s) / np.where(both > 0, both, 1.0)
    halves = np.maximum(0.0, stages / 2.0 - 1.0) / np.maximum(1.0, stages - 1.0)
    scale = np.where(schedule == INTERLEAVED, 1.0 / chunks, 1.0)
    scale = np.where(schedule == ZERO_BUBBLE, free, scale)
    scale = np.where(schedule == DUALPIPE, halves * free, scale)
    return others_s * scale


def in_flight_chunks(schedule: Num, stages: Num, stage: Num, chunks: Num, microbatches: Num) -> Num:
    """Chunks of activations that a stage holds at its fullest moment.

        gpipe        m v
        1f1b         min(m, p - s)
        interleaved  min(m v, 2 (p - s - 1) + (v - 1) p + 1)
        zero-bubble  as 1f1b
        dualpipe     min(m, p + 1) of half-size stages held twice: counted as p + 1

    Parameters
    ----------
    stage : s, 0 is the first

    Notes
    -----
    A chunk is the layers of one virtual stage: a stage's layers over `chunks`.
    Source: Narayanan et al., SC 2021, section 2.2; Megatron-Core's warm-up counts.
    """
    m, p, s, v = microbatches, stages, stage, chunks
    held = np.minimum(m, p - s)
    held = np.where(schedule == GPIPE, m * v, held)
    warm = 2.0 * (p - s - 1.0) + (v - 1.0) * p + 1.0
    held = np.where(schedule == INTERLEAVED, np.minimum(m * v, warm), held)
    return np.where(schedule == DUALPIPE, np.minimum(m, p + 1.0), held)
