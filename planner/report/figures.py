"""Charts of a plan as inline SVG: the step as a waterfall, memory by stage, scaling, frontier.

Drawn by Matplotlib, imported only when a chart is asked for. The same plan gives the same bytes.
Colours are the page's own (`svg.py` puts them in), so a chart is right in light and dark. Charts
repeat figures that the tables of the report also give. A chart that has nothing to show, or
figures beyond any sense, is left out.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from planner.report.node import Node
from planner.report.numbers import byte_count, dollars, plain, seconds
from planner.report.svg import COLOURS, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

__all__ = ["figures"]

Place = Literal["best", "lower left", "lower right", "upper left"]
_KINDS = {
    "compute": ("arithmetic", "c1"),
    "hbm": ("memory traffic", "c2"),
    "tp": ("communication", "c3"),
    "cp": ("communication", "c3"),
    "ep": ("communication", "c3"),
    "dp": ("communication", "c3"),
    "pp": ("communication", "c3"),
}
_REST = ("waiting and other", "c4")
_SERIES = ("c1", "c3", "c2", "c5", "c4")
_MOST = 60
_WIDTH = 7.6
_WIDE = 30.0


def figures(plan: Node, prefix: str) -> dict[str, str]:
    """Return the charts of a plan by the key of the section that they belong to."""
    charts = {
        "time": _waterfall(plan["prediction"], f"{prefix}time"),
        "memory": _memory_by_stage(plan["prediction"], f"{prefix}memory"),
        "scaling": _scaling(plan["scaling"], f"{prefix}scaling"),
        "frontier": _frontier(plan["frontier"], f"{prefix}frontier"),
    }
    return {key: chart for key, chart in charts.items() if chart}


def _sane(*values: float) -> bool:
    return all(0 <= value <= 1e30 for value in values)


def _ticks(axis: "Axis", write: Callable[[float | None], str]) -> None:
    """Label an axis in the units that the report uses."""
    axis.set_major_formatter(lambda value, _: write(value))
    axis.set_minor_formatter(lambda _value, _position: "")


def _legend(axes: "Axes", place: Place) -> None:
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axes.legend(list(once.values()), list(once), loc=place, frameon=False)


def _waterfall(prediction: Node, name: str) -> str:
    """Each term starts where the one before ended; hidden time lies under what came before."""
    terms = [t for t in prediction["time"].items() if t["exposed_s"].size() or t["hidden_s"].size()]
    times = [(t["exposed_s"].size(), t["hidden_s"].size()) for t in terms]
    if not 2 <= len(terms) <= _MOST or not _sane(*(v for pair in times for v in pair)):
        return ""

    def draw(axes: "Axes") -> None:
        start = 0.0
        for row, (term, (exposed, hidden)) in enumerate(zip(terms, times, strict=True)):
            group, colour = _KINDS.get(term["kind"].text(), _REST)
            left = max(0.0, start - hidden)
            axes.barh(row, hidden, left=left, height=0.62, facecolor="none", label=None,
                      edgecolor=COLOURS[colour], linewidth=0.8, linestyle="--")  # fmt: skip
            axes.barh(row, exposed, left=start, height=0.62, color=COLOURS[colour], label=group)
            start += exposed
        axes.set_yticks(range(len(terms)), [_short(term["name"].text()) for term in terms])
        axes.invert_yaxis()
        axes.set_xlabel("time in the step (dashed: hidden under other work)")
        _ticks(axes.xaxis, seconds)
        _legend(axes, "lower left")

    told = "The step as a waterfall: every term's exposed time, end to end; hidden time dashed."
    return drawing(name, told, (_WIDTH, 0.9 + 0.27 * len(terms)), draw)


def _short(name: str, most: int = 42) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def _memory_by_stage(prediction: Node, name: str) -> str:
    stages = list(prediction["memory_by_stage"].items())
    sizes = [stage["bytes"].size() for stage in stages]
    limit = prediction["memory_limit_bytes"].size()
    if not 2 <= len(stages) <= 8 * _MOST or not _sane(limit, *sizes):
        return ""

    def draw(axes: "Axes") -> None:
        axes.bar(range(len(sizes)), sizes, color=COLOURS["c1"], width=0.7)
        if limit:
            axes.axhline(limit, color=COLOURS["c3"], linewidth=1.2, linestyle="--")
            axes.set_ylim(0, 1.18 * max(limit, *sizes))
            axes.annotate("limit", (0, limit), xytext=(2, 3), textcoords="offset points")
        if len(stages) <= 32:
            axes.set_xticks(range(len(sizes)), [_short(_stage(s), 8) for s in stages])
        axes.set_xlabel("pipeline stage")
        _ticks(axes.yaxis, byte_count)

    return drawing(name, "Memory of each pipeline stage, and the limit.", (_WIDTH, 2.4), draw)


def _stage(stage: Node) -> str:
    return stage["stage"].text()


def _scaling(scaling: Node, name: str) -> str:
    points = [(p["devices"].size(), p["speedup"].size()) for p in scaling["points"].items()]
    points = sorted(point for point in points if min(point) > 0 and _sane(*point))
    if len(points) < 2:
        return ""
    counts = [count for count, _ in points]
    first_count, first_speedup = points[0]

    def draw(axes: "Axes") -> None:
        ideal = [first_speedup * count / first_count for count in counts]
        axes.plot(counts, ideal, color=COLOURS["soft"], linestyle="--", label="perfect scaling")
        axes.plot(counts, [s for _, s in points], color=COLOURS["c1"], marker="o", markersize=4,
                  label="predicted")  # fmt: skip
        for key, colour, told in (
            ("p_star", "c2", "fastest (p*)"),
            ("comm_dominated_at", "c3", "communication dominates"),
        ):
            if scaling[key].size() > 0 and _sane(scaling[key].size()):
                axes.axvline(scaling[key].size(), color=COLOURS[colour], linewidth=1, label=told)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        _ticks(axes.xaxis, plain)
        _ticks(axes.yaxis, plain)
        axes.set_xlabel("devices")
        axes.set_ylabel("speed-up")
        _legend(axes, "upper left")

    return drawing(name, "Predicted speed-up over device counts.", (_WIDTH, 3.2), draw)


def _frontier(frontier: Node, name: str) -> str:
    """Step time against cost, one colour a system, each point labelled with its device count."""
    series: dict[str, list[tuple[float, float, float]]] = {}
    for point in frontier.items():
        x, y = point["cost_usd"].size(), point["step_time_s"].size()
        if min(x, y) > 0 and _sane(x, y):
            series.setdefault(point["system"].text(), []).append((x, y, point["devices"].size()))
    total = sum(map(len, series.values()))
    if not 2 <= total <= 8 * _MOST:
        return ""

    def draw(axes: "Axes") -> None:
        for index, (system, points) in enumerate(series.items()):
            colour = COLOURS[_SERIES[index % len(_SERIES)]]
            axes.scatter([p[0] for p in points], [p[1] for p in points], s=26, color=colour,
                         label=_short(system, 28) or "unnamed")  # fmt: skip
            for cost, step, count in points if total <= _MOST else ():
                axes.annotate(plain(count), (cost, step), xytext=(4, 4),
                              textcoords="offset points", fontsize=8)  # fmt: skip
        costs, steps = zip(
            *((p[0], p[1]) for points in series.values() for p in points), strict=True
        )
        if max(costs) > _WIDE * min(costs):
            axes.set_xscale("log")
        if max(steps) > _WIDE * min(steps):
            axes.set_yscale("log")
        axes.margins(0.1)
        _ticks(axes.xaxis, dollars)
        _ticks(axes.yaxis, seconds)
        axes.set_xlabel("cost")
        axes.set_ylabel("step time")
        _legend(axes, "best")

    told = "Step time against cost for the best plan of each system and device count."
    return drawing(name, told, (_WIDTH, 3.2), draw)
