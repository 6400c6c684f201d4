"""Measure in the box.

    python benchmarks/cluster/measure_hosts.py SETTING HOSTS (all_reduce | JOB)...

Starts so many hosts with the setting's links, runs the all-reduces or the jobs' steps in them, and
adds what was measured to `measured.csv`. Medians over several calls are what is compared (see
`compare_hosts.py`). Nothing else should be at work on the machine meanwhile.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cluster_box import Refused, box
from cluster_runs import ANY, HOSTS, JOBS, SETTINGS, SIZES, Key, record

__all__ = ["ONE_THREAD", "measured", "pinned"]

RANK = Path(__file__).with_name("host_rank.py")
ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
"""A host computes on one thread, of which it has a share."""
KEPT = {
    "JAX_COMPILATION_CACHE_DIR": str(Path(tempfile.gettempdir()) / "cluster-in-a-box"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
"""Compiled programs are kept: eight hosts that share two cores take a minute to compile a step."""
LIMIT_S = 3.0
"""For the repeats of one measurement."""


def measured(setting: str, hosts: int, what: Sequence[str]) -> list[tuple[Key, float]]:
    """Run all-reduces or steps of jobs, and return the slowest host's medians."""
    task: dict[str, object] = {"limit_s": LIMIT_S}
    if "all_reduce" in what:
        task["all_reduce_bytes"] = SIZES[setting]
    task["plans"] = {job: pinned(job, hosts) for job in what if job in JOBS}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(task, file)
        file.flush()
        with box(hosts, SETTINGS[setting]) as up:
            run = [sys.executable, str(RANK)]
            ranks = [[*run, str(i), str(hosts), file.name] for i in range(hosts)]
            printed = up.run(ranks, {**ONE_THREAD, **KEPT})
    told = [json.loads(text.splitlines()[-1]) for text in printed]
    rows = []
    for name in told[0]:
        kind, _, size = name.partition(" ")
        key = Key(setting if hosts > 1 else ANY, hosts, kind, int(size or 0))
        rows.append((key, max(each[name] for each in told)))
    return rows


def pinned(job: str, hosts: int) -> dict[str, object]:
    """Return the plan of a job on so many hosts, by `sixfold predict`."""
    text = JOBS[job].read_text()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.yaml"
        file.write_text(text.replace("devices: [1, 2, 3, 4, 6, 8]", f"devices: {hosts}"))
        command = [sys.executable, "-m", "planner", "predict", str(file), "--json", "-"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    plan: dict[str, object] = json.loads(done.stdout)
    return plan


def main() -> None:
    """Measure what the command line says, print it and keep it."""
    try:
        setting, hosts, what = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
        if setting not in SETTINGS or hosts not in HOSTS or not {"all_reduce", *JOBS} >= set(what):
            raise ValueError
    except (IndexError, ValueError):
        names = [*SETTINGS], [*HOSTS], ["all_reduce", *JOBS]
        raise SystemExit(f"{__doc__}\nsettings, hosts, what: {names}") from None
    try:
        rows = measured(setting, hosts, what)
    except Refused as why:
        raise SystemExit(f"error: {why}") from None
    record(rows)
    for key, seconds in rows:
        print(*key, f"{seconds * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
