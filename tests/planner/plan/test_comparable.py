"""Intervals rest on comparable runs, widen with what is unlike them, and say so."""

import dataclasses
import math

import numpy as np
import pytest
from rows import context_of, job_of, row

from hardware_profiles.residuals import Residuals, load_residuals
from planner.plan.comparable import Interval, Likeness, interval, likeness, scale, unlike


def figure(value):
    return {"value": value, "basis": "fitted", "source": "test"}


def cell(**given):
    made = {"family": "megatron", "chip": "hopper", "precision": "bf16", "experts": False,
            "runs": 40, "sources": ["a", "b"], "devices": 64}  # fmt: skip
    return {**made, **given}


WIDER = {"experts": 1.5, "lora": 1.2, "offload": 1.4, "function": 1.6, "chip": 2.0, "stack": 1.7,
         "precision": 1.3, "stack on chip": 1.25, "doublings": 1.1, "relative": 1.4}  # fmt: skip
KNOWN = Residuals.model_validate({
    "coverage": 0.9, "scale": figure(0.1), "families": {"megatron": figure(1.0)},
    "wider": {k: figure(v) for k, v in WIDER.items()}, "above": figure(2.0), "below": figure(3.0),
    "cells": [cell(), cell(experts=True, precision="fp8", runs=9, sources=["b"]),
              cell(family="fsdp", chip="ampere", devices=512)],
})  # fmt: skip
SEEN = Likeness("megatron", "hopper", "bf16", 64.0)


def test_ends_are_quantiles_in_scales_to_their_own_sides():
    made = interval(SEEN, KNOWN)
    assert made.low == pytest.approx(math.exp(-0.2))  # predictions are too high by two scales
    assert made.high == pytest.approx(math.exp(0.3))
    assert made.around(10.0) == [10.0 * made.low, 10.0 * made.high]
    assert made.basis == "90% of 40 runs of 2 left-out sources: megatron, hopper, dense"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"experts": True}, {"experts": 1.0}),
        ({"lora": True, "offload": True}, {"lora": 1.0, "offload": 1.0}),
        ({"chip": "volta"}, {"chip": 1.0}),
        ({"chip": "ampere"}, {"stack on chip": 1.0}),
        ({"precision": "fp4"}, {"precision": 1.0}),
        ({"family": "xla"}, {"stack": 1.0}),
        ({"devices": 256.0}, {"doublings": 2.0}),
        ({"devices": 8.0}, {}),
        ({"function": True}, {"function": 1.0}),
        ({"relative": True}, {"relative": 1.0}),
    ],
)
def test_what_is_unlike_the_runs_widens_by_its_factor(change, found):
    plan = Likeness(**{**{f: getattr(SEEN, f) for f in SEEN.__slots__}, **change})
    assert unlike(plan, KNOWN.cells) == found
    factor = np.prod([WIDER[name] ** much for name, much in found.items()])
    assert scale(plan, found, KNOWN) == pytest.approx(0.1 * factor)
    wide, narrow = interval(plan, KNOWN), interval(SEEN, KNOWN)
    assert wide.high / wide.low >= narrow.high / narrow.low


def test_the_sentence_names_what_widens():
    plan = Likeness("megatron", "volta", "bf16", 256.0, lora=True)
    text = interval(plan, KNOWN).basis
    assert text == (
        "90% of 49 runs of 2 left-out sources: megatron; wider for low-rank adapters, no run on"
        " this kind of chip, 4x the devices of any megatron run"
    )
    assert "every stack" in interval(Likeness("new", "hopper", "bf16", 8.0), KNOWN).basis


def test_the_chance_goes_through_both_ends_and_the_middle():
    made = Interval(0.8, 1.5, 0.9, "")
    assert made.chance(0.8) == pytest.approx(0.05)
    assert made.chance(1.0) == pytest.approx(0.5)
    assert made.chance(1.5) == pytest.approx(0.95)
    assert made.chance(0.0) == 0.0
    for factor in (0.7, 1.0, 1.4):
        assert made.factor(made.chance(factor)) == pytest.approx(factor)


def test_a_plan_is_comparable_by_what_it_runs():
    job = job_of(precision="fp16")
    made = likeness(context_of(job), row(context_of(job)))
    assert made == Likeness("megatron", "hopper", "bf16", 8.0)


def test_a_machine_that_nothing_was_measured_on_is_said_and_less_sure():
    job = job_of(system="gaudi2")
    made = likeness(context_of(job), row(context_of(job)))
    assert made.relative
    assert "a machine that nothing was measured on" in interval(made).basis
    known = interval(dataclasses.replace(made, relative=False))
    assert interval(made).high > 1.05 * known.high and interval(made).low < 0.95 * known.low


def test_the_table_that_ships_widens_and_never_narrows():
    known = load_residuals()
    assert known.coverage == 0.9
    assert set(known.wider) == set(WIDER)
    assert min(figure.value for figure in known.wider.values()) >= 1.0
    assert {c.family for c in known.cells} <= set(known.families)
    for held in known.cells:
        plan = Likeness(held.family, held.chip, held.precision, held.devices, held.experts)
        made = interval(plan)
        assert 0.2 < made.low < 1.0 < made.high < 5.0
