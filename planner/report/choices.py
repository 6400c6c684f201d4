"""What else there was: scaling over device counts, the frontier, the alternatives, the search.

Reads `scaling`, `frontier`, `alternatives`, `search` and `provenance` of a plan.
"""

from planner.report.content import Column, Section, Table
from planner.report.node import Node
from planner.report.numbers import (
    byte_count,
    clean,
    dollars,
    joules,
    percent,
    plain,
    quantity,
    ratio,
    unit_of,
)
from planner.report.numbers import seconds as time_text
from planner.report.strategies import degrees, difference

__all__ = [
    "alternatives_section",
    "frontier_section",
    "provenance_section",
    "rules_section",
    "scaling_section",
    "search_section",
]


def scaling_section(scaling: Node) -> Section | None:
    """Return the step time over device counts, the best count, where communication dominates."""
    if not scaling:
        return None
    columns = (
        Column("devices", right=True),
        Column("step time", right=True),
        Column("speed-up", right=True),
        Column("efficiency", right=True),
        Column("comm/compute", right=True),
    )
    points = list(scaling["points"].items())
    short = any(point["fits"].value is False for point in points)
    rows = tuple(
        (
            plain(point["devices"].number()),
            time_text(point["step_time_s"].number()),
            ratio(point["speedup"].number()),
            percent(point["efficiency"].number()),
            f"{point['comm_to_compute'].size():.3f}",
            *((("does not fit" if point["fits"].value is False else "fits"),) if short else ()),
        )
        for point in points
    )
    columns = (*columns, *((Column("memory"),) if short else ()))
    best, dominated = scaling["p_star"].number(), scaling["comm_dominated_at"].number()
    told = (
        f"Fastest at {plain(best)} devices (p*)."
        if best is not None
        else "No best count: more devices are still faster at the largest count looked at.",
        f"Communication dominates from {plain(dominated)} devices."
        if dominated is not None
        else "Communication does not dominate at any count looked at.",
    )
    table = Table(columns, rows) if rows else None
    how = scaling["note"].text()
    notes = (" ".join(told), *((f"Looked at: {how}.",) if how else ()))
    return Section("scaling", "Scaling", notes, table)


ASKED = {
    "energy": ("energy", "energy_j", joules),
    "time_to_train": ("run", "time_to_train_s", time_text),
}
"""What a frontier shows beside time and money: the figure that the objective asks for."""


def frontier_section(frontier: Node, metric: str = "") -> Section | None:
    """Return the best plan of every system and device count looked at."""
    title, key, text = ASKED.get(metric, ("", "", plain))
    columns = (
        Column("system"),
        Column("devices", right=True),
        Column("step time", right=True),
        Column("cost", right=True),
        *((Column(title, right=True),) if title else ()),
        Column("strategy"),
    )
    rows = tuple(
        (
            ": ".join(t for t in (point["pool"].text(), point["system"].text()) if t),
            plain(point["devices"].number()),
            time_text(point["step_time_s"].number()),
            dollars(point["cost_usd"].number()),
            *((text(point[key].number()),) if title else ()),
            degrees(point["strategy"]),
        )
        for point in frontier.items()
    )
    if not rows:
        return None
    return Section("frontier", "Systems and counts", table=Table(columns, rows))


def alternatives_section(alternatives: Node, chosen: Node, best_s: float | None) -> Section | None:
    """Return the next best plans: what differs, what it costs, and why it is worse."""
    columns = (
        Column("with"),
        Column("step time", right=True),
        Column("", right=True),
        Column("memory", right=True),
        Column("worse because"),
        Column("change by term", wide=True),
    )
    rows = []
    for other in alternatives.items():
        step = other["prediction"]["step_time_s"].number()
        slower = f"{(step / best_s - 1) * 100:+.1f}%" if step is not None and best_s else "-"
        deltas = (
            f"{entry['name'].text()} {_signed(entry['exposed_s'].size())}"
            for entry in other["delta"].items()
        )
        rows.append(
            (
                difference(other["strategy"], chosen),
                time_text(step),
                slower,
                byte_count(other["prediction"]["memory_bytes"].number()),
                other["why_worse"].text(),
                ", ".join(deltas),
            )
        )
    if not rows:
        return None
    return Section("alternatives", "Alternatives", table=Table(columns, tuple(rows)))


def _signed(change_s: float) -> str:
    return ("+" if change_s >= 0 else "") + time_text(change_s)


def search_section(search: Node) -> Section | None:
    """Return how much was looked at, what is proved, and how long it took."""
    if not search:
        return None
    status = search["status"].text()
    meaning = {
        "optimal": "no plan of the space is better",
        "feasible": "the best found; the space is not closed",
        "time_limit": "stopped by the time limit",
    }
    looked = (
        f"{plain(search['priced'].number())} of {plain(search['candidates'].number())} "
        f"candidates priced in {time_text(search['wall_s'].number())}."
    )
    if search["over_memory"].size():
        looked += f" {plain(search['over_memory'].number())} do not fit in memory."
    proved = f"Status {status}: {meaning[status]}." if status in meaning else f"Status {status}."
    values = (
        (name, quantity(unit, search[name].value))
        for name, unit in (("objective", ""), ("bound", ""), ("gap", "gap"))
    )
    figures = ", ".join(f"{name} {value}" for name, value in values if value != "-")
    told = f"{proved} Its {figures}." if figures else proved
    covers = (f"It covers {search['covers'].text()}.",) if search["covers"] else ()
    return Section("search", "Search", (looked, told, *covers))


def rules_section(rules: Node) -> Section | None:
    """Return how many candidates fell to each rule of what can be built."""
    columns = (Column("rule"), Column("candidates dropped", right=True))
    rows = tuple((clean(rule), plain(dropped.number())) for rule, dropped in rules.entries())
    if not rows:
        return None
    title = "What the rules left out"
    return Section("rules", title, table=Table(columns, rows), wide=True)


def provenance_section(provenance: Node) -> Section | None:
    """Return the figures that the prices rest on, each with its basis and source."""
    rows = tuple(
        (
            item["figure"].text(),
            quantity(unit_of(item["figure"].text()), item["value"].value),
            item["basis"].text(),
            item["source"].text(),
        )
        for item in provenance["figures"].items()
    )
    version = provenance["version"].text()
    if not rows and not version:
        return None
    columns = (Column("figure"), Column("value", right=True), Column("basis"), Column("source"))
    notes = (f"Made by Sixfold {version}.",) if version else ()
    table = Table(columns, rows) if rows else None
    return Section("provenance", "What the prices rest on", notes, table, wide=True)
