"""What `sixfold validate` prints: errors by source, what explains them, what a fit changed.

Takes the plain data that the command computed and returns sections; nothing is computed here but
a share or a difference for reading.
"""

from collections import Counter
from collections.abc import Mapping

from planner.report.content import Column, Section, Table
from planner.report.node import Node
from planner.report.numbers import clean, label, percent, plain, quantity, ratio

__all__ = ["validate_sections"]

_FARTHEST = 10
_SHOWN = 8


def validate_sections(answer: Mapping[str, object]) -> tuple[Section, ...]:
    """Return errors by source, what explains them, what a fit changed, what was skipped."""
    found = Node(answer)
    runs = list(found["runs"].items())
    parts = (
        _summary(found["summary"]),
        _explained(found["explained"]),
        _terms(found["explained"]["terms"]),
        _figures(found["explained"]["figures"]),
        _fit(found["fit"]),
        _skipped(runs),
        _farthest([run for run in runs if run["error"].number() is not None]),
    )
    return tuple(part for part in parts if part is not None)


_SUMMARY = (
    ("priced", "priced", "count"),
    ("mean_absolute_error", "mean", "error"),
    ("median_absolute_error", "median", "error"),
    ("bias", "bias", "error"),
    ("inside_interval", "inside", "share"),
    ("kendall_tau", "tau", ""),
    ("top1_regret_mean", "regret", "share"),
    ("memory_error", "memory", "error"),
)
_WIDE = ("median", "inside", "regret")
_METRICS = {
    "step_time_s": "step time",
    "tokens_per_s_per_device": "rate",
    "model_flop_per_s_per_device": "arithmetic",
}


def _summary(summary: Node) -> Section | None:
    """Return one row for everything and one a source; the rest is in the JSON."""
    rows = [("all", summary["overall"])] if summary["overall"] else []
    rows += [(clean(source), node) for source, node in summary["by_source"].entries()]
    columns = (
        Column("source"),
        *(Column(title, right=True, wide=title in _WIDE) for _, title, _ in _SUMMARY),
        Column("oom", right=True),
    )
    cells = tuple(
        (name, *(quantity(unit, row[key].number()) for key, _, unit in _SUMMARY), _foretold(row))
        for name, row in rows
    )
    if not cells:
        return None
    notes = (
        "Absolute errors of time (mean, median) and their bias; Kendall's tau and the regret of "
        "the first choice, over groups of four jobs or more; error of peak memory; oom: runs that "
        "ran out of memory, how many were foretold; inside: the share that the interval holds.",
    )
    return Section("summary", "Predicted against measured", notes, Table(columns, cells))


def _foretold(row: Node) -> str:
    right, wrong = row["oom_right"].size(), row["oom_wrong"].size()
    return f"{right:.0f} of {right + wrong:.0f}" if right + wrong else "-"


def _skipped(runs: list[Node]) -> Section | None:
    reasons = Counter(run["skipped"].text() for run in runs if run["skipped"])
    note = f"{len(runs) - reasons.total():,} of {len(runs):,} runs were priced."
    rows = tuple((plain(times), reason) for reason, times in reasons.most_common())
    columns = (Column("runs", right=True), Column("skipped because"))
    return Section("skipped", "Runs", (note,), Table(columns, rows) if rows else None)


def _farthest(runs: list[Node]) -> Section | None:
    runs.sort(key=lambda run: (-abs(run["error"].size()), run["id"].text()))
    columns = (
        Column("run"),
        Column("metric"),
        Column("measured", right=True),
        Column("predicted", right=True),
        Column("error", right=True),
    )
    rows = tuple(
        (
            run["id"].text(),
            _METRICS.get(run["metric"].text(), label(run["metric"].text())),
            _amount(run, "measured"),
            _amount(run, "predicted"),
            f"{run['error'].size():+.1%}",
        )
        for run in runs[:_FARTHEST]
    )
    if not rows:
        return None
    return Section("farthest", "Farthest off", table=Table(columns, rows))


def _amount(run: Node, key: str) -> str:
    return quantity(run["metric"].text(), run[key].number())


def _explained(found: Node) -> Section | None:
    """Return the sentences on what explains the errors."""
    told = tuple(sentence.text() for sentence in found["said"].items())
    return Section("explained", "What explains the errors", told) if told else None


def _terms(terms: Node) -> Section | None:
    """Return what a factor on each kind of term would explain."""
    columns = (
        Column("kind of term"),
        Column("of a step", right=True),
        Column("correlation", right=True),
        Column("best factor", right=True),
        Column("error left", right=True),
    )
    rows = tuple(
        (
            one["kind"].text(),
            percent(one["share"].number()),
            _signed(one["correlation"].number()),
            ratio(one["factor"].number()),
            percent(one["error"].number()),
        )
        for one in terms.items()
    )
    return Section("terms", "By term, each alone", table=Table(columns, rows)) if rows else None


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _figures(figures: Node) -> Section | None:
    """Return what a factor on each figure of machine and stack would explain, the best first."""
    columns = (
        Column("figure"),
        Column("of"),
        Column("best", right=True),
        Column("90% sure", right=True),
        Column("runs", right=True, wide=True),
        Column("error left", right=True),
    )
    rows = tuple(
        (
            one["figure"].text(),
            one["file"].text(),
            ratio(one["factor"].number()),
            f"{ratio(one['low'].number())} to {ratio(one['high'].number())}",
            plain(one["runs"].number()),
            percent(one["error"].number()),
        )
        for one in list(figures.items())[:_SHOWN]
    )
    return Section("figures", "By figure, each alone", table=Table(columns, rows)) if rows else None


def _fit(fit: Node) -> Section | None:
    """Return the figures that the fit changed, and the errors before and after."""
    if not fit:
        return None
    columns = (
        Column("figure"),
        Column("before", right=True),
        Column("after", right=True),
        Column("90% sure", right=True),
    )
    rows = tuple(
        (
            one["figure"].text(),
            plain(one["before"].number()),
            plain(one["after"].number()),
            f"{plain(one['low'].number())} to {plain(one['high'].number())}",
        )
        for one in fit["figures"].items()
    )
    before, after = (percent(fit[f"mean_absolute_error_{w}"].number()) for w in ("before", "after"))
    held = percent(fit["mean_absolute_error_held_out"].number())
    note = (
        f"Profile {fit['profile'].text()}, from {plain(fit['runs'].number())} runs: mean error"
        f" {before} before, {after} after, {held} on runs that a fit did not see."
    )
    kept = ", ".join(one.text() for one in fit["kept"].items())
    notes = (note, f"Not settled by these runs, left as they were: {kept}.") if kept else (note,)
    return Section("fit", "Adjusted profile", notes, Table(columns, rows))
