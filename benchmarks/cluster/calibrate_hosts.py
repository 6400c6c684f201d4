"""Calibrate the hosts of a setting: `python benchmarks/cluster/calibrate_hosts.py SETTING`.

Runs `sixfold calibrate --quick` in four hosts, which measures groups of two and of four, and writes
`profiles/SETTING.yaml`. It continues where a run that was ended left off.
"""

import sys

from cluster_box import address, box
from cluster_runs import HERE, SETTINGS
from compare import profile_of
from measure import ONE_THREAD

__all__ = ["main"]

COUNT, PORT = 4, 29600
SHARED = ["sh", "-c", '[ -z "$SHARE" ] || echo 0 > "$SHARE"; exec "$@"', "host"]
"""Runs a command with the host's share of the processor from its start."""


def main(limit_s: float = 3600.0) -> None:
    """Calibrate, and print what the first host says."""
    if len(sys.argv) != 2 or sys.argv[1] not in SETTINGS:
        raise SystemExit(f"{__doc__}\nsettings: {list(SETTINGS)}")
    out = profile_of(sys.argv[1])
    out.parent.mkdir(exist_ok=True)
    join = ["--coordinator", f"{address(0)}:{PORT}", "--processes", str(COUNT), "--process-id"]
    calibrate = [sys.executable, "-m", "planner", "calibrate", "--quick", "--devices", "1"]
    calibrate += ["--out", str(out)]
    environment = {**ONE_THREAD, "PYTHONPATH": str(HERE.parent.parent), "JAX_PLATFORMS": "cpu"}
    with box(COUNT, SETTINGS[sys.argv[1]]) as up:
        commands = [[*SHARED, *calibrate, *join, str(i)] for i in range(COUNT)]
        print(up.run(commands, environment, limit_s)[0])


if __name__ == "__main__":
    main()
