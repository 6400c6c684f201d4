"""What `sixfold check` prints: the job that was run, then predicted beside measured."""

from collections.abc import Mapping

from planner.report.content import Column, Section, Table
from planner.report.node import Node
from planner.report.numbers import quantity

__all__ = ["check_sections", "replaced"]


def check_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return what was changed, and the tables of time, bytes and memory."""
    found = Node(answer)
    both = found["compared"]
    parts = (
        _changes(found),
        _time(both, found["busy"].text()),
        _pairs("bytes", "Sent by one device in a step", both["bytes"], "axis", "bytes"),
        _memory(both["memory"]),
    )
    return tuple(part for part in parts if part is not None)


def _changes(found: Node) -> Section:
    plan, job = found["plan"], found["checked"]["workload"]
    model = job["model"]
    ran = (
        f"Ran {model['layers'].text()} layers of {model['hidden'].text()}, sequences of"
        f" {job['sequence_length'].text()}, batches of {job['global_batch'].text()}, for a plan of"
        f" {plan['model'].text()} on {plan['devices'].text()} devices."
    )
    return Section("changes", "What was checked", (ran,), replaced(found, "the check ran"))


def replaced(found: Node, then: str) -> Table | None:
    """Tabulate what of the plan the step has otherwise; `then`: heads what it has instead."""
    told = [one.text() for one in (*found["changes"].items(), *found["notes"].items())]
    rows = tuple((before, after) for before, _, after in (t.partition(": ") for t in told))
    return Table((Column("the plan has"), Column(then)), rows) if rows else None


def _columns(first: str) -> tuple[Column, ...]:
    return (
        Column(first),
        Column("predicted", right=True),
        Column("measured", right=True),
        Column("error", right=True),
    )


def _row(name: str, pair: Node, unit: str) -> tuple[str, ...]:
    error = pair["error"].number()
    return (
        name,
        quantity(unit, pair["predicted"].number()),
        quantity(unit, pair["measured"].number()),
        "-" if error is None else f"{error:+.1%}",
    )


def _time(both: Node, busy: str) -> Section:
    rows = [_row("step", both["step_time_s"], "step_time_s")]
    rows += [_row(one["name"].text(), one, "step_time_s") for one in both["terms"].items()]
    spread = (
        f"Median of {len(list(both['samples_s'].items()))} steps, the slowest"
        f" {both['spread'].size():.0%} above the fastest; compiled in"
        f" {both['compile_s'].size():.1f} s. Exchanges and optimizer were run alone as well, and"
        " compute is what is left of the step."
    )
    beside = (f"Busy: {busy}; check again when it is quiet.",) if busy else ()
    notes = (spread, *beside, *(one.text() for one in both["explained"].items()))
    return Section("time", "Step time", notes, Table(_columns("term"), tuple(rows)))


def _pairs(key: str, title: str, pairs: Node, name: str, unit: str) -> Section | None:
    rows = tuple(_row(one[name].text(), one, unit) for one in pairs.items())
    return Section(key, title, (), Table(_columns(name), rows)) if rows else None


def _memory(memory: Node) -> Section:
    rows = (
        _row("states (arguments of the step)", memory["states"], "bytes"),
        _row("all", memory["all"], "bytes"),
    )
    note = "As the compiler assigns it; on a processor its temporaries are not those of a chip."
    return Section("memory", "Memory of a device", (note,), Table(_columns("what"), rows))
