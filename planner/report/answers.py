"""What the other commands print: speed-up tables, explanations, what-ifs.

Each function takes the plain data that the command computed and returns sections; nothing is
computed here but a share or a difference for reading.
"""

from collections.abc import Mapping

from planner.report.content import Column, Section, Table
from planner.report.node import Node
from planner.report.numbers import label, percent, plain, quantity, seconds
from planner.report.reasons import findings_table
from planner.report.strategies import in_a_line

__all__ = [
    "explain_sections",
    "speedup_sections",
    "what_if_sections",
]

_EXPLAINED = (
    ("binds", "What binds"),
    ("alternatives", "What each alternative would cost"),
    ("faster_link", "What a faster link would buy"),
    ("why_not", "Why not"),
)


def explain_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return the parts of an explanation, each a list of {what, because, numbers}."""
    found = Node(answer)
    tables = ((key, title, findings_table(found[key])) for key, title in _EXPLAINED)
    return tuple(Section(key, title, table=table) for key, title, table in tables if table)


def speedup_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return the plain predictor's table, the best count, and where communication dominates."""
    found = Node(answer)
    points = [(p, p["compute_s"].size(), p["comm_s"].size()) for p in found["points"].items()]
    write = _fixed if 0.1 <= found["compute_s"].size() < 1e4 else seconds
    columns = tuple(
        Column(title, right=True)
        for title in ("p", "T_comp/p", "T_comm", "T_step", "speedup", "comm/comp")
    )
    rows = tuple(
        (
            plain(point["devices"].number()),
            write(compute_s),
            write(comm_s),
            write(point["step_time_s"].size()),
            f"{point['speedup'].size():.2f}",
            f"{point['comm_to_compute'].size():.3f}",
        )
        for point, compute_s, comm_s in points
    )
    constants = ", ".join(
        f"{word} {quantity(key, found[key].value)}"
        for key, word in (("compute_s", "C"), ("alpha_s", "A"), ("transfer_s", "B"))
    )
    first = f"Step time C/p + A (p-1) + 2 B (p-1)/p with {constants}."
    notes = (first, *_fit_notes(found), *_best_notes(found))
    title = "Predicted scaling of the distributed design"
    return (Section("speedup", title, notes, Table(columns, rows)),)


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _fit_notes(found: Node) -> tuple[str, ...]:
    measured = list(found["measured"].items())
    if not measured:
        return ()
    known = ", ".join(name.text() for name in found["identified"].items())
    error = percent(found["fit_error"].number())
    note = f"Fitted to {len(measured)} measured counts, largest error {error}; identified: {known}."
    least, best = found["p_star_at_least"].number(), found["p_star"].number()
    if least is not None and least != best:
        note += f" The times allow a p* from {plain(least)}: measure a third count."
    return (note,)


def _best_notes(found: Node) -> tuple[str, ...]:
    best, dominated = found["at_p_star"], found["at_comm_dominated"]
    told = []
    if best:
        told.append(
            f"Optimal count p* = {plain(best['devices'].number())}: "
            f"speed-up {best['speedup'].size():.2f}x, "
            f"efficiency {best['efficiency'].size():.1%}, "
            f"comm/compute {best['comm_to_compute'].size():.2f}."
        )
    else:
        told.append("No optimal count: without latency more devices are always faster.")
    if dominated:
        told.append(
            f"Communication dominates from p = {plain(dominated['devices'].number())}, "
            f"where the speed-up is {dominated['speedup'].size():.2f}x."
        )
    else:
        told.append("Communication never dominates.")
    return tuple(told)


def what_if_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return the plan before and after the change, and how the plan moves with each figure."""
    found = Node(answer)
    base, changed = found["base"], found["changed"]
    columns = (Column(""), Column("as given"), Column("changed"))
    both = [
        (name, _of(base, key), _of(changed, key))
        for name, key in (
            ("step time", "step_time_s"),
            ("memory", "memory_bytes"),
            ("time to train", "time_to_train_s"),
            ("cost", "cost_usd"),
        )
    ]
    both.insert(0, ("strategy", in_a_line(base["strategy"]), in_a_line(changed["strategy"])))
    rows = tuple(row for row in both if row[1] or row[2])
    sections = [Section("change", "What changes", table=Table(columns, rows))] if changed else []
    if found["sensitivity"]:
        sections.append(_sensitivity(found["sensitivity"]))
    return tuple(sections)


def _of(plan: Node, key: str) -> str:
    """Write a figure of a plan, or of a summary that has the figures at its top."""
    node = plan[key] if plan[key] else plan["prediction"][key]
    return quantity(key, node.value) if node else ""


def _sensitivity(entries: Node) -> Section:
    columns = (
        Column("figure"),
        Column("times", right=True),
        Column("step time", right=True),
        Column("plan"),
    )
    rows = tuple(
        (
            label(entry["figure"].text()),
            plain(entry["factor"].number()),
            seconds(entry["step_time_s"].number()),
            in_a_line(entry["strategy"]) if entry["changed"].value else "the same",
        )
        for entry in entries.items()
    )
    return Section("sensitivity", "Sensitivity", table=Table(columns, rows))
