"""Make the table that intervals rest on from the errors of left-out sources, and check coverage.

    python benchmarks/accuracy/fit_intervals.py [--write]

Reads `data/left_out.csv`: one row a run, predicted with its whole source left out of the fit.
Coverage is checked the same way: the intervals of each source come from a table that was made
without it. `--write` writes `hardware_profiles/residuals/step_time.yaml`.
"""

import argparse
import csv
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from costmodels.units import Column
from hardware_profiles.residuals import PATH, Cell, Residuals
from planner.fitting import per_source
from planner.fitting.spread import scales, weighted_quantile
from planner.plan.comparable import Interval, Likeness, interval, likeness, scale, unlike
from planner.validate.prepared import Priced

DATA = Path(__file__).parent / "data" / "left_out.csv"
COVERAGE = 0.9
WORTH = 6.0
"""Observations that a source is worth for the scales, however many runs it has."""
POWER = 0.5
"""Quantiles weigh a run by its source's number of runs to this power, negative."""
SHARED = 1.5
"""Sources that all rows together count as, beside those of a family."""
LEAST = 0.5
"""Scales that an interval reaches at least to either side."""
FAMILIES = ("megatron", "fsdp", "xla")
WIDER: Mapping[str, tuple[float, float]] = {
    "experts": (1.3, 0.4),
    "lora": (1.2, 0.3),
    "chip": (1.4, 0.3),
    "stack on chip": (1.2, 0.3),
    "precision": (1.2, 0.3),
    "stack": (1.5, 0.3),
    "doublings": (1.1, 0.05),
    "offload": (1.5, 0.3),
    "function": (1.5, 0.3),
    "relative": (1.4, 0.3),
}
"""What widens an interval: the factor assumed, and how far (in logarithm) errors may move it.

No run tells that of `relative`: the share of its peak that products reach in training is 7% apart
among the vendor's chips that were measured, 19% among all, beside the 10% that a run is off.
"""
COLUMNS = ("id", "source", "group", "family", "stack", "chip", "devices", "experts", "precision",
           "lora", "offload", "log_error")  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A run of a left-out source: what it is comparable by, and log(predicted / measured)."""

    source: str
    like: Likeness
    log_error: float


def write_left_out(runs: Sequence[Priced], log_errors: Column, path: Path = DATA) -> None:
    """Write the errors of left-out sources, one row a run."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for run, error in zip(runs, log_errors, strict=True):
            like = likeness(run.context, run.dims)
            writer.writerow(
                [run.run.id, run.source, run.run.group or "", like.family, run.context.stack.name,
                 like.chip, f"{like.devices:g}", int(like.experts), like.precision,
                 int(like.lora), int(like.offload), f"{error:.4f}"]
            )  # fmt: skip


def read_left_out(path: Path = DATA) -> list[Row]:
    """Read the errors of left-out sources."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(
                one["source"],
                Likeness(
                    one["family"], one["chip"], one["precision"], float(one["devices"]),
                    one["experts"] == "1", one["lora"] == "1", one["offload"] == "1",
                ),
                float(one["log_error"]),
            )
            for one in csv.DictReader(file)
        ]  # fmt: skip


def cells(rows: Iterable[Row]) -> list[Cell]:
    """Count runs that are alike."""
    alike: dict[tuple[str, str, str, bool], list[Row]] = defaultdict(list)
    for row in rows:
        like = row.like
        alike[like.family, like.chip, like.precision, like.experts].append(row)
    return [
        Cell(
            family=family, chip=chip, precision=precision, experts=experts, runs=len(held),
            sources=tuple(sorted({row.source for row in held})),
            devices=max(row.like.devices for row in held),
        )
        for (family, chip, precision, experts), held in sorted(alike.items())
    ]  # fmt: skip


def weights(rows: Sequence[Row], power: float) -> Column:
    """Weigh each row by its source's number of rows to the power -`power`."""
    return per_source([row.source for row in rows], power)


def apart(rows: Sequence[Row]) -> list[dict[str, float]]:
    """Return what sets each row apart from the rows of other sources, whose fit predicted it."""
    others = {
        source: cells(row for row in rows if row.source != source)
        for source in {row.source for row in rows}
    }
    return [unlike(row.like, others[row.source]) for row in rows]


def _features(rows: Sequence[Row], found: Sequence[Mapping[str, float]]) -> Column:
    made = [
        [1.0, *(float(row.like.family == f) for f in FAMILIES), *(one.get(w, 0.0) for w in WIDER)]
        for row, one in zip(rows, found, strict=True)
    ]
    return np.array(made)


def _figure(value: float, basis: str, source: str) -> dict[str, object]:
    return {"value": float(f"{value:.4g}"), "basis": basis, "source": source}


def scaled(rows: Sequence[Row], found: Sequence[Mapping[str, float]]) -> Residuals:
    """Make the table of some rows but for its quantiles, which are 1: scales by regression."""
    errors = np.array([row.log_error for row in rows])
    names = ("scale", *FAMILIES, *WIDER)
    alike = [0.0] * len(FAMILIES)
    priors = np.array([np.log(0.08), *alike, *(np.log(p) for p, _ in WIDER.values())])
    spreads = np.array([2.0, *(0.3 for _ in FAMILIES), *(s for _, s in WIDER.values())])
    least = np.array([-9.0, *(-9.0 for _ in FAMILIES), *(0.0 for _ in WIDER)])
    t = scales(_features(rows, found), errors, WORTH * weights(rows, 1.0), priors, spreads, least)
    factor = dict(zip(names, np.exp(t).tolist(), strict=True))
    sources = len({row.source for row in rows})
    note = f"fit_intervals.py: {len(rows)} runs of {sources} sources, each left out in turn"
    seen = {name for one in found for name in one}
    return Residuals.model_validate({
        "coverage": COVERAGE,
        "scale": _figure(factor["scale"], "fitted", note),
        "families": {f: _figure(factor[f], "fitted", note) for f in FAMILIES},
        "wider": {
            name: _figure(factor[name], "fitted", note) if name in seen
            else _figure(WIDER[name][0], "assumed", "no left-out run has it")
            for name in WIDER
        },
        "above": _figure(1.0, "fitted", note),
        "below": _figure(1.0, "fitted", note),
        "cells": [cell.model_dump() for cell in cells(rows)],
    })  # fmt: skip


def table(rows: Sequence[Row]) -> Residuals:
    """Make the table of some rows: scales, then the quantiles of the errors in them."""
    found = apart(rows)
    made = scaled(rows, found)
    size = np.array([scale(r.like, one, made) for r, one in zip(rows, found, strict=True)])
    ratio = np.array([row.log_error for row in rows]) / size
    weight, tail = weights(rows, POWER), (1.0 - COVERAGE) / 2.0
    quantiles = {
        "above": max(LEAST, weighted_quantile(ratio, weight, 1.0 - tail)),
        "below": max(LEAST, -weighted_quantile(ratio, weight, tail)),
    }
    return made.model_copy(update={
        key: getattr(made, key).model_copy(update={"value": float(f"{value:.4g}")})
        for key, value in quantiles.items()
    })  # fmt: skip


def crossed(rows: Sequence[Row]) -> Column:
    """Return each row's error in half-widths of the interval that a table without its source gives.

    What is unlike is told from the rows of the other sources too.
    """
    out = np.zeros(len(rows))
    for number, made in unseen(rows, table):
        error = rows[number].log_error
        out[number] = abs(error) / (-np.log(made.low) if error > 0 else np.log(made.high))
    return out


def unseen(
    rows: Sequence[Row], make: Callable[[Sequence[Row]], Residuals]
) -> Iterator[tuple[int, Interval]]:
    """Return each row's number, and its interval by a table that is made without its source."""
    for source in sorted({row.source for row in rows}):
        known = make([row for row in rows if row.source != source])
        for number, row in enumerate(rows):
            if row.source == source:
                yield number, interval(row.like, known)


def calibrated(rows: Sequence[Row]) -> Residuals:
    """Make the table whose intervals hold their coverage on sources that they never saw.

    The factor of each family is stretched until the share of its rows inside the intervals made
    without their source is the coverage (conformal, over sources); a family of few sources is
    held near what all rows need, which counts as `SHARED` sources.
    """
    made, ratio = table(rows), crossed(rows)
    weight = weights(rows, POWER)
    pooled = np.log(weighted_quantile(ratio, weight, COVERAGE))
    families = {}
    for name, figure in made.families.items():
        mine = np.array([row.like.family == name for row in rows])
        stretch, sources = pooled, len({row.source for row in rows if row.like.family == name})
        if sources:
            own = np.log(weighted_quantile(ratio[mine], weight[mine], COVERAGE))
            stretch = (sources * own + SHARED * pooled) / (sources + SHARED)
        value = float(f"{figure.value * np.exp(stretch):.4g}")
        families[name] = figure.model_copy(update={"value": value})
    return made.model_copy(update={"families": families})


def inside(rows: Sequence[Row]) -> Column:
    """Tell which rows the calibrated intervals hold that were made without their source."""
    out = np.zeros(len(rows))
    for number, made in unseen(rows, calibrated):
        out[number] = made.low <= np.exp(-rows[number].log_error) <= made.high
    return out


def report(rows: Sequence[Row], known: Residuals) -> None:
    """Print coverage over left-out sources, pooled, by family and by source, and the width.

    "nested": no part of the interval saw the source. "stated": with the table that ships, whose
    stretch of the family did.
    """
    nested = inside(rows)
    made = [interval(row.like, scale_only(known, rows, row)) for row in rows]
    shipped = np.array(
        [one.low <= np.exp(-row.log_error) <= one.high for one, row in zip(made, rows, strict=True)]
    )
    half = np.array([np.log(one.high / one.low) / 2.0 for one in made])
    groups = {"all": np.ones(len(rows), bool)}
    groups |= {f: np.array([row.like.family == f for row in rows]) for f in FAMILIES}
    groups |= {
        s[:28]: np.array([row.source == s for row in rows])
        for s in sorted({row.source for row in rows})
    }
    print(f"{'':28s}  runs nested stated  half-width")
    for name, mine in groups.items():
        print(f"{name:28s} {mine.sum():5d} {nested[mine].mean():6.1%} {shipped[mine].mean():6.1%}"
              f"  {np.expm1(np.median(half[mine])):6.1%}")  # fmt: skip
    sources = [groups[s[:28]] for s in sorted({row.source for row in rows})]
    print(f"{'mean over sources':34s} {np.mean([nested[m].mean() for m in sources]):6.1%}"
          f" {np.mean([shipped[m].mean() for m in sources]):6.1%}")  # fmt: skip


def scale_only(known: Residuals, rows: Sequence[Row], row: Row) -> Residuals:
    """Return the table with the runs of other sources alone: what is unlike is told from them."""
    others = cells(r for r in rows if r.source != row.source)
    return known.model_copy(update={"cells": tuple(others)})


def write(known: Residuals, path: Path = PATH) -> None:
    """Write the table."""
    yaml = YAML()
    yaml.width = 4096
    yaml.default_flow_style = None
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        file.write(
            "# Errors of left-out sources; written by benchmarks/accuracy/fit_intervals.py\n"
        )
        yaml.dump(known.model_dump(mode="json"), file)


def main() -> None:
    """Fit, check, print, and write if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, default=DATA)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows = read_left_out(args.rows)
    known = calibrated(rows)
    for name, figure in {"scale": known.scale, **known.families, **known.wider,
                         "above": known.above, "below": known.below}.items():  # fmt: skip
        print(f"{name:16s} {figure.value:8.4g} {figure.basis}")
    report(rows, known)
    if args.write:
        write(known)


if __name__ == "__main__":
    main()
