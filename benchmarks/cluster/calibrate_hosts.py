"""Calibrate hosts: `python benchmarks/cluster/calibrate_hosts.py SETTING|core`.

With a setting, runs `sixfold calibrate --quick` in four hosts, which measures groups of two and of
four, and writes `profiles/SETTING.yaml`. With `core`, runs it in one host that has a whole core,
and writes `profiles/core.yaml`: kernels are best measured where nothing pauses them, and a share of
a core is that share of its rates. A run that was ended is continued by the next.
"""

import sys

from cluster_box import Setting, address, box
from cluster_runs import HERE, SETTINGS
from measure_hosts import ONE_THREAD

__all__ = ["main"]

PORT = 29600
SHARED = ["sh", "-c", '[ -z "$SHARE" ] || echo 0 > "$SHARE"; exec "$@"', "host"]
"""Runs a command with the host's share of the processor from its start."""
CORE = Setting(25e6, 1e-3, 0.0)


def main(limit_s: float = 3600.0) -> None:
    """Calibrate, and print what the first host says."""
    if len(sys.argv) != 2 or sys.argv[1] not in (*SETTINGS, "core"):
        raise SystemExit(f"{__doc__}\nsettings: {list(SETTINGS)}")
    name = sys.argv[1]
    count, setting = (1, CORE) if name == "core" else (4, SETTINGS[name])
    out = HERE / "profiles" / f"{name}.yaml"
    out.parent.mkdir(exist_ok=True)
    calibrate = [sys.executable, "-m", "planner", "calibrate", "--quick", "--devices", "1"]
    calibrate += ["--out", str(out)]
    if count > 1:
        calibrate += ["--coordinator", f"{address(0)}:{PORT}", "--processes", str(count)]
    environment = {**ONE_THREAD, "PYTHONPATH": str(HERE.parent.parent), "JAX_PLATFORMS": "cpu"}
    with box(count, setting) as up:
        numbers = [["--process-id", str(i)] if count > 1 else [] for i in range(count)]
        commands = [[*SHARED, *calibrate, *number] for number in numbers]
        print(up.run(commands, environment, limit_s)[0])


if __name__ == "__main__":
    main()
