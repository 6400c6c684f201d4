"""Judge the shipped kernel constants on tables of measured kernels.

    python benchmarks/accuracy/check_kernels.py FOLDER

The folder holds CSV files named after their class, with its columns (see `kernel_tables`). Prints,
for each class, system and precision that a profile knows: rows, mean and median error, bias.
"""

import argparse
from pathlib import Path

import numpy as np
from kernel_tables import SYSTEMS, judged, predicted_s, tables

from hardware_profiles.load import load


def lines(folder: Path) -> list[str]:
    """One line for each table; products where a side of the weights is small stand apart."""
    said = []
    for table in tables(folder):
        name = f"{table.kind} {table.system} {table.dtype}"
        profile = load(SYSTEMS[table.system]) if table.system in SYSTEMS else None
        if profile is None or table.dtype not in profile.kernels.matmul:
            said.append(f"{name}: {len(table):,} rows, no constants")
            continue
        error = predicted_s(profile, table) / table.time_s - 1.0
        large = judged(table)
        parts = ((name, large), (f"{name}, a side below 1,024", ~large))
        for part, rows in parts:
            if rows.any():
                size = np.abs(error[rows])
                said.append(
                    f"{part}: {len(size):,} rows, mean {size.mean():.1%}, "
                    f"median {np.median(size):.1%}, bias {error[rows].mean():+.1%}"
                )
    return said


def main() -> None:
    """Read the folder from the command line, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    for line in lines(parser.parse_args().folder):
        print(line)


if __name__ == "__main__":
    main()
