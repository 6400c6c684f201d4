"""Fit the network constants of machine profiles to measured collectives, and say how well.

    python benchmarks/accuracy/fit_collectives.py [--write] [--wide]

Inside a node: rings by three protocols, exchanges by three, in-switch reduction; one set of
constants for all operations and numbers of devices of a chip. Between nodes: one set for
InfiniBand, one for A3 Mega's TCP. Forms are those that plans are priced with
(`costmodels.collectives`); constants minimise the error of the logarithm, with a loss that forgives
outliers. The search goes from the recorded minimum; `--wide` searches from afar and records what it
finds. Prints the constants' errors in the sample, on message sizes held back, on settings held
back, and of eight devices from two. `--write` puts them into `hardware_profiles/`.

Parts: `fit_node`, `fit_all`, `hold_outs`, `main`; `collective_models` has the forms.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from collective_models import (
    FIXED,
    Constants,
    between_span,
    free_of,
    node_span,
    price,
    start_of,
)
from collective_rows import DATA, Rows, read, read_between, read_switch
from collective_starts import record, recorded
from collective_write import write

from costmodels.hops import Span
from costmodels.units import Column
from planner.fitting.logs import fit_logs

__all__ = ["BETWEEN", "error_of", "fit_all", "fit_between", "fit_node", "hold_outs", "main"]

STARTS, SPREAD, SCALE = 4, 0.12, 0.02
"""Starts of a search from afar, how far apart, and from which error on a point weighs less."""
HELD = 0.01
"""What a constant e times its value afar weighs, as the error of one shape: for those that rows
barely tell."""
WIDE = 48
"""Starts of the search from afar whose minima are recorded."""
BETWEEN: Mapping[str, tuple[str, ...]] = {
    "infiniband": ("h100_64_ib_sharp", "4n_stas"),
    "tcp": ("h100_2n_tcpxo",),
}
"""What joins nodes, and the published tables that its constants follow from."""


def _solve(
    names: Sequence[str],
    start: Constants,
    afar: Constants,
    predicted: Callable[[Constants], Column],
    measured_s: Column,
    starts: int,
) -> Constants:
    """Return the constants that minimise the forgiving sum of squared logarithms of errors.

    afar : what constants are held near by `HELD`
    """

    def residual(values: dict[str, float]) -> Column:
        errors = np.log(predicted({**start, **values}) / measured_s)
        moved = [HELD * np.log(values[name] / afar[name]) for name in names]
        return np.concatenate([errors, moved])

    first = {name: start[name] for name in names}
    found = fit_logs(residual, first, soft=SCALE, evaluations=200, starts=starts, spread=SPREAD)
    return {**start, **found.values}


def fit_node(
    system: str,
    rows: Rows,
    held: Mapping[str, float] | None = None,
    starts: int = STARTS,
    start: Mapping[str, float] | None = None,
) -> Constants:
    """Fit one chip's constants to rows of one node.

    Parameters
    ----------
    held   : constants that are not fitted (a relative's)
    starts : searches
    start  : where the first begins; absent: afar, where all networks do
    """
    pooled = rows.pooled()
    afar = start_of(system) | dict(held or {})
    names = [name for name in free_of(system) if name not in (held or {})]
    begin = {**afar, **(start or {}), **(held or {})}

    def predicted(constants: Constants) -> Column:
        return price(pooled, _node(system, pooled, constants))

    return _solve(names, begin, afar, predicted, pooled.time_s, starts)


def _node(system: str, rows: Rows, constants: Constants) -> Span:
    return node_span(system, rows.ranks, constants)


def fit_between(
    sets: Mapping[str, Rows],
    node: Constants,
    starts: int = STARTS,
    start: Mapping[str, float] | None = None,
) -> Constants:
    """Fit what joins nodes of H100: InfiniBand from two sets, or any one set's network.

    Of InfiniBand the set of known adapters gives `efficiency`, and the set of unknown hardware
    (four nodes) the latencies and the low-latency protocols' shares; its own bandwidth is fitted
    beside them, as a share of 100 GB/s, and is not used.
    """
    tables = [rows.pooled() for rows in sets.values()]
    afar = start_of("between")

    def predicted(constants: Constants) -> Column:
        return np.concatenate([price(rows, between_span(rows, node, constants)) for rows in tables])

    measured_s = np.concatenate([rows.time_s for rows in tables])
    return _solve(list(afar), {**afar, **(start or {})}, afar, predicted, measured_s, starts)


def fit_all(wide: bool = False) -> dict[str, Constants]:
    """Fit every system that has rows, then what joins nodes: constants by network.

    Parameters
    ----------
    wide : search from afar; otherwise one search goes from each recorded minimum
    """
    measured, made = rows_by_system(), dict[str, Constants]()
    starts = WIDE if wide else 1
    for system in sorted(measured, key=lambda system: system == "gb200"):  # after its relative
        start = None if wide else recorded(system)
        held = _relative(system, made)
        made[system] = fit_node(system, measured[system], held, starts, start)
    for network, names in BETWEEN.items():
        start = None if wide else recorded(network)
        made[network] = fit_between(between_sets(names), made["h100_sxm"], starts, start)
    return made


def _relative(system: str, made: Mapping[str, Constants]) -> dict[str, float] | None:
    """Return the constants that a system takes from its relative, None where it has its own."""
    return {name: made["b200_sxm"][name] for name in FIXED} if system == "gb200" else None


def rows_by_system() -> dict[str, Rows]:
    """Read the tables of one node, with the large all-reduces and the rack of 72 beside them."""
    made = read(DATA / "nccl_one_node.csv")
    large = read_switch(DATA / "nvls_all_reduce.csv")
    rack = read_between(DATA / "multi_node_published.csv")["gb200_72_nvl"]
    for system, rows in [*large.items(), ("gb200", rack)]:
        made[system] = made[system].plus(rows)
    return made


def error_of(system: str, rows: Rows, constants: Constants) -> Column:
    """Return predicted over measured, less one, row by row."""
    return np.asarray(price(rows, _node(system, rows, constants)) / rows.time_s - 1.0)


def hold_outs(
    system: str,
    rows: Rows,
    held: Mapping[str, float] | None = None,
    starts: int = STARTS,
) -> dict[str, Column]:
    """Absolute errors of constants fitted without the shapes that they are judged on, by kind.

    Every second message size; every setting but one kind; eight devices from two, but on a bus,
    of which two devices do not show what more of them share. `held` are constants of a relative,
    which has all its rows.
    """
    sizes = sorted(set(rows.size_bytes.tolist()))
    odd = set(sizes[1::2])
    settings = sorted(set(rows.setting))
    newest = set(settings[-max(1, len(settings) // 3) :])
    parts: dict[str, Callable[[str, float, float, str], bool]] = {
        "sizes": lambda op, n, size, setting: size in odd,
    }
    if held is None:
        parts["settings"] = lambda op, n, size, setting: setting in newest
        if "shared.share" not in free_of(system):
            parts["8 from 2"] = lambda op, n, size, setting: n > 2
    made = {}
    for name, judged in parts.items():
        seen = rows.where(lambda *row, judged=judged: not judged(*row))
        kept = rows.where(judged)
        if len(seen) and len(kept):
            constants = fit_node(system, seen, held, starts)
            made[name] = np.abs(error_of(system, kept.pooled(), constants))
    return made


def report(made: Mapping[str, Constants]) -> None:
    """Print, for each system, errors by operation and devices, and of the hold-outs."""
    measured, unseen = rows_by_system(), []
    for system, rows in measured.items():
        pooled = rows.pooled()
        error = np.abs(error_of(system, pooled, made[system]))
        raw = float(np.mean(np.abs(error_of(system, rows, made[system]))))
        print(f"{system}: {len(free_of(system))} constants, {len(rows)} rows; mean error "
              f"{error.mean():.1%} of pooled shapes, {raw:.1%} of single rows")  # fmt: skip
        for key in dict.fromkeys(zip(pooled.op, pooled.ranks, strict=True)):
            mask = [(op, n) == key for op, n in zip(pooled.op, pooled.ranks, strict=True)]
            print(f"  {key[0]} on {key[1]:.0f}: {error[mask].mean():.1%}")
        outs = hold_outs(system, rows, _relative(system, made))
        unseen.append(outs["sizes"])
        print("  held back: " + ", ".join(f"{k} {v.mean():.1%}" for k, v in outs.items()))
    sizes = np.concatenate(unseen)
    print(f"inside a node, all: sizes held back {sizes.mean():.1%}, median {np.median(sizes):.1%},"
          f" {len(sizes)} shapes")  # fmt: skip
    _report_between(made)


def _every_second(rows: Rows) -> Rows:
    kept = set(sorted(set(rows.size_bytes.tolist()))[::2])
    return rows.where(lambda op, n, size, setting: size in kept)


def between_sets(names: Sequence[str]) -> dict[str, Rows]:
    """Read published tables between nodes by name."""
    made = read_between(DATA / "multi_node_published.csv")
    return {name: made[name] for name in names}


def _report_between(made: Mapping[str, Constants]) -> None:
    node = made["h100_sxm"]
    for network, names in BETWEEN.items():
        sets = between_sets(names)
        seen = {name: _every_second(rows) for name, rows in sets.items()}
        both = made[network], fit_between(seen, node, starts=8)
        for name, rows in sets.items():
            error, held = (
                np.abs(price(rows, between_span(rows, node, c)) / rows.time_s - 1.0) for c in both
            )
            judged = ~np.isin(rows.size_bytes, seen[name].size_bytes)
            print(f"between nodes, {name}: mean error {error.mean():.1%}, sizes held back "
                  f"{held[judged].mean():.1%}; {len(rows)} rows")  # fmt: skip


def main() -> None:
    """Fit, print errors, write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help="change hardware_profiles/")
    parser.add_argument("--wide", action="store_true", help="search from afar, record the minima")
    asked = parser.parse_args()
    made = fit_all(asked.wide)
    report(made)
    if asked.wide:
        record(made)
    if asked.write:
        measured = rows_by_system()
        sizes = {system: len(rows) for system, rows in measured.items()}
        errors = {
            system: float(np.mean(np.abs(error_of(system, rows.pooled(), made[system]))))
            for system, rows in measured.items()
        }
        write(made, sizes, errors)


if __name__ == "__main__":
    main()
