"""The shipped examples, each planned once for all judges; sums as printed; sources of experts."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import planner
from planner import recommend, spec

__all__ = [
    "EXAMPLES",
    "devices_of",
    "examples",
    "exact_sum",
    "load_example",
    "names",
    "pinned",
    "planned",
    "stable",
]

EXAMPLES = Path(planner.__file__).parent / "examples"


def names() -> list[str]:
    """Names of the shipped examples."""
    return sorted(path.stem for path in EXAMPLES.glob("*.yaml"))


def examples(*some: str) -> list[Any]:
    """Names of examples, all by default, to parametrize with: one worker has each one's plan."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in some or names()]


def load_example(name: str) -> Any:
    """Read an example's job."""
    return spec.load(EXAMPLES / f"{name}.yaml")


@cache
def _text(name: str) -> str:
    return json.dumps(recommend.plan(load_example(name)), allow_nan=False)


def planned(name: str) -> dict[str, Any]:
    """Return an example's plan.json: read from its text, so nobody can change another's."""
    made: dict[str, Any] = json.loads(_text(name))
    return made


def devices_of(plan: Mapping[str, Any]) -> int:
    """Devices of a plan, of all its pools where it has several."""
    hardware = plan["job"]["hardware"]
    return sum(p["devices"] for p in hardware.get("pools", ())) or hardware["devices"]


def pinned(plan: Mapping[str, Any], strategy: Mapping[str, Any]) -> dict[str, Any]:
    """Predict a plan's job with a strategy in place of its own."""
    job = {**plan["job"], "strategy": dict(strategy)}
    return recommend.predict(spec.load(json.dumps(job)))


def exact_sum(entries: Sequence[Mapping[str, Any]], key: str) -> float:
    """Sum left to right, as printed (the built-in sum compensates on newer Pythons)."""
    total = 0.0
    for entry in entries:
        total += entry[key]
    return total


def stable(plan: Mapping[str, Any]) -> str:
    """Return a plan's text without what may differ between two runs."""
    search = {k: v for k, v in plan["search"].items() if k != "wall_s"}
    return json.dumps({**plan, "search": search}, allow_nan=False)
