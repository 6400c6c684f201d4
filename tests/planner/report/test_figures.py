"""Which charts a plan gets, and that senseless figures give none."""

from typing import Any

import pytest

from planner.report.figures import figures
from planner.report.node import Node


def test_a_plan_gets_its_four_charts(plan: dict[str, Any]) -> None:
    charts = figures(Node(plan), "a-")
    assert list(charts) == ["time", "memory", "scaling", "frontier"]
    assert "matrix products, forward" in charts["time"]
    assert "fastest (p*)" in charts["scaling"]
    assert "$4.00 M" in charts["frontier"]


def test_no_chart_of_nothing() -> None:
    assert figures(Node({}), "") == {}
    alone = {"prediction": {"time": [{"name": "a", "exposed_s": 1.0}]}}
    assert figures(Node(alone), "") == {}


@pytest.mark.parametrize("wild", [1e300, -1.0])
def test_no_chart_of_senseless_figures(plan: dict[str, Any], wild: float) -> None:
    plan["prediction"]["time"][0]["exposed_s"] = wild
    plan["prediction"]["memory_by_stage"][0]["bytes"] = wild
    for point in plan["scaling"]["points"]:
        point["speedup"] = wild
    for point in plan["frontier"]:
        point["cost_usd"] = wild
    assert figures(Node(plan), "") == {}


def test_a_wide_frontier_is_drawn_on_logarithmic_axes(plan: dict[str, Any]) -> None:
    for index, point in enumerate(plan["frontier"]):
        point["cost_usd"], point["step_time_s"] = 10.0**index, 1e3 / 10.0**index
    chart = figures(Node({"frontier": plan["frontier"]}), "")["frontier"]
    assert "$1,000" in chart
    assert "1.00 s" in chart
