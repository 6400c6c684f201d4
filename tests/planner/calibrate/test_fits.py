"""Fits find the law that timings were made from, through noise, and own up to what they miss."""

import dataclasses

import pytest
from synthetic_machine import KNOWN, LINK, SCOPE, SHARE, TRUTH, timed

from hardware_profiles.load import load
from planner.calibrate.kernel_fit import fit_contention, fit_kernels, with_peaks
from planner.calibrate.link_fit import fit_level
from planner.calibrate.menu import menu
from planner.calibrate.points import Point
from planner.calibrate.session import kernel_of
from planner.fitting.figures import with_figures


def test_peaks_are_the_best_that_was_measured() -> None:
    rows = timed(KNOWN, 0.0)
    found = with_peaks(KNOWN, rows)
    best = max(
        kernel_of(row.point).flop / row.reading.time_s
        for row in rows
        if row.point.kind == "products" and row.point.precision == "fp32" and not row.point.busy
    )
    assert found.peak_flop_per_s["fp32"].value == pytest.approx(best, rel=1e-3)
    assert found.peak_flop_per_s["fp32"].basis == "measured"
    assert found.memory_bytes_per_s.value <= KNOWN.memory_bytes_per_s.value


def test_kernels_are_found_again_through_noise() -> None:
    start = with_figures(KNOWN, {name: value for name, value in TRUTH.items()}, "a start")
    start = start.model_copy(update={"kernels": load("cpu-host").kernels.model_copy(
        update={"units": 1})})  # fmt: skip
    found, fits = fit_kernels(start, timed(KNOWN, 0.03), "a test")
    by_name = {fit.name: fit for fit in fits}
    assert by_name["products fp32"].held is not None
    for fit in fits:
        assert fit.inside < 0.05, fit.name
        assert fit.held is not None or fit.name == "launch"
        assert fit.held is None or fit.held < 0.08, fit.name
    for path in ("memory.efficiency", "matmul.fp32.efficiency", "grouped_matmul.efficiency"):
        fit = next(fit for fit in fits if path in fit.values)
        assert fit.values[path] == pytest.approx(TRUTH[path], rel=0.12), path
        assert 0.0 < fit.errors[path] < 0.2
    assert found.kernels.matmul["fp32"].efficiency.basis == "fitted"
    assert "points, median error" in found.kernels.matmul["fp32"].efficiency.source


def test_links_are_found_again_and_larger_groups_predicted() -> None:
    rows = [row for row in timed(KNOWN, 0.03) if row.point.level]
    assert {row.point.sizes["ranks"] for row in rows if not row.point.held} == {2, 4}
    assert {row.point.sizes["ranks"] for row in rows if row.point.held} == {2, 4, 8}
    fit = fit_level("process", 8, (), KNOWN, rows)
    assert fit.held is not None
    assert fit.held < 0.06
    for path in ("latency_s", "bytes_per_s", "exchanges.share", "rings.share"):
        assert fit.values[path] == pytest.approx(LINK[path], rel=0.2), path


def test_what_is_held_back_does_not_move_its_own_prediction() -> None:
    rows = [row for row in timed(KNOWN, 0.0) if row.point.level]
    wrong = [
        dataclasses.replace(row, reading=dataclasses.replace(row.reading, time_s=9.0))
        if row.point.held else row
        for row in rows
    ]  # fmt: skip
    honest, misled = (fit_level("process", 8, (), KNOWN, each) for each in (rows, wrong))
    said = {point.key: predicted for point, _, predicted in honest.rows if point.held}
    again = {point.key: predicted for point, _, predicted in misled.rows if point.held}
    assert said == again
    assert misled.held is not None
    assert misled.held > 0.5


def test_contention_is_found_again() -> None:
    rows = [row for row in timed(KNOWN, 0.03) if not row.point.level]
    fit = fit_contention(rows, 8)
    assert fit is not None
    assert fit.values["contention"] == pytest.approx(SHARE, rel=0.15)
    alone = [row for row in rows if not row.point.busy]
    assert fit_contention(alone, 8) is None


def test_a_constant_that_points_do_not_tell_has_no_error_bar() -> None:
    rows = [r for r in timed(KNOWN, 0.03) if r.point.level and r.point.kind != "alltoall"]
    fit = fit_level("process", 8, (), KNOWN, rows)
    assert fit.errors["own_exchanged"] > 1.0
    assert fit.errors["bytes_per_s"] < 0.1
    assert fit.values["own_exchanged"] == pytest.approx(0.5)  # where the search started


def test_every_point_of_a_menu_is_another_and_quick_ones_are_few() -> None:
    whole = menu(SCOPE)
    assert len({point.key for point in whole}) == len(whole)
    assert len(menu(dataclasses.replace(SCOPE, quick=True))) < len(whole) / 2
    assert all(isinstance(point, Point) and str(point) for point in whole)
