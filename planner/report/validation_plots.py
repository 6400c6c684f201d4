"""Plots of a validation as SVG files: predicted against measured, error by regime, ranking.

Drawn by Matplotlib, imported only when a plot is asked for. The same answer gives the same bytes.
A plot that has nothing to show is left out.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from planner.report.node import Node
from planner.report.numbers import clean, seconds
from planner.report.svg import rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plots"]

_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MOST_GROUPS = 60


def plots(answer: Mapping[str, object]) -> dict[str, str]:
    """Return the plots of a validation by file name."""
    found = Node(answer)
    timed = [run for run in found["runs"].items() if run["error"].number() is not None]
    groups = list(found["summary"]["overall"]["rankings"].items())
    made: dict[str, str] = {}
    if timed:
        made["predicted.svg"] = _drawn((7.0, 6.0), lambda axes: _predicted(axes, timed))
        regimes = _regimes(timed)
        height = 1.5 + 0.35 * len(regimes)
        made["regimes.svg"] = _drawn((8.0, height), lambda axes: _errors(axes, regimes))
    if groups:
        shown = sorted(groups, key=lambda one: (one["tau"].size(), one["group"].text()))
        shown = shown[:_MOST_GROUPS]
        height = 1.5 + 0.22 * len(shown)
        made["ranking.svg"] = _drawn((9.0, height), lambda axes: _ranking(axes, shown))
    return made


def _drawn(size_in: tuple[float, float], draw: Callable[["Axes"], None]) -> str:
    return rendered("sixfold", size_in, draw, layout="constrained")


def _predicted(axes: "Axes", runs: list[Node]) -> None:
    """Predicted over measured step time against the measured one, a colour and a mark a source."""
    sources: dict[str, list[Node]] = defaultdict(list)
    for run in runs:
        sources[clean(run["source"].text())].append(run)
    for number, (source, mine) in enumerate(sources.items()):
        axes.scatter(
            [run["measured_step_s"].size() for run in mine],
            [run["predicted_step_s"].size() for run in mine],
            s=18, alpha=0.6, linewidths=0, label=f"{source} ({len(mine)})",
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKS[number // len(_COLOURS) % len(_MARKS)],
        )  # fmt: skip
    ends = [run[key].size() for run in runs for key in ("measured_step_s", "predicted_step_s")]
    low, high = min(ends) * 0.8, max(ends) * 1.25
    axes.plot([low, high], [low, high], color="black", linewidth=0.8)
    for factor in (0.8, 1.25):
        axes.plot([low, high], [low * factor, high * factor], color="grey", linewidth=0.5)
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high),
             xlabel="measured step time", ylabel="predicted step time",
             title="Predicted against measured (grey: 25% off)")  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, _: seconds(value))
        axis.set_minor_formatter(lambda _value, _position: "")
    axes.legend(fontsize=7, frameon=False)


def _regimes(runs: list[Node]) -> dict[str, list[float]]:
    """Errors by machine, stack and kind of model."""
    made: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        kind = "experts" if run["experts"].value else "dense"
        made[f"{run['machine'].text()}, {run['family'].text()}, {kind}"].append(run["error"].size())
    return dict(sorted(made.items(), reverse=True))


def _errors(axes: "Axes", regimes: Mapping[str, list[float]]) -> None:
    """Draw the errors of each regime: every run, 5 to 95%, the middle half, the median."""
    names = [f"{clean(name)} ({len(errors)})" for name, errors in regimes.items()]
    for place, errors in enumerate(regimes.values()):
        low, first, middle, third, high = (
            100.0 * float(x) for x in np.quantile(errors, (0.05, 0.25, 0.5, 0.75, 0.95))
        )
        axes.scatter([100.0 * e for e in errors], [place] * len(errors), s=6, color="#bbbbbb")
        axes.hlines(place, low, high, color=_COLOURS[0], linewidth=1.0)
        axes.hlines(place, first, third, color=_COLOURS[0], linewidth=6.0, alpha=0.5)
        axes.plot([middle], [place], marker="|", markersize=12, color=_COLOURS[1])
    axes.set_yticks(range(len(names)), names)
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set(xlabel="error of time, % (predicted too slow: right)", title="Error by regime")


def _ranking(axes: "Axes", groups: list[Node]) -> None:
    """Draw how well each group is ranked, the worst first, and what its first choice loses."""
    names = [clean(one["group"].text()) for one in groups]
    axes.barh(range(len(names)), [one["tau"].size() for one in groups], color=_COLOURS[0])
    for place, one in enumerate(groups):
        axes.text(1.02, place, f"{one['regret'].size():.1%}", va="center", fontsize=6)
    axes.set_yticks(range(len(names)), names, fontsize=6)
    axes.set(xlim=(-1.0, 1.0), xlabel="Kendall's tau (right: regret of the first choice)",
             title="Ranking by group")  # fmt: skip
