"""From a plan dictionary to a `Document`: the one order in which a report says things.

A job of several patterns has `parts`, each a plan of its own; its report is the whole's, then
one report a part.
"""

from collections.abc import Mapping

from planner.report.choices import (
    alternatives_section,
    frontier_section,
    provenance_section,
    rules_section,
    scaling_section,
    search_section,
)
from planner.report.content import Document
from planner.report.node import Node
from planner.report.numbers import plain
from planner.report.prices import (
    in_a_sentence,
    memory_section,
    pools_section,
    prediction_section,
    stage_section,
    time_section,
    traffic_section,
)
from planner.report.reasons import (
    checklist_section,
    design_section,
    patterns_section,
    pins_section,
)
from planner.report.strategies import in_a_line
from planner.report.strategies import section as strategy_section

__all__ = ["document"]


def document(plan: Mapping[str, object]) -> Document:
    """Return the report of a plan dictionary; SpecError where it is not one."""
    return _document(Node(plan))


def _document(plan: Node) -> Document:
    prediction, strategy = plan["prediction"], plan["strategy"]
    sections = (
        strategy_section(strategy),
        prediction_section(prediction, plan["job"]["workload"]["tokens"].number()),
        time_section(prediction),
        memory_section(prediction),
        pools_section(prediction),
        stage_section(prediction),
        traffic_section(prediction),
        checklist_section(plan["checklist"]),
        design_section(plan["design"]),
        patterns_section(plan["axes"], plan["patterns"]),
        scaling_section(plan["scaling"]),
        frontier_section(plan["frontier"], plan["job"]["objective"]["metric"].text()),
        alternatives_section(plan["alternatives"], strategy, prediction["step_time_s"].number()),
        pins_section(plan["pins"]),
        search_section(plan["search"]),
        rules_section(plan["search"]["rules"]),
        provenance_section(plan["provenance"]),
    )
    return Document(
        title=plan["job"]["name"].text() or "plan",
        headline=_headline(plan),
        warnings=_warnings(plan),
        sections=tuple(section for section in sections if section is not None),
        parts=tuple(_document(part) for part in plan["parts"].items()),
    )


def _headline(plan: Node) -> str:
    """Say what runs where, how, and what that gives, in one sentence."""
    what = _model(plan) or plan["job"]["name"].text() or "This job"
    where, told = _machine(plan), in_a_sentence(plan["prediction"])
    how = in_a_line(plan["strategy"]) if plan["strategy"] else ""
    sentence = what + (f" on {where}" if where else "")
    sentence += f" with {how}" if how else ""
    return sentence + (f": {told}." if told else ".")


def _model(plan: Node) -> str:
    model = plan["job"]["workload"]["model"]
    return model["name"].text() if isinstance(model.value, Mapping) else model.text()


def _machine(plan: Node) -> str:
    """Return the devices of the plan: its own degrees where given, else what the job asks for."""
    pools = [f"{p['devices'].text()} x {p['system'].text()}"
             for p in plan["prediction"]["pools"].items()]  # fmt: skip
    if pools:
        return " and ".join(pools)
    hardware = plan["job"]["hardware"]
    degrees = [plan["strategy"][key].value for key in ("dp", "tp", "cp", "pp")]
    devices: float | None = None
    if all(isinstance(degree, int) for degree in degrees):
        devices = 1.0
        for degree in degrees:
            devices *= Node(degree).size()
    elif isinstance(hardware["devices"].value, int):
        devices = hardware["devices"].number()
    system = hardware["system"].text() if isinstance(hardware["system"].value, str) else ""
    system = system or _frontier_system(plan)
    if devices is None:
        return system
    return f"{plain(devices)} x {system}" if system else f"{plain(devices)} devices"


def _frontier_system(plan: Node) -> str:
    """Return the system of the frontier's entry that is this plan, where systems were chosen."""
    for point in plan["frontier"].items():
        if point["strategy"].value == plan["strategy"].value:
            return point["system"].text()
    return ""


def _warnings(plan: Node) -> tuple[str, ...]:
    prediction = plan["prediction"]
    said = []
    if prediction["fits"].value is False:
        said.append("This does not fit: the fullest device needs more memory than the limit.")
    if plan["search"]["status"].value == "time_limit":
        said.append("The time limit ended the search: a better plan may exist.")
    return (*said, *(note.text() for note in plan["notes"].items()))
